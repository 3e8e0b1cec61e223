package control

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/schema"
)

func record(t interface{ Fatal(...any) }, kind Kind, id, origin string, clock Clock, body any) *Record {
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return &Record{Kind: kind, ID: id, Origin: origin, Clock: clock, By: "test", Body: raw}
}

// anyRecord draws records that collide a lot: few ids, few clocks, two origins.
func anyRecord(t *rapid.T) *Record {
	origin := rapid.SampledFrom([]string{"eu_1", "us_1"}).Draw(t, "origin")
	clock := Clock{Wall: rapid.Int64Range(1, 3).Draw(t, "wall"), Counter: rapid.Uint32Range(0, 1).Draw(t, "n")}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		state := rapid.SampledFrom([]accounts.TenantState{accounts.Active, accounts.Removed}).Draw(t, "state")
		disk := rapid.Int64Range(1, 3).Draw(t, "disk")
		return record(t, KindTenant, "acme", origin, clock, accounts.Tenant{Name: "acme", State: state, Limits: accounts.Limits{DiskBytes: disk}})
	case 1:
		state := rapid.SampledFrom([]keyring.State{keyring.Pending, keyring.Active, keyring.Grace, keyring.Revoked}).Draw(t, "state")
		tenant := rapid.SampledFrom([]string{"acme", "globex"}).Draw(t, "tenant")
		return record(t, KindKey, "k-1", origin, clock, keyring.Key{Kid: "k-1", Tenant: tenant, State: state,
			ActiveFrom: anyTime(t), GraceUntil: anyTime(t), Sealed: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "sealed")})
	case 2:
		return record(t, KindRegion, "eu", origin, clock, accounts.RegionInfo{Name: "eu", Epoch: rapid.IntRange(1, 3).Draw(t, "epoch")})
	case 3:
		state := rapid.SampledFrom([]accounts.CertificateState{accounts.CertificateIssued, accounts.CertificateRevoked, "unknown"}).Draw(t, "state")
		tenant := rapid.SampledFrom([]string{"acme", "globex"}).Draw(t, "tenant")
		return record(t, KindCertificate, "aa.1f", origin, clock, accounts.Certificate{Issuer: "aa", Serial: "1f", Tenant: tenant, State: state})
	case 4:
		return record(t, KindSchema, "acme.bet.placed.1.0.0", origin, clock, anySchema(t))
	case 5:
		return record(t, KindFlag, "acme.beta", origin, clock, flag.Flag{Tenant: "acme", Name: "beta", Percent: rapid.IntRange(0, 2).Draw(t, "percent")})
	case 6:
		return record(t, KindRules, "acme", origin, clock, accounts.Rules{Tenant: "acme", By: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "by")})
	case 7:
		trial := accounts.Trial{Tenant: "acme", Subject: "bet.placed", Version: schema.Version{Major: 1}, Region: "eu", Faults: []accounts.TrialFault{{Rule: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "rule")}}}
		return record(t, KindTrial, trial.ID(), origin, clock, trial)
	case 8:
		return record(t, KindMapping, "acme.bet.placed.1-2", origin, clock, accounts.Mapping{Tenant: "acme", Subject: "bet.placed", Low: 1, High: 2, By: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "by")})
	default:
		return record(t, KindRoutes, "acme", origin, clock, accounts.Routes{Tenant: "acme", Default: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "default")})
	}
}

func anySchema(t *rapid.T) *accounts.Schema {
	status := rapid.SampledFrom([]schema.Status{schema.Draft, schema.Canary, schema.Active, schema.Deprecated, schema.Retired, "unknown"}).Draw(t, "status")
	s := &accounts.Schema{Tenant: "acme", Subject: "bet.placed", Version: schema.Version{Major: 1}, Status: status, Rollbacks: rapid.IntRange(0, 2).Draw(t, "rollbacks"),
		Hash: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "hash")}
	if rapid.Bool().Draw(t, "others") { // a hub that knew of two wrote it again
		s.Others = []string{"b", "a"}
	}
	return s
}

