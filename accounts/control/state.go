// Package control is weft's control state: tenants, keys, certificates, schemas, mappings, flags, routes and regions as records in the CONTROL
// stream, written in any region, replicated like events, and folded into memory by every process.
//
// Hubs write and read it, relays read it. A Log follows the stream of its own region and publishes
// immutable snapshots; State returned by Log.State is shared by all readers and must not be changed.
package control

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/subject"
)

// State is one folded snapshot of the control log. It is read-only once published.
type State struct {
	Tenants map[string]*accounts.Tenant       // by name, removed ones included (their names stay taken)
	Keys    map[string]*keyring.Key           // by kid, revoked ones included
	Routes  map[string]*accounts.Routes       // by tenant
	Regions map[string]*accounts.RegionInfo   // by region
	Status  map[string]*accounts.TenantStatus // by "tenant/region"
	// Certificates are the tenants' client certificates by Certificate.ID, for keepCertificates after they ran out.
	Certificates map[string]*accounts.Certificate
	Schemas      map[string]*accounts.Schema  // by accounts.SchemaID, of removed tenants too
	Flags        map[string]*flag.Flag        // by flag.ID
	Rules        map[string]*accounts.Rules   // by tenant
	Trials       map[string]*accounts.Trial   // by accounts.TrialID, those that have ended too
	Mappings     map[string]*accounts.Mapping // by accounts.MappingID, those that are gone included

	clocks map[string]stamp // what won, by "kind/id": needed to merge the next record
}

// NewState returns an empty state whose maps can be filled by hand, as tests of the roles do.
func NewState() *State {
	return &State{
		Tenants: map[string]*accounts.Tenant{},
		Keys:    map[string]*keyring.Key{},
		Routes:  map[string]*accounts.Routes{},
		Regions: map[string]*accounts.RegionInfo{},
		Status:  map[string]*accounts.TenantStatus{},

		Certificates: map[string]*accounts.Certificate{},
		Schemas:      map[string]*accounts.Schema{},
		Flags:        map[string]*flag.Flag{},
		Rules:        map[string]*accounts.Rules{},
		Trials:       map[string]*accounts.Trial{},
		Mappings:     map[string]*accounts.Mapping{},

		clocks: map[string]stamp{},
	}
}

// clone copies the maps; the records themselves are never changed in place.
func (s *State) clone() *State {
	return &State{
		Tenants: maps.Clone(s.Tenants), Keys: maps.Clone(s.Keys), Routes: maps.Clone(s.Routes),
		Regions: maps.Clone(s.Regions), Status: maps.Clone(s.Status), Certificates: maps.Clone(s.Certificates),
		Schemas: maps.Clone(s.Schemas), Flags: maps.Clone(s.Flags), Rules: maps.Clone(s.Rules), Trials: maps.Clone(s.Trials),
		Mappings: maps.Clone(s.Mappings), clocks: maps.Clone(s.clocks),
	}
}

// Tenant returns the named tenant if it exists and is active.
func (s *State) Tenant(name string) (*accounts.Tenant, bool) {
	t, ok := s.Tenants[name]
	return t, ok && t.State == accounts.Active
}

// ActiveTenants lists the active tenants by name.
func (s *State) ActiveTenants() []*accounts.Tenant {
	out := make([]*accounts.Tenant, 0, len(s.Tenants))
	for _, name := range slices.Sorted(maps.Keys(s.Tenants)) {
		if t := s.Tenants[name]; t.State == accounts.Active {
			out = append(out, t)
		}
	}
	return out
}

// RoutesOf is the tenant's routing table, the default one when none was set.
func (s *State) RoutesOf(tenant string) accounts.Routes {
	if r, ok := s.Routes[tenant]; ok {
		return *r
	}
	return accounts.DefaultRoutes(tenant)
}

// TenantKeys lists a tenant's keys by kid.
func (s *State) TenantKeys(tenant string) []*keyring.Key {
	var out []*keyring.Key
	for _, kid := range slices.Sorted(maps.Keys(s.Keys)) {
		if k := s.Keys[kid]; k.Tenant == tenant {
			out = append(out, k)
		}
	}
	return out
}

// TenantCertificates lists a tenant's certificates, the newest first.
func (s *State) TenantCertificates(tenant string) []*accounts.Certificate {
	out := []*accounts.Certificate{}
	for _, c := range s.Certificates {
		if c.Tenant == tenant {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *accounts.Certificate) int {
		return cmp.Or(b.IssuedAt.Compare(a.IssuedAt), cmp.Compare(a.Serial, b.Serial))
	})
	return out
}

// TenantSchemas lists a tenant's schemas by subject and version; of one subject alone, or with "" of all.
func (s *State) TenantSchemas(tenant, subject string) []*accounts.Schema {
	out := []*accounts.Schema{}
	for _, one := range s.Schemas {
		if one.Tenant == tenant && (subject == "" || one.Subject == subject) {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b *accounts.Schema) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), a.Version.Compare(b.Version))
	})
	return out
}

// OnTrial lists the versions of all tenants that are canaries, or active and still watched, by accounts.SchemaID. One in
// quarantine is used by nobody.
func (s *State) OnTrial() []*accounts.Schema {
	var out []*accounts.Schema
	for _, one := range s.Schemas {
		if _, live := s.Tenant(one.Tenant); live && one.Trial != nil && !one.Quarantined() && !s.passed(one) {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b *accounts.Schema) int { return cmp.Compare(a.ID(), b.ID()) })
	return out
}

// passed says whether a region has judged that the version's present run is over.
func (s *State) passed(one *accounts.Schema) bool {
	v := s.Verdict(one)
	return v != nil && v.State == accounts.TrialPassed
}

