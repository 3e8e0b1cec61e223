package accounts

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
)

// TrialPolicy is what a new version of a schema has to show: as a canary, before it is in force, and for a while after.
type TrialPolicy struct {
	Share     int       `json:"share"`      // of the keys, in percent: on their events a canary is tried
	Sample    uint64    `json:"sample"`     // events at least, before anything is said of it
	MaxErrors float64   `json:"max_errors"` // of these events, in percent, may fail
	Hold      Duration  `json:"hold"`       // how long a canary has to stay green before it becomes active
	Watch     Duration  `json:"watch"`      // how long an active version is watched, and rolled back when it turns red; 0: never
	Promote   Promotion `json:"promote"`
}

// Promotion says who makes a green canary active.
type Promotion string

// The ways of promotion.
const (
	PromoteSelf   Promotion = "auto"   // the mesh does
	PromoteByHand Promotion = "manual" // a person does
)

// DefaultCanaryPercent is the share of a canary of which nobody said another.
const DefaultCanaryPercent = 10

// DefaultTrial is the policy where neither the tenant's rules nor the version's step say otherwise.
func DefaultTrial() TrialPolicy {
	return TrialPolicy{
		Share: DefaultCanaryPercent, Sample: 1000, MaxErrors: 1,
		Hold: Duration(15 * time.Minute), Watch: Duration(time.Hour), Promote: PromoteSelf,
	}
}

// Bounds of a policy.
const (
	MaxTrialSample = 1_000_000_000
	MaxTrialTime   = Duration(30 * 24 * time.Hour)
)

// TrialSpec says what of a policy is to be other than it would be; what is nil or empty is not.
type TrialSpec struct {
	Share     *int      `json:"share,omitempty"`
	Sample    *uint64   `json:"sample,omitempty"`
	MaxErrors *float64  `json:"max_errors,omitempty"`
	Hold      *Duration `json:"hold,omitempty"`
	Watch     *Duration `json:"watch,omitempty"`
	Promote   Promotion `json:"promote,omitempty"`
}

// With is p with what a spec says; nil says nothing.
func (p TrialPolicy) With(s *TrialSpec) TrialPolicy {
	if s == nil {
		return p
	}
	p.Share, p.Sample, p.MaxErrors = or(s.Share, p.Share), or(s.Sample, p.Sample), or(s.MaxErrors, p.MaxErrors)
	p.Hold, p.Watch = or(s.Hold, p.Hold), or(s.Watch, p.Watch)
	p.Promote = cmp.Or(s.Promote, p.Promote)
	return p
}

func or[T any](said *T, otherwise T) T {
	if said != nil {
		return *said
	}
	return otherwise
}

// Validate says what is wrong with a policy.
func (p TrialPolicy) Validate() error {
	bad := func(format string, args ...any) error {
		return fault.New("schema.trial", fault.Invalid, "schema_trial", format, args...)
	}
	switch {
	case p.Share < 1 || p.Share > 100:
		return bad("share: %d is no percentage of keys from 1 to 100", p.Share)
	case p.Sample < 1 || p.Sample > MaxTrialSample:
		return bad("sample: %d events; 1 to %d are possible", p.Sample, MaxTrialSample)
	case !(p.MaxErrors >= 0 && p.MaxErrors < 100): // no number is neither
		return bad("max_errors: %v is no percentage from 0 to less than 100", p.MaxErrors)
	case p.Hold < 0 || p.Hold > MaxTrialTime:
		return bad("hold: %s; 0s to %s are possible", p.Hold, MaxTrialTime)
	case p.Watch < 0 || p.Watch > MaxTrialTime:
		return bad("watch: %s; 0s to %s are possible", p.Watch, MaxTrialTime)
	case p.Promote != PromoteSelf && p.Promote != PromoteByHand:
		return bad("promote: %q is neither %s nor %s", p.Promote, PromoteSelf, PromoteByHand)
	}
	return nil
}

// Count is how many events were checked, and how many of them failed.
type Count struct {
	Checked uint64 `json:"checked"`
	Failed  uint64 `json:"failed"`
}

// Plus is the sum.
func (c Count) Plus(o Count) Count { return Count{c.Checked + o.Checked, c.Failed + o.Failed} }

// Less is what c has more than o, nothing where it has less.
func (c Count) Less(o Count) Count {
	return Count{c.Checked - min(c.Checked, o.Checked), c.Failed - min(c.Failed, o.Failed)}
}

// Min is the smaller of each.
func (c Count) Min(o Count) Count { return Count{min(c.Checked, o.Checked), min(c.Failed, o.Failed)} }

// Max is the greater of each.
func (c Count) Max(o Count) Count { return Count{max(c.Checked, o.Checked), max(c.Failed, o.Failed)} }

// Percent is how many of a hundred failed.
func (c Count) Percent() float64 {
	if c.Checked == 0 {
		return 0
	}
	return 100 * float64(c.Failed) / float64(c.Checked)
}

// Counts are a version's events at one relay, or at several: as a canary, where a failure changed nothing, and as an
// active version, where a failure is an event that it refused and that would be taken were it rolled back.
type Counts struct {
	Shadow Count `json:"shadow"`
	Active Count `json:"active"`
}

// Plus is the sum.
func (c Counts) Plus(o Counts) Counts {
	return Counts{c.Shadow.Plus(o.Shadow), c.Active.Plus(o.Active)}
}

// Max is the greater of each.
func (c Counts) Max(o Counts) Counts { return Counts{c.Shadow.Max(o.Shadow), c.Active.Max(o.Active)} }