func anyTime(t *rapid.T) time.Time {
	if n := rapid.Int64Range(0, 2).Draw(t, "time"); n > 0 {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}

func fold(t interface{ Fatal(...any) }, records []*Record) *State {
	s := NewState()
	for _, r := range records {
		if _, err := s.merge(r); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Every process must come to the same state whatever the order in which links delivered the records, and
// however often.
func TestMergeDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(anyRecord), 1, 12).Draw(t, "records")
		want := fold(t, records)
		shuffled := append(append([]*Record{}, records...), records...)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := fold(t, shuffled); !reflect.DeepEqual(got, want) {
			t.Fatalf("the order of records changed the state:\n%+v\n%+v", got, want)
		}
	})
}

// Whatever was written to a key, in any order and however often: once one record revokes it, it is revoked, also
// for a tenant that was given the same kid at the same time.
func TestRevokedAlwaysWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(anyRecord), 1, 12).Draw(t, "records")
		revoked := record(t, KindKey, "k-1", "us_1", Clock{Wall: 1}, keyring.Key{Kid: "k-1", Tenant: "globex", State: keyring.Revoked})
		at := rapid.IntRange(0, len(records)).Draw(t, "at")
		records = append(records[:at:at], append([]*Record{revoked}, records[at:]...)...)
		if k := fold(t, records).Keys["k-1"]; k.State != keyring.Revoked {
			t.Fatalf("a revoked key is %s again", k.State)
		}
	})
}

// A value whose secret was sealed anew stands above the one that it was made from, and below every later one.
func TestRestatedStandsBetween(t *testing.T) {
	first := record(t, KindTenant, "acme", "us_1", Clock{Wall: 5}, accounts.Tenant{Name: "acme", State: accounts.Active, SigningSeed: "old"})
	before := fold(t, []*Record{first})
	next := *before.Tenants["acme"]
	next.SigningSeed = "new"
	w := before.Restated(KindTenant, "acme", &next)
	restated := record(t, w.Kind, w.ID, "eu_1", w.Clock, w.Value)
	if s := fold(t, []*Record{first, restated}).Tenants["acme"].SigningSeed; s != "new" {
		t.Errorf("the seed is the %s one", s)
	}
	later := record(t, KindTenant, "acme", "ap_1", Clock{Wall: 6}, accounts.Tenant{Name: "acme", State: accounts.Active, Limits: accounts.Limits{DiskBytes: 7}})
	for _, order := range [][]*Record{{first, restated, later}, {later, restated, first}, {restated, later, first}} {
		if got := fold(t, order).Tenants["acme"].Limits.DiskBytes; got != 7 {
			t.Errorf("a change that came later is lost: %d", got)
		}
	}
}

// Two contents under one version are in quarantine everywhere, whichever came first and whatever is written afterwards
// by those who have not heard; until the version is retired.
func TestAVersionWithTwoContentsIsInQuarantine(t *testing.T) {
	of := func(origin string, wall int64, hash string, status schema.Status) *Record {
		return record(t, KindSchema, "acme.bet.placed.1.0.0", origin, Clock{Wall: wall},
			accounts.Schema{Tenant: "acme", Subject: "bet.placed", Version: schema.Version{Major: 1}, Hash: hash, Status: status})
	}
	rapid.Check(t, func(r *rapid.T) {
		records := rapid.Permutation([]*Record{
			of("eu_1", 1, "a", schema.Draft), of("us_1", 2, "b", schema.Draft), of("us_1", 3, "b", schema.Active), of("eu_1", 4, "a", schema.Canary),
		}).Draw(r, "order")
		s := fold(t, records).Schemas["acme.bet.placed.1.0.0"]
		if !s.Quarantined() || s.Accepts() || s.Enforced() || s.Status != schema.Active || s.Hash != "b" {
			r.Fatalf("%+v", s)
		}
		end := s.Step(accounts.SchemaStep{Status: schema.Retired})
		records = append(records, record(t, KindSchema, end.ID(), "eu_1", Clock{Wall: 5}, end))
		if s := fold(t, records).Schemas[end.ID()]; s.Quarantined() || s.Status != schema.Retired {
			r.Fatalf("%+v", s)
		}
	})
}