// Verdict is how a version does in its present run, nil before anybody has looked.
func (s *State) Verdict(one *accounts.Schema) (last *accounts.TrialVerdict) {
	for _, t := range s.TrialsOf(one) {
		if v := t.Verdict; v != nil && v.Run == one.Run && (last == nil || v.Since.After(last.Since)) {
			last = v // of two, an operator has moved the control home since
		}
	}
	return last
}

// Counted is what all regions have counted of a version, as far as is known.
func (s *State) Counted(one *accounts.Schema) (sum accounts.Counts) {
	for _, t := range s.TrialsOf(one) {
		sum = sum.Plus(t.Total())
	}
	return sum
}

// TrialsOf lists what the regions know of how a version does, by region.
func (s *State) TrialsOf(one *accounts.Schema) []*accounts.Trial {
	var out []*accounts.Trial
	for region := range s.Regions {
		if t := s.Trials[accounts.TrialID(one.Tenant, one.Subject, one.Version, region)]; t != nil {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *accounts.Trial) int { return cmp.Compare(a.Region, b.Region) })
	return out
}

// Flag is a tenant's flag, nil where it was never set: that one is off for all.
func (s *State) Flag(tenant, name string) *flag.Flag { return s.Flags[flag.ID(tenant, name)] }

// RulesOf are the tenant's rules, those that ask nothing when none were set.
func (s *State) RulesOf(tenant string) *accounts.Rules {
	if r, ok := s.Rules[tenant]; ok {
		return r
	}
	return &accounts.Rules{Tenant: tenant}
}

// TenantFlags lists a tenant's flags by name.
func (s *State) TenantFlags(tenant string) []*flag.Flag {
	out := []*flag.Flag{}
	for _, f := range s.Flags {
		if f.Tenant == tenant {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *flag.Flag) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// TenantMappings lists mappings by tenant, subject and versions; with "" of all tenants, or of all subjects.
func (s *State) TenantMappings(tenant, subject string) []*accounts.Mapping {
	out := []*accounts.Mapping{}
	for _, m := range s.Mappings {
		if (tenant == "" || m.Tenant == tenant) && m.There() && (subject == "" || m.Subject == subject) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *accounts.Mapping) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Low, b.Low), cmp.Compare(a.High, b.High))
	})
	return out
}

// keepCertificates is how long a certificate that ran out stays in the state: it is refused for its age then.
const keepCertificates = 7 * 24 * time.Hour

// prune forgets certificates that ran out long ago. Their records come and go again when the log is read anew.
func (s *State) prune(now time.Time) {
	for id, c := range s.Certificates {
		if now.Sub(c.NotAfter) > keepCertificates {
			delete(s.Certificates, id)
			delete(s.clocks, string(KindCertificate)+"/"+id)
		}
	}
}

// Written is one value that holds, with what it is the value of.
type Written struct {
	Kind  Kind
	ID    string
	Clock Clock
	Value any // as Log.Put takes it
}

// WrittenBy lists what a region wrote in epochs before the given one and what still holds.
func (s *State) WrittenBy(region string, before int) []Written {
	var out []Written
	for _, key := range slices.Sorted(maps.Keys(s.clocks)) {
		o, err := subject.ParseOrigin(s.clocks[key].origin)
		if err != nil || o.Region != region || o.Epoch >= before {
			continue
		}
		kind, id, _ := strings.Cut(key, "/")
		w := Written{Kind: Kind(kind), ID: id, Clock: s.clocks[key].clock}
		switch w.Kind {
		case KindTenant:
			w.Value = s.Tenants[id]
		case KindKey:
			w.Value = s.Keys[id]
		case KindRoutes:
			w.Value = s.Routes[id]
		case KindRegion:
			w.Value = s.Regions[id]
		case KindStatus:
			tenant, at, _ := strings.Cut(id, ".")
			w.Value = s.Status[StatusKey(tenant, at)]
		case KindCertificate:
			w.Value = s.Certificates[id]
		case KindSchema:
			w.Value = s.Schemas[id]
		case KindRules:
			w.Value = s.Rules[id]
		case KindFlag:
			w.Value = s.Flags[id]
		case KindTrial:
			w.Value = s.Trials[id]
		case KindMapping:
			w.Value = s.Mappings[id]
		}
		out = append(out, w)
	}
	return out
}

// Restated is a value of the state with another body, for Log.Restate: it outranks the value that it was made from
// and nothing that was written later, anywhere.
func (s *State) Restated(kind Kind, id string, value any) Written {
	clock := s.clocks[string(kind)+"/"+id].clock
	clock.Counter++
	return Written{Kind: kind, ID: id, Clock: clock, Value: value}
}

// Len is how many values the state holds, of all kinds.
func (s *State) Len() int { return len(s.clocks) }

// HasOf says whether any value that holds was written under an origin.
func (s *State) HasOf(o subject.Origin) bool {
	for _, have := range s.clocks {
		if have.origin == o.String() {
			return true
		}
	}
	return false
}

// StatusKey is the key of Status: one entry for each tenant and region.
func StatusKey(tenant, region string) string { return tenant + "/" + region }

// stamp orders two records of one id: by clock, then by origin, so that every process picks the same.
type stamp struct {
	clock  Clock
	origin string
	hash   string
}

func (a stamp) after(b stamp) bool {
	if c := a.clock.Compare(b.clock); c != 0 {
		return c > 0
	}
	if c := cmp.Or(cmp.Compare(len(a.origin), len(b.origin)), cmp.Compare(a.origin, b.origin)); c != 0 {
		return c > 0 // by length first: epoch 10 comes after epoch 9
	}
	return a.hash > b.hash
}

// MaxAhead is how far a record's clock may be ahead of the reader's before it is refused.
const MaxAhead = 60 * time.Second
