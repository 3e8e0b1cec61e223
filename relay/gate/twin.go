package gate

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/mapping"
)

// pair is two major versions of an event type with a mapping between them.
type pair struct {
	record    *accounts.Mapping
	mapping   *mapping.Mapping // nil: it does not compile at this relay
	low, high *Version         // the newest version of each that judges events; nil where the major version does not live
}

// Twin is the other major version that an event is stored in too.
type Twin struct {
	Flag    string // of the tenant: on for the keys whose events are stored in both
	Up      bool   // the other one is the higher
	gate    *Gate
	pair    *pair
	version *Version
}

// Split says whether there is more than one major version of an event type, or a mapping between some.
func (g *Gate) Split(eventType string) bool {
	t := g.types[eventType]
	return t != nil && t.split
}

// Twin is the other major version of an event type, of which some version judges events, beside the one that an event
// names; nil where there is none.
func (g *Gate) Twin(eventType, version string) *Twin {
	t := g.types[eventType]
	if t == nil || len(t.pairs) == 0 {
		return nil
	}
	major, ok := accounts.MajorOf(version)
	if !ok {
		return nil
	}
	for _, p := range t.pairs {
		switch {
		case major == p.record.Low && p.high != nil:
			return &Twin{Flag: p.record.Flag, Up: true, gate: g, pair: p, version: p.high}
		case major == p.record.High && p.low != nil:
			return &Twin{Flag: p.record.Flag, gate: g, pair: p, version: p.low}
		}
	}
	return nil
}

// Unmapped says whether an event names a major version above one that judges events, and no mapping between them is
// known here: the record of it is still on its way.
func (g *Gate) Unmapped(eventType, version string) bool {
	t := g.types[eventType]
	if t == nil {
		return false
	}
	major, ok := accounts.MajorOf(version)
	return ok && slices.ContainsFunc(t.versions, func(v *Version) bool {
		return v.Number.Major < major && v.live() && v.Status.Enforced() && !slices.ContainsFunc(t.pairs, func(p *pair) bool {
			return p.record.Low == v.Number.Major && p.record.High == major
		})
	})
}

// Topic is where events of a type and version are stored whose topic is the given one: a major version that a mapping
// leads up to has a topic of its own for as long as there is the mapping, so that readers of one version never meet
// events of another.
func (g *Gate) Topic(topic, eventType, version string) string {
	t := g.types[eventType]
	if t == nil || len(t.pairs) == 0 {
		return topic
	}
	major, ok := accounts.MajorOf(version)
	if !ok {
		return topic
	}
	return t.topic(topic, major)
}

func (t *eventType) topic(topic string, major uint32) string {
	for _, p := range t.pairs {
		if p.record.High == major {
			return topic + "~" + strconv.FormatUint(uint64(major), 10)
		}
	}
	return topic
}

// Topic is where the copy is stored of an event whose topic is the given one.
func (t *Twin) Topic(topic string) string {
	return t.gate.types[t.version.Subject].topic(topic, t.version.Number.Major)
}

// ID is the copy's id of an event's.
func (t *Twin) ID(eventID string) string {
	return eventID + "~v" + strconv.FormatUint(uint64(t.version.Number.Major), 10)
}

// Schema is the version that the copy is one of: type@version.
func (t *Twin) Schema() string { return t.version.label }

// Mapping names what makes the copy: Weft-Mapping.
func (t *Twin) Mapping() string { return t.pair.record.Label() }

// Copy is an event in another major version.
type Copy struct {
	Data   []byte
	Digest string // of the original, hex
}

// Copy makes the copy of an event and holds it to its version and to the tenant's rules. An error says why there is
// none: it names places, and no values.
func (t *Twin) Copy(e *event.Event) (*Copy, error) {
	const op = "gate.copy"
	if t.pair.mapping == nil {
		return nil, fault.New(op, fault.Invalid, CodeUnusable, "the mapping does not compile at this relay, which may be older than the mesh")
	}
	direction := mapping.Down
	if t.Up {
		direction = mapping.Up
	}
	payload, err := t.pair.mapping.Apply(direction, e.Payload)
	if err != nil {
		return nil, err
	}
	data, err := mapping.Envelope(e.Raw, t.version.text, payload)
	if err != nil {
		return nil, err
	}
	var read event.Event
	if err := event.Decode(data, &read); err != nil {
		return nil, err
	}
	if most := event.DefaultLimits().MaxEventBytes; len(data) > most {
		return nil, fault.New(op, fault.Invalid, CodeViolation, "the copy has more than %d bytes", most)
	}
	if err := t.hold(&read); err != nil {
		return nil, err
	}
	sum, err := event.Digest(e.Raw)
	if err != nil {
		return nil, err
	}
	return &Copy{Data: data, Digest: hex.EncodeToString(sum[:])}, nil
}

// hold says how a copy breaks its version or the rules.
func (t *Twin) hold(e *event.Event) error {
	const op = "gate.copy"
	if found := t.version.Check(e.Payload); len(found) > 0 {
		v := found[0]
		return fault.New(op, fault.Invalid, v.Code, "what the mapping makes is no payload of %s (violations: %d): %s: %s", t.version.label, len(found), v.Rule, v.Expected)
	}
	if t.gate.rules == nil {
		return nil
	}
	broken, err := t.gate.rules.Check(e.Raw)
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		return fault.New(op, fault.Invalid, CodeViolation, "what the mapping makes breaks the tenant's rules: %s %s", broken[0].Rule, broken[0].Path)
	}
	return nil
}

// pair compiles the mappings of a tenant's types.
func (g *Gates) pair(gate, was *Gate) {
	for _, m := range gate.mappings {
		t := gate.types[m.Subject]
		if t == nil || !m.There() {
			continue
		}
		p := &pair{record: m, mapping: was.compiled(m), low: t.enforced(m.Low), high: t.enforced(m.High)}
		if p.mapping == nil {
			p.mapping = g.compileMapping(m)
		}
		t.pairs = append(t.pairs, p)
	}
	for _, t := range gate.types {
		t.split = len(t.pairs) > 0 || slices.ContainsFunc(t.versions, func(v *Version) bool { return v.Number.NewMajor(t.versions[0].Number) })
	}
}

// compiled is a mapping that the gate has already.
func (g *Gate) compiled(m *accounts.Mapping) *mapping.Mapping {
	if g == nil || g.types[m.Subject] == nil {
		return nil
	}
	for _, p := range g.types[m.Subject].pairs {
		if p.record.Hash == m.Hash {
			return p.mapping
		}
	}
	return nil
}

func (g *Gates) compileMapping(m *accounts.Mapping) *mapping.Mapping {
	var spec mapping.Spec
	err := json.Unmarshal(m.Text, &spec)
	if err == nil {
		var compiled *mapping.Mapping
		if compiled, err = mapping.Compile(&spec); err == nil {
			g.metrics.compiles.WithLabelValues("ok").Inc()
			return compiled
		}
	}
	g.metrics.compiles.WithLabelValues("failed").Inc()
	g.o.Logger.Error("a mapping does not compile: copies in the other major version go to the dead letters", zap.String("tenant", m.Tenant),
		zap.String("type", m.Subject), zap.String("mapping", m.Label()), zap.Error(err))
	return nil
}

// enforced is the version of a major version that copies are made in: the newest active one, or else the newest
// deprecated one.
func (t *eventType) enforced(major uint32) *Version {
	if v := t.newest(major); v != nil && v.unit.err == nil {
		return v
	}
	for _, v := range t.versions {
		if v.Number.Major == major && v.live() && v.Status.Enforced() && v.unit.err == nil {
			return v
		}
	}
	return nil
}
