package accounts

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
)

func TestTrialPolicies(t *testing.T) {
	share, sample, errors, hold := 25, uint64(50), 0.0, Duration(0)
	p := DefaultTrial().With(&TrialSpec{Share: &share, Sample: &sample, MaxErrors: &errors, Hold: &hold, Promote: PromoteByHand})
	if want := (TrialPolicy{Share: 25, Sample: 50, Watch: DefaultTrial().Watch, Promote: PromoteByHand}); p != want {
		t.Errorf("%+v", p)
	}
	if DefaultTrial().With(nil) != DefaultTrial() || DefaultTrial().Validate() != nil || p.Validate() != nil {
		t.Error("what nobody changed has changed, or what is possible is refused")
	}
	for want, change := range map[string]func(*TrialPolicy){
		"share":      func(p *TrialPolicy) { p.Share = 101 },
		"sample":     func(p *TrialPolicy) { p.Sample = 0 },
		"max_errors": func(p *TrialPolicy) { p.MaxErrors = math.NaN() },
		"hold":       func(p *TrialPolicy) { p.Hold = -1 },
		"watch":      func(p *TrialPolicy) { p.Watch = MaxTrialTime + 1 },
		"promote":    func(p *TrialPolicy) { p.Promote = "perhaps" },
	} {
		p := DefaultTrial()
		change(&p)
		if err := p.Validate(); fault.CodeOf(err) != "schema_trial" || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%s: %v", want, err)
		}
	}
	raw, err := json.Marshal(DefaultTrial())
	if want := `{"share":10,"sample":1000,"max_errors":1,"hold":"15m","watch":"1h","promote":"auto"}`; err != nil || string(raw) != want {
		t.Errorf("%s, %v", raw, err)
	}
}

// told is a report of a relay that counted in several lives.
type told struct {
	began int64
	now   Counts
}

// anyLives draws what a relay counted in each of its lives, and all that it told of it.
func anyLives(t *rapid.T) (truth Counts, all []told) {
	for life := range rapid.IntRange(1, 4).Draw(t, "lives") {
		var now Counts
		for range rapid.IntRange(1, 4).Draw(t, "reports") {
			checked := rapid.Uint64Range(0, 9).Draw(t, "checked")
			c := Count{Checked: checked, Failed: rapid.Uint64Range(0, checked).Draw(t, "failed")}
			if now.Shadow = now.Shadow.Plus(c); rapid.Bool().Draw(t, "active") {
				now.Active = now.Active.Plus(c)
			}
			all = append(all, told{began: int64(life + 1), now: now})
		}
		truth = truth.Plus(now)
	}
	return truth, all
}

func (r told) counts() RelayCounts { return RelayCounts{Began: r.began, Now: r.now} }

// Reports that are lost, repeated or late never make more of what was counted.
func TestCountsAreNeverTooMany(t *testing.T) {
	within := func(a, b Counts) bool { return a.Max(b) == b }
	rapid.Check(t, func(t *rapid.T) {
		truth, all := anyLives(t)
		var sum RelayCounts
		for _, r := range rapid.SliceOfN(rapid.SampledFrom(all), 0, 20).Draw(t, "heard") {
			before := sum.Total()
			if sum = sum.Join(r.counts()); !within(before, sum.Total()) {
				t.Fatalf("%+v took back %+v: %+v", r, before, sum)
			}
			if sum.Join(r.counts()) != sum {
				t.Fatalf("%+v twice: %+v", r, sum)
			}
		}
		if !within(sum.Total(), truth) {
			t.Fatalf("%+v of %+v", sum, truth)
		}
	})
}

// Whatever is lost between: when the last word of each life is heard, nothing is missing. A hub that starts in between
// and knows the control log alone comes to the same.
func TestCountsAreComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth, all := anyLives(t)
		var recorded, heard RelayCounts
		for i, r := range all {
			if last := i+1 == len(all) || all[i+1].began != r.began; !last && rapid.Bool().Draw(t, "lost") {
				continue
			}
			heard = heard.Join(r.counts())
			recorded = recorded.Join(heard)
			if rapid.Bool().Draw(t, "restarted") {
				heard = RelayCounts{}
			}
		}
		if recorded.Total() != truth {
			t.Fatalf("%+v, want %+v", recorded, truth)
		}
	})
}