// TrialFault is a way in which events failed: the rule, and where the schema says it. Nothing of an event is in it.
type TrialFault struct {
	Rule  string `json:"rule"`
	Place string `json:"place"` // RFC 6901, in the schema
}

// Bounds of a region's record of a version.
const (
	MaxTrialFaults = 5   // that are told
	MaxTrialPlace  = 256 // bytes of the place of one
	MaxTrialRelays = 64  // of which each stands for itself
)

// Bounded is the fault with its place cut to the bound.
func (f TrialFault) Bounded() TrialFault {
	f.Place = strings.ToValidUTF8(f.Place[:min(len(f.Place), MaxTrialPlace)], "")
	return f
}

// VersionReport is what a relay has counted of one version since it started.
type VersionReport struct {
	Tenant  string         `json:"tenant"`
	Subject string         `json:"subject"`
	Version schema.Version `json:"version"`
	Hash    string         `json:"hash"` // of the content that it checked by
	Counts
	Faults []TrialFault `json:"faults,omitempty"`
}

// RelayCounts is what one relay has counted over all its lives.
type RelayCounts struct {
	Began int64  `json:"began"` // unix nanoseconds, by the relay's clock: which of its lives Now is of
	Past  Counts `json:"past"`  // of its earlier lives
	Now   Counts `json:"now"`   // of this one
}

// Total is all of it.
func (c RelayCounts) Total() Counts { return c.Past.Plus(c.Now) }

// Join is what two accounts of one relay say together. Whichever was heard first, however often, and whatever was
// lost between: what was counted once is in it once at most.
func (c RelayCounts) Join(o RelayCounts) RelayCounts {
	if c.Began < o.Began {
		c, o = o, c
	}
	if c.Began == o.Began {
		return RelayCounts{Began: c.Began, Past: c.Past.Max(o.Past), Now: c.Now.Max(o.Now)}
	}
	c.Past = c.Past.Max(o.Total())
	return c
}

// Trial is what one region knows of how a version does, as the control log holds it.
type Trial struct {
	Tenant  string                 `json:"tenant"`
	Subject string                 `json:"subject"`
	Version schema.Version         `json:"version"`
	Region  string                 `json:"region"`
	Relays  map[string]RelayCounts `json:"relays,omitempty"`  // by relay id; those that are gone together under ""
	Faults  []TrialFault           `json:"faults,omitempty"`  // the first ones that were told
	At      time.Time              `json:"at"`                // of this record, by the region's clock
	Verdict *TrialVerdict          `json:"verdict,omitempty"` // of the region that judges
}

// TrialVerdict is where a version stands in its trial. All times are of the clock of the hub that judges.
type TrialVerdict struct {
	Run   int        `json:"run"` // of Schema.Run: a verdict on another one is none
	State TrialState `json:"state"`
	Since time.Time  `json:"since"`           // when it came to the state
	Start Count      `json:"start"`           // what had been counted before the run
	Base  Count      `json:"base"`            // what had been counted when it came to the state
	Seen  Count      `json:"seen"`            // what has been counted by now, in all regions
	Waits string     `json:"waits,omitempty"` // what it waits for
}

// Counted is what the run has counted by now.
func (v *TrialVerdict) Counted() Count { return v.Seen.Less(v.Start) }

// TrialState is what a verdict says.
type TrialState string

// The states of a trial. A canary is sampled, then green until it is promoted; an active version is watched, then
// passed. Both may be red.
const (
	TrialSampling TrialState = "sampling" // too few events were checked to say anything
	TrialGreen    TrialState = "green"    // few enough failed
	TrialRed      TrialState = "red"      // too many failed
	TrialWatched  TrialState = "watched"  // in force, and rolled back when it turns red
	TrialPassed   TrialState = "passed"   // was in force for the time it was watched
)

// TrialID names a region's record of a version.
func TrialID(tenant, subject string, v schema.Version, region string) string {
	return SchemaID(tenant, subject, v) + "." + region
}

// ID is TrialID.
func (t *Trial) ID() string { return TrialID(t.Tenant, t.Subject, t.Version, t.Region) }

// Total is what all relays of the region counted.
func (t *Trial) Total() (sum Counts) {
	for _, r := range t.Relays {
		sum = sum.Plus(r.Total())
	}
	return sum
}

// Join is t with what another account of the same region and version says.
func (t *Trial) Join(o *Trial) *Trial {
	next := *t
	next.Relays = maps.Clone(t.Relays)
	if next.Relays == nil {
		next.Relays = map[string]RelayCounts{}
	}
	for id, c := range o.Relays {
		next.Relays[id] = next.Relays[id].Join(c)
	}
	next.Faults = JoinFaults(t.Faults, o.Faults)
	return &next
}

// Fold puts relays that are gone together where there are too many, those that began first before others, and returns
// which ones. What such a relay tells later would count again: gone says for sure that it has ended.
func (t *Trial) Fold(gone func(relay string) bool) (folded []string) {
	ids := slices.SortedFunc(maps.Keys(t.Relays), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.Relays[a].Began, t.Relays[b].Began), cmp.Compare(a, b))
	})
	for _, id := range ids {
		if len(t.Relays) <= MaxTrialRelays {
			break
		}
		if id == "" || !gone(id) {
			continue
		}
		t.Relays[""] = RelayCounts{Past: t.Relays[""].Past.Plus(t.Relays[id].Total())}
		delete(t.Relays, id)
		folded = append(folded, id)
	}
	return folded
}

// JoinFaults are the first of two lists, each once.
func JoinFaults(a, b []TrialFault) []TrialFault {
	out := slices.Clone(a)
	for _, f := range b {
		if len(out) < MaxTrialFaults && !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}