func TestForwardOnly(t *testing.T) {
	early, late := Clock{Wall: 1}, Clock{Wall: 9}
	for name, c := range map[string]struct {
		records []*Record
		check   func(*State) bool
	}{
		"removed wins over a later active": {
			[]*Record{
				record(t, KindTenant, "acme", "eu_1", early, accounts.Tenant{Name: "acme", State: accounts.Removed}),
				record(t, KindTenant, "acme", "us_1", late, accounts.Tenant{Name: "acme", State: accounts.Active}),
			},
			func(s *State) bool { return s.Tenants["acme"].State == accounts.Removed },
		},
		"revoked wins over a later active": {
			[]*Record{
				record(t, KindKey, "k", "eu_1", early, keyring.Key{Kid: "k", Tenant: "acme", State: keyring.Revoked}),
				record(t, KindKey, "k", "us_1", late, keyring.Key{Kid: "k", Tenant: "acme", State: keyring.Active}),
			},
			func(s *State) bool { return s.Keys["k"].State == keyring.Revoked },
		},
		"a revoked certificate stays revoked, whoever says otherwise": {
			[]*Record{
				record(t, KindCertificate, "aa.1f", "eu_1", early, accounts.Certificate{Issuer: "aa", Serial: "1f", Tenant: "acme", State: accounts.CertificateRevoked}),
				record(t, KindCertificate, "aa.1f", "us_1", late, accounts.Certificate{Issuer: "aa", Serial: "1f", Tenant: "acme", State: accounts.CertificateIssued}),
				record(t, KindCertificate, "aa.1f", "us_1", late, accounts.Certificate{Issuer: "aa", Serial: "1f", Tenant: "aaaa", State: "unknown"}),
			},
			func(s *State) bool { return s.Certificates["aa.1f"].State == accounts.CertificateRevoked },
		},
		"an active schema is not sent back by a region that took it for a canary": {
			[]*Record{
				record(t, KindSchema, "acme.x.1.0.0", "eu_1", early, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Active}),
				record(t, KindSchema, "acme.x.1.0.0", "us_1", late, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Draft}),
			},
			func(s *State) bool { return s.Schemas["acme.x.1.0.0"].Status == schema.Active },
		},
		"a rollback holds against a later step of who had not heard of it": {
			[]*Record{
				record(t, KindSchema, "acme.x.1.0.0", "eu_1", early, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Canary, Rollbacks: 1}),
				record(t, KindSchema, "acme.x.1.0.0", "us_1", late, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Deprecated}),
			},
			func(s *State) bool { return s.Schemas["acme.x.1.0.0"].Status == schema.Canary },
		},
		"what was promoted again after a rollback is active": {
			[]*Record{
				record(t, KindSchema, "acme.x.1.0.0", "eu_1", early, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Active, Rollbacks: 1}),
				record(t, KindSchema, "acme.x.1.0.0", "us_1", late, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Canary, Rollbacks: 1}),
			},
			func(s *State) bool { return s.Schemas["acme.x.1.0.0"].Status == schema.Active },
		},
		"a retired schema stays retired": {
			[]*Record{
				record(t, KindSchema, "acme.x.1.0.0", "eu_1", early, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Retired}),
				record(t, KindSchema, "acme.x.1.0.0", "us_1", late, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 1}, Status: schema.Active, Rollbacks: 3}),
			},
			func(s *State) bool { return s.Schemas["acme.x.1.0.0"].Status == schema.Retired },
		},
		"the earlier end of a grace period wins over a later write": {
			[]*Record{
				record(t, KindKey, "k", "eu_1", early, keyring.Key{Kid: "k", Tenant: "acme", State: keyring.Grace, GraceUntil: time.Unix(1, 0)}),
				record(t, KindKey, "k", "us_1", late, keyring.Key{Kid: "k", Tenant: "acme", State: keyring.Grace, GraceUntil: time.Unix(2, 0)}),
			},
			func(s *State) bool { return s.Keys["k"].GraceUntil.Unix() == 1 },
		},
		"an epoch is never taken back": {
			[]*Record{
				record(t, KindRegion, "eu", "eu_2", early, accounts.RegionInfo{Name: "eu", Epoch: 2}),
				record(t, KindRegion, "eu", "eu_1", late, accounts.RegionInfo{Name: "eu", Epoch: 1}),
			},
			func(s *State) bool { return s.Regions["eu"].Epoch == 2 },
		},
		"the rest is last writer wins": {
			[]*Record{
				record(t, KindRoutes, "acme", "eu_1", late, accounts.Routes{Tenant: "acme", Default: "late"}),
				record(t, KindRoutes, "acme", "us_1", early, accounts.Routes{Tenant: "acme", Default: "early"}),
			},
			func(s *State) bool { return s.Routes["acme"].Default == "late" },
		},
	} {
		if !c.check(fold(t, c.records)) {
			t.Errorf("%s: it did not", name)
		}
	}
}