func TestATrialJoinsByRelay(t *testing.T) {
	a := &Trial{Region: "eu", Relays: map[string]RelayCounts{"r1": {Began: 1, Now: Counts{Shadow: Count{5, 1}}}}, Faults: []TrialFault{{"minimum", "/a"}}}
	b := &Trial{Relays: map[string]RelayCounts{"r1": {Began: 2, Now: Counts{Shadow: Count{3, 0}}}, "r2": {Began: 1, Now: Counts{Active: Count{2, 2}}}},
		Faults: []TrialFault{{"minimum", "/a"}, {"enum", "/b"}, {"c", ""}, {"d", ""}, {"e", ""}, {"f", ""}}}
	sum := a.Join(b)
	if got := sum.Total(); got != (Counts{Shadow: Count{8, 1}, Active: Count{2, 2}}) || sum.Region != "eu" {
		t.Errorf("%+v", sum)
	}
	if len(sum.Faults) != MaxTrialFaults || sum.Faults[1].Rule != "enum" {
		t.Errorf("%+v", sum.Faults)
	}
	if len(a.Relays) != 1 || len(a.Faults) != 1 || !reflect.DeepEqual(a.Join(&Trial{}).Total(), a.Total()) {
		t.Error("a record was changed in place")
	}
}

func TestRelaysThatAreGoneStandTogether(t *testing.T) {
	trial := &Trial{Relays: map[string]RelayCounts{}}
	for i := range MaxTrialRelays + 3 {
		trial.Relays[fmt.Sprintf("r%02d", i)] = RelayCounts{Began: int64(i), Past: Counts{Shadow: Count{Checked: 1}}, Now: Counts{Active: Count{Checked: 1, Failed: 1}}}
	}
	total := trial.Total()
	if folded := trial.Fold(func(string) bool { return false }); folded != nil {
		t.Errorf("living ones were folded: %v", folded)
	}
	folded := trial.Fold(func(id string) bool { return id != "r01" })
	if !slices.Equal(folded, []string{"r00", "r02", "r03", "r04"}) || len(trial.Relays) != MaxTrialRelays || trial.Total() != total {
		t.Errorf("%v, %d relays, %+v of %+v", folded, len(trial.Relays), trial.Total(), total)
	}
	trial.Relays["new"] = RelayCounts{Began: 100, Now: Counts{Shadow: Count{Checked: 5}}}
	if folded := trial.Fold(func(string) bool { return true }); !slices.Equal(folded, []string{"r01"}) || trial.Total().Shadow.Checked != total.Shadow.Checked+5 {
		t.Errorf("%v, %+v", folded, trial.Total())
	}
	if f := (TrialFault{Place: strings.Repeat("x", MaxTrialPlace-1) + "é"}).Bounded(); len(f.Place) != MaxTrialPlace-1 {
		t.Errorf("a place of %d bytes", len(f.Place))
	}
}

// Every step that there is, and a rollback, gives a record that may follow the one before it whatever the clocks say.
func TestALifeOnlyMovesForward(t *testing.T) {
	policy := DefaultTrial()
	rapid.Check(t, func(t *rapid.T) {
		s := &Schema{Status: schema.Draft}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			to := rapid.SampledFrom([]schema.Status{schema.Draft, schema.Canary, schema.Active, schema.Deprecated, schema.Retired}).Draw(t, "to")
			next := s.Step(SchemaStep{Status: to})
			switch {
			case s.Status == schema.Active && to == schema.Canary:
				next = s.RollBack(SchemaStep{}, policy, Counts{})
				if next.Status != schema.Canary || next.Rollbacks != s.Rollbacks+1 || next.Run != s.Run+1 || next.Trial == nil || next.Compare(s) <= 0 {
					t.Fatalf("%+v after %+v", next, s)
				}
			case s.Status.May(to) != nil:
				continue
			}
			if next.Compare(s) < 0 || s.Compare(next) > 0 {
				t.Fatalf("%+v does not follow %+v", next, s)
			}
			s = next
		}
	})
	active := (&Schema{Status: schema.Canary}).Rise(SchemaStep{Status: schema.Active}, policy, Counts{Active: Count{Checked: 3}})
	if active.Run != 1 || active.Counted.Active.Checked != 3 || *active.Trial != policy || active.CanaryPercent() != policy.Share || (&Schema{}).CanaryPercent() != DefaultCanaryPercent {
		t.Errorf("%+v", active)
	}
	if done := active.Step(SchemaStep{Status: schema.Deprecated, At: time.Unix(1, 0)}); done.Trial != nil || done.Run != 1 || done.Counted != (Counts{}) {
		t.Errorf("still on trial: %+v", done)
	}
	back := active.RollBack(SchemaStep{}, policy, Counts{})
	if retired := active.Step(SchemaStep{Status: schema.Retired}); retired.Compare(back) <= 0 || back.Compare(retired) >= 0 {
		t.Error("a rollback outranks the end")
	}
}
