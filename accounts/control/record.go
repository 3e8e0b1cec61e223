package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/accounts/keyring"
)

// Kind names what a record describes; it is a token of the record's subject.
type Kind string

// The kinds, with the id each uses.
const (
	KindTenant Kind = "tenant" // id: tenant name
	KindKey    Kind = "key"    // id: kid
	KindRoutes Kind = "routes" // id: tenant name
	KindRegion Kind = "region" // id: region name
	KindStatus Kind = "status" // id: tenant.region
	// KindCertificate has the id that Certificate.ID says.
	KindCertificate Kind = "certificate"
	KindSchema      Kind = "schema"  // id: tenant.subject.version
	KindFlag        Kind = "flag"    // id: tenant.name
	KindRules       Kind = "rules"   // id: tenant name
	KindTrial       Kind = "trial"   // id: tenant.subject.version.region
	KindMapping     Kind = "mapping" // id: tenant.subject.low-high
)

// Record is one write to the control log. Body is the whole new value, never a difference, so a log
// that keeps only the newest records of a subject folds to the same state.
type Record struct {
	Kind   Kind            `json:"kind"`
	ID     string          `json:"id"`
	Origin string          `json:"origin"` // the origin (region and epoch) that wrote it
	Clock  Clock           `json:"clock"`
	By     string          `json:"by"` // who asked for it: a principal, or the role that decided it
	Body   json.RawMessage `json:"body"`
}

// Verdict says what became of a record in a merge.
type Verdict uint8

// The verdicts.
const (
	Won  Verdict = iota // it is the value now
	Lost                // another record of the same id outranks it
	Same                // it was known already
)

// merge folds one record into the state. The result does not depend on the order in which records
// arrive: each kind has a total order of its records, and the greatest is the value.
func (s *State) merge(r *Record) (Verdict, error) {
	v, err := decode(r)
	if err != nil {
		return Lost, err
	}
	id := string(r.Kind) + "/" + r.ID
	next := stamp{clock: r.Clock, origin: r.Origin, hash: hash(r.Body)}
	have, known := s.clocks[id]
	if known {
		if have == next {
			return Same, nil
		}
		if !s.outranks(v, next, have, r.ID) {
			if v, ok := v.(*accounts.Schema); ok { // what it says is known from now on, even so
				s.Schemas[r.ID] = s.Schemas[r.ID].Beside(v)
			}
			return Lost, nil
		}
	}
	s.clocks[id] = next
	switch v := v.(type) {
	case *accounts.Tenant:
		s.Tenants[r.ID] = v
	case *keyring.Key:
		s.Keys[r.ID] = v
	case *accounts.Routes:
		s.Routes[r.ID] = v
	case *accounts.RegionInfo:
		s.Regions[r.ID] = v
	case *accounts.TenantStatus:
		s.Status[StatusKey(v.Tenant, v.Region)] = v
	case *accounts.Certificate:
		s.Certificates[r.ID] = v
	case *accounts.Schema:
		s.Schemas[r.ID] = v.Beside(s.Schemas[r.ID])
	case *flag.Flag:
		s.Flags[r.ID] = v
	case *accounts.Rules:
		s.Rules[r.ID] = v
	case *accounts.Trial:
		s.Trials[r.ID] = v
	case *accounts.Mapping:
		s.Mappings[r.ID] = v
	}
	return Won, nil
}

// outranks decides between a new value and the present one. Tenants, keys, certificates and schemas only move forward:
// removed, revoked, rolled back and retired win whatever the clocks say. The rest is last writer wins.
func (s *State) outranks(v any, next, have stamp, id string) bool {
	switch v := v.(type) {
	case *accounts.Tenant:
		if a, b := removed(v), removed(s.Tenants[id]); a != b {
			return a
		}
	case *keyring.Key:
		if d := v.Compare(s.Keys[id]); d != 0 {
			return d > 0
		}
	case *accounts.Certificate:
		if a, b := v.State.Rank(), s.Certificates[id].State.Rank(); a != b { // before all else: nothing makes a revocation undone
			return a > b
		}
	case *accounts.Schema:
		if d := v.Compare(s.Schemas[id]); d != 0 {
			return d > 0
		}
	case *accounts.RegionInfo:
		if old := s.Regions[id]; v.Epoch != old.Epoch { // an epoch is never taken back
			return v.Epoch > old.Epoch
		}
	}
	return next.after(have)
}

func removed(t *accounts.Tenant) bool { return t.State == accounts.Removed }

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

var errUnknownKind = errors.New("unknown kind of control record")

// decode reads the body and checks that it speaks of the record's id.
func decode(r *Record) (any, error) {
	var v any
	var name func() string
	switch r.Kind {
	case KindTenant:
		t := new(accounts.Tenant)
		v, name = t, func() string { return t.Name }
	case KindKey:
		k := new(keyring.Key)
		v, name = k, func() string { return k.Kid }
	case KindRoutes:
		t := new(accounts.Routes)
		v, name = t, func() string { return t.Tenant }
	case KindRegion:
		g := new(accounts.RegionInfo)
		v, name = g, func() string { return g.Name }
	case KindStatus:
		t := new(accounts.TenantStatus)
		v, name = t, func() string { return t.Tenant + "." + t.Region }
	case KindCertificate:
		c := new(accounts.Certificate)
		v, name = c, func() string { return c.ID() }
	case KindSchema:
		c := new(accounts.Schema)
		v, name = c, func() string { return c.ID() }
	case KindRules:
		t := new(accounts.Rules)
		v, name = t, func() string { return t.Tenant }
	case KindTrial:
		t := new(accounts.Trial)
		v, name = t, t.ID
	case KindMapping:
		t := new(accounts.Mapping)
		v, name = t, func() string { return t.ID() }
	case KindFlag:
		f := new(flag.Flag)
		v, name = f, func() string { return flag.ID(f.Tenant, f.Name) }
	default:
		return nil, fmt.Errorf("%w %q", errUnknownKind, r.Kind)
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Kind, r.ID, err)
	}
	if name() != r.ID {
		return nil, fmt.Errorf("%s %s: the body speaks of %q", r.Kind, r.ID, name())
	}
	return v, nil
}