func TestMergeRefusesWhatSpeaksOfSomethingElse(t *testing.T) {
	s := NewState()
	for name, r := range map[string]*Record{
		"other id":     record(t, KindTenant, "acme", "eu_1", Clock{Wall: 1}, accounts.Tenant{Name: "globex"}),
		"other issuer": record(t, KindCertificate, "aa.1f", "eu_1", Clock{Wall: 1}, accounts.Certificate{Issuer: "bb", Serial: "1f"}),
		"other schema": record(t, KindSchema, "acme.x.1.0.0", "eu_1", Clock{Wall: 1}, accounts.Schema{Tenant: "acme", Subject: "x", Version: schema.Version{Major: 2}}),
		"unknown kind": record(t, "spell", "acme", "eu_1", Clock{Wall: 1}, map[string]string{}),
		"no object":    {Kind: KindTenant, ID: "acme", Origin: "eu_1", Body: json.RawMessage(`[]`)},
	} {
		if _, err := s.merge(r); err == nil {
			t.Errorf("%s was merged", name)
		}
	}
	if len(s.Tenants)+len(s.Certificates)+len(s.Schemas)+len(s.clocks) > 0 {
		t.Errorf("a refused record left a trace: %+v", s)
	}
}

func TestWhatIsOnTrial(t *testing.T) {
	s := NewState()
	s.Tenants["acme"] = &accounts.Tenant{Name: "acme", State: accounts.Active}
	s.Regions["eu"], s.Regions["us"] = &accounts.RegionInfo{Name: "eu"}, &accounts.RegionInfo{Name: "us"}
	policy := accounts.DefaultTrial()
	add := func(tenant string, minor uint32, status schema.Status, trial *accounts.TrialPolicy) *accounts.Schema {
		one := &accounts.Schema{Tenant: tenant, Subject: "x", Version: schema.Version{Major: 1, Minor: minor}, Status: status, Run: 2, Trial: trial}
		s.Schemas[one.ID()] = one
		return one
	}
	verdict := func(one *accounts.Schema, region string, run int, state accounts.TrialState, since int64) {
		rec := &accounts.Trial{Tenant: one.Tenant, Subject: one.Subject, Version: one.Version, Region: region, Verdict: &accounts.TrialVerdict{Run: run, State: state, Since: time.Unix(since, 0)}}
		s.Trials[rec.ID()] = rec
	}
	watched, passed, canary := add("acme", 0, schema.Active, &policy), add("acme", 1, schema.Active, &policy), add("acme", 2, schema.Canary, &policy)
	add("acme", 3, schema.Active, nil)
	add("acme", 4, schema.Canary, &policy).Others = []string{"other"}
	add("gone", 0, schema.Canary, &policy)
	verdict(watched, "eu", 1, accounts.TrialPassed, 1) // of an earlier run
	verdict(passed, "eu", 2, accounts.TrialPassed, 2)
	verdict(passed, "us", 2, accounts.TrialWatched, 1) // which judged before
	if on := s.OnTrial(); len(on) != 2 || on[0] != watched || on[1] != canary {
		t.Errorf("%+v", on)
	}
	if s.Verdict(watched) != nil || s.Verdict(passed).State != accounts.TrialPassed || len(s.TrialsOf(passed)) != 2 {
		t.Error("a verdict of another run, or none")
	}
}

func TestCertificatesAreForgottenLongAfterTheirEnd(t *testing.T) {
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := fold(t, []*Record{record(t, KindCertificate, "aa.1f", "eu_1", Clock{Wall: 1}, accounts.Certificate{Issuer: "aa", Serial: "1f", NotAfter: end})})
	if s.prune(end.Add(keepCertificates)); s.Len() != 1 || len(s.Certificates) != 1 {
		t.Error("forgotten too early")
	}
	if s.prune(end.Add(keepCertificates + 1)); s.Len() != 0 || len(s.Certificates) != 0 {
		t.Error("kept for ever")
	}
}
