package gate

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

// unitID names a content that is compiled. A version has one content, unless it is in quarantine.
type unitID struct{ id, hash string }

// unit is a compiled document, or why it is none.
type unit struct {
	id  unitID
	doc *registry.Compiled
	err error
}

// compile is the unit of a version, made once.
func (g *Gates) compile(s *accounts.Schema) *unit {
	id := unitID{s.ID(), s.Hash}
	if u := g.units[id]; u != nil {
		return u
	}
	u := &unit{id: id}
	u.doc, u.err = registry.Compile(s.Document())
	if u.err != nil {
		g.metrics.compiles.WithLabelValues("failed").Inc()
		g.o.Logger.Error("a version of a schema does not compile: events that name it are not taken", zap.String("tenant", s.Tenant),
			zap.String("type", s.Subject), zap.Stringer("version", s.Version), zap.Error(u.err))
	} else {
		g.metrics.compiles.WithLabelValues("ok").Inc()
	}
	g.units[id] = u
	return u
}

// build makes a tenant's gate. Rules that do not compile leave those of the gate before in force.
func (g *Gates) build(tenant string, src source, was *Gate) *Gate {
	gate := &Gate{source: src, types: map[string]*eventType{}, policy: rule.Accept}
	if rules := src.rulesRecord; rules != nil {
		gate.policy = rules.Unknown()
		checker, err := rule.Compile(&rules.Set)
		switch {
		case err == nil && !checker.Empty():
			gate.rules = checker
		case err != nil && was != nil:
			gate.rules, gate.policy, gate.unusable = was.rules, was.policy, was.unusable
		case err != nil:
			gate.unusable = true
		}
		if err != nil {
			g.metrics.compiles.WithLabelValues("failed").Inc()
			g.o.Logger.Error("the rules of a tenant do not compile: those before stay in force", zap.String("tenant", tenant), zap.Bool("none", was == nil), zap.Error(err))
		}
	}
	for _, s := range src.schemas {
		t := gate.types[s.Subject]
		if t == nil {
			t = &eventType{name: s.Subject}
			gate.types[s.Subject] = t
		}
		v := g.version(s)
		v.kind = t
		t.versions = append(t.versions, v)
	}
	for name, t := range gate.types {
		if t.settle(); !t.governed && len(t.canaries) == 0 {
			delete(gate.types, name) // drafts bind nobody
		}
	}
	if gate.Asks() {
		gate.counters = g.metrics.of(tenant)
	}
	g.pair(gate, was)
	g.metrics.built(tenant, gate)
	return gate
}

// version is a version of a type before its siblings are known.
func (g *Gates) version(s *accounts.Schema) *Version {
	v := &Version{
		Subject: s.Subject, Number: s.Version, Status: s.Status, quarantined: s.Quarantined(), tenant: s.Tenant, text: s.Version.String(),
		label: s.Subject + "@" + s.Version.String(), share: uint64(s.CanaryPercent()),
	}
	if !v.live() {
		return v
	}
	v.unit = g.compile(s)
	v.tally = g.tallies[v.unit.id]
	if v.tally == nil {
		v.tally = &tally{tenant: s.Tenant, subject: s.Subject, version: s.Version, hash: s.Hash}
		g.tallies[v.unit.id] = v.tally
	}
	return v
}

// settle finds what follows from all versions of the type, which are sorted, newest first.
func (t *eventType) settle() {
	for _, v := range t.versions {
		t.governed = t.governed || v.Status != schema.Draft && v.Status != schema.Canary
		if v.live() && v.Status == schema.Canary {
			t.canaries = append(t.canaries, v)
		}
		newest := t.newest(v.Number.Major)
		switch {
		case v.Status != schema.Canary:
			v.judge = v
		case newest != nil:
			v.judge = newest
		}
		if v.Status == schema.Active {
			v.back = t.without(v)
		}
		if v.Status == schema.Deprecated {
			v.notice = t.name + " " + v.text + " is deprecated"
			if newest != nil {
				v.notice += ": send " + newest.text
			}
		}
	}
}

// without is the version that judges the events of an active one after it was rolled back, as registry.Rollback says; nil
// where nothing does.
func (t *eventType) without(v *Version) *Version {
	for _, one := range t.versions { // the newest first
		below := one.Number.Compare(v.Number) < 0
		if one != v && !one.Number.NewMajor(v.Number) && one.live() && (one.Status == schema.Active || below && one.Status == schema.Deprecated) {
			return one
		}
	}
	return nil
}

// newest is the newest active version of a major, nil without any.
func (t *eventType) newest(major uint32) *Version {
	for _, v := range t.versions {
		if v.Number.Major == major && v.live() && v.Status == schema.Active {
			return v
		}
	}
	return nil
}

// maxListed is how many versions a refusal lists.
const maxListed = 8

// known tells which versions an event may name.
func (t *eventType) known() string {
	var out []string
	for _, v := range t.versions {
		if v.live() {
			out = append(out, v.text+" ("+string(v.Status)+")")
		}
	}
	if len(out) == 0 {
		return "none that an event may name"
	}
	if n := len(out) - maxListed; n > 0 {
		out = append(out[:maxListed], fmt.Sprintf("%d more", n))
	}
	return strings.Join(out, ", ")
}
