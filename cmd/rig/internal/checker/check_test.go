package checker

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// sent is an event that eu acknowledged: sent at 10, answered at 20.
func sent(id string, change ...func(*Attempt)) Attempt {
	a := Attempt{ID: id, Tenant: "t", Key: "k", Body: 7, Outcome: Acked, Region: "eu", Sends: []Send{{10, "eu"}}, AckedAt: 20}
	for _, f := range change {
		f(&a)
	}
	return a
}

func unknown(a *Attempt)  { a.Outcome, a.Region, a.AckedAt = Unknown, "", 0 }
func refused(a *Attempt)  { a.Outcome, a.Region, a.AckedAt = Refused, "", 0 }
func poison(a *Attempt)   { a.Poison = true }
func regional(a *Attempt) { a.Regional = true }

func from(at, ackedAt int64) func(*Attempt) {
	return func(a *Attempt) { a.Sends, a.AckedAt = []Send{{at, "eu"}}, ackedAt }
}

func sends(s ...Send) func(*Attempt) { return func(a *Attempt) { a.Sends = s } }
func key(k string) func(*Attempt)    { return func(a *Attempt) { a.Key = k } }

// at is an event as it stands at place seq of eu's stream.
func at(id string, seq uint64, change ...func(*Stored)) Stored {
	e := Stored{ID: id, Origin: "eu_1", OriginSeq: seq, Seq: seq, Body: 7}
	for _, f := range change {
		f(&e)
	}
	return e
}

func repaired(e *Stored)            { e.Repaired = true }
func local(e *Stored)               { e.Regional = true }
func other(e *Stored)               { e.Body = 8 }
func origin(o string) func(*Stored) { return func(e *Stored) { e.Origin = o } }
func copyOf(h *History, r string, events ...Stored) {
	h.Copies = append(h.Copies, Copy{Tenant: "t", Region: r, Events: events})
}

// run is a history of tenant t in eu and us.
func run(attempts []Attempt, eu, us []Stored, change ...func(*History)) *History {
	h := &History{Attempts: attempts, Window: 100, Regions: map[string][]string{"t": {"eu", "us"}}}
	copyOf(h, "eu", eu...)
	copyOf(h, "us", us...)
	for _, f := range change {
		f(h)
	}
	return h
}

func lossOf(region string, from, at int64) func(*History) {
	return func(h *History) { h.Losses = append(h.Losses, Loss{Region: region, From: from, At: at}) }
}

func ledger(region, group string, effects ...string) func(*History) {
	return func(h *History) { h.Ledgers = append(h.Ledgers, Ledger{"t", region, group, effects}) }
}

type (
	as = []Attempt
	es = []Stored
)

type ruleCase struct {
	h    *History
	want Verdict // without findings
}

func runCases(t *testing.T, cases map[string]ruleCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, second := Check(c.h), naive(c.h)
			findings := got.Findings
			got.Findings = nil
			if !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got %+v\nwant %+v\n%+v", *got, c.want, findings)
			}
			if !reflect.DeepEqual(got, second) {
				t.Errorf("naive says %+v\nwant %+v", *second, c.want)
			}
			broken := got.Lost + got.Unexpected + got.Duplicated + got.Diverged + got.Reordered + got.DoubleEffects + got.MissingEffects
			if len(findings) != broken || got.OK() != (broken == 0) {
				t.Errorf("%d broken promises, %d findings, OK %t", broken, len(findings), got.OK())
			}
		})
	}
}

func TestLost(t *testing.T) {
	a, r := as{sent("a")}, as{sent("a", regional)}
	one, mine := es{at("a", 1)}, es{at("a", 1, local)}
	runCases(t, map[string]ruleCase{
		"in both":                       {run(a, one, one), Verdict{Acknowledged: 1}},
		"in none":                       {run(a, nil, nil), Verdict{Acknowledged: 1, Lost: 1}},
		"in one":                        {run(a, one, nil), Verdict{Acknowledged: 1, Lost: 1, Diverged: 1}},
		"in the other":                  {run(a, nil, one), Verdict{Acknowledged: 1, Lost: 1, Diverged: 1}},
		"regional in its region":        {run(r, mine, nil), Verdict{Acknowledged: 1}},
		"regional in none":              {run(r, nil, nil), Verdict{Acknowledged: 1, Lost: 1}},
		"regional elsewhere":            {run(r, nil, mine), Verdict{Acknowledged: 1, Lost: 1, Unexpected: 1}},
		"unknown and absent":            {run(as{sent("a", unknown)}, nil, nil), Verdict{UnknownAbsent: 1}},
		"unknown and stored":            {run(as{sent("a", unknown)}, one, one), Verdict{UnknownStored: 1}},
		"refused and absent":            {run(as{sent("a", refused)}, nil, nil), Verdict{Refused: 1}},
		"acknowledged poison is absent": {run(as{sent("a", poison)}, nil, nil), Verdict{Acknowledged: 1, Lost: 1}},
		"in another tenant": {run(a, nil, nil, func(h *History) {
			h.Copies = append(h.Copies, Copy{"u", "eu", one})
		}), Verdict{Acknowledged: 1, Lost: 1, Unexpected: 1}},
		"regions not named: those of the copies": {run(a, one, nil, func(h *History) { h.Regions = nil }), Verdict{Acknowledged: 1, Lost: 1, Diverged: 1}},
		"no region at all":                       {&History{Attempts: a}, Verdict{Acknowledged: 1, Lost: 1}},
		"a region without a copy":                {run(a, one, one, func(h *History) { h.Regions["t"] = []string{"eu", "us", "ap"} }), Verdict{Acknowledged: 1, Lost: 1, Diverged: 1}},
		"a region that need not":                 {run(a, one, nil, func(h *History) { h.Regions["t"] = []string{"eu"} }), Verdict{Acknowledged: 1}},
		"nothing":                                {&History{}, Verdict{}},
	})
}

func TestLostWithRegion(t *testing.T) {
	a, one := as{sent("a")}, es{at("a", 1)} // acknowledged at 20
	ms := int64(time.Millisecond)
	gone := Verdict{Acknowledged: 1, LostWithRegion: 1, RPOms: 1}
	lost := Verdict{Acknowledged: 1, Lost: 1}
	atLoss := gone
	atLoss.RPOms = 0
	runCases(t, map[string]ruleCase{
		"within":                 {run(a, nil, nil, lossOf("eu", 10, 30)), gone},
		"acknowledged at From":   {run(a, nil, nil, lossOf("eu", 20, 30)), lost},
		"just after From":        {run(a, nil, nil, lossOf("eu", 19, 30)), gone},
		"at the loss":            {run(a, nil, nil, lossOf("eu", 10, 20)), atLoss},
		"after the loss":         {run(a, nil, nil, lossOf("eu", 10, 19)), lost},
		"another region is lost": {run(a, nil, nil, lossOf("us", 10, 30)), lost},
		"present elsewhere":      {run(a, nil, one, lossOf("eu", 10, 30)), Verdict{Acknowledged: 1, Lost: 1, Diverged: 1}},
		"present everywhere":     {run(a, one, one, lossOf("eu", 10, 30)), Verdict{Acknowledged: 1}},
		"regional":               {run(as{sent("a", regional)}, nil, nil, lossOf("eu", 10, 30)), Verdict{Acknowledged: 1, RegionalLost: 1}},
		"regional, stored there": {run(as{sent("a", regional)}, es{at("a", 1, local)}, nil, lossOf("eu", 10, 30)), Verdict{Acknowledged: 1}},
		"regional, stored elsewhere by an unanswered request": {run(as{sent("a", regional, sends(Send{5, "us"}, Send{10, "eu"}))}, nil, es{at("a", 1, local, origin("us_1"))}, lossOf("eu", 10, 30)),
			Verdict{Acknowledged: 1, RegionalLost: 1}},
		"the oldest counts": {run(as{sent("a"), sent("b", from(0, 20+3*ms)), sent("c", from(0, 20+7*ms))}, nil, nil, lossOf("eu", 20, 20+10*ms)),
			Verdict{Acknowledged: 3, Lost: 1, LostWithRegion: 2, RPOms: 7}},
		"the oldest of two losses": {run(a, nil, nil, lossOf("eu", 10, 20+9*ms), lossOf("eu", 10, 30)),
			Verdict{Acknowledged: 1, LostWithRegion: 1, RPOms: 9}},
	})
}

func TestUnexpected(t *testing.T) {
	a, one := as{sent("a")}, es{at("a", 1)}
	twice := sends(Send{10, "eu"}, Send{15, "us"})
	usOwn := es{at("a", 1, local, origin("us_1"))}
	mine := es{at("a", 1, local)}
	runCases(t, map[string]ruleCase{
		"foreign":                 {run(nil, one, one), Verdict{Unexpected: 1}},
		"foreign in one":          {run(nil, one, nil), Verdict{Unexpected: 1, Diverged: 1}},
		"foreign and regional":    {run(nil, mine, nil), Verdict{Unexpected: 1}},
		"another body":            {run(a, es{at("a", 1, other)}, es{at("a", 1, other)}), Verdict{Acknowledged: 1, Unexpected: 1}},
		"another body in one":     {run(a, one, es{at("a", 1, other)}), Verdict{Acknowledged: 1, Unexpected: 1, Diverged: 1}},
		"poison":                  {run(as{sent("a", poison, refused)}, one, one), Verdict{Refused: 1, Unexpected: 1}},
		"acknowledged poison":     {run(as{sent("a", poison)}, one, one), Verdict{Acknowledged: 1, Unexpected: 1}},
		"refused":                 {run(as{sent("a", refused)}, one, one), Verdict{Refused: 1, Unexpected: 1}},
		"global stored regional":  {run(a, es{at("a", 1, local)}, es{at("a", 1)}), Verdict{Acknowledged: 1, Unexpected: 1}},
		"regional stored global":  {run(as{sent("a", regional)}, one, nil), Verdict{Acknowledged: 1, Unexpected: 1}},
		"regional leaked":         {run(as{sent("a", regional)}, mine, mine), Verdict{Acknowledged: 1, Unexpected: 1, CrossDuplicates: 1}},
		"regional in both asked":  {run(as{sent("a", regional, twice)}, mine, usOwn), Verdict{Acknowledged: 1, CrossDuplicates: 1}},
		"regional in one unasked": {run(as{sent("a", regional, sends(Send{10, "eu"}, Send{15, "ap"}))}, mine, usOwn), Verdict{Acknowledged: 1, Unexpected: 1, CrossDuplicates: 1}},
		"regional forwarded":      {run(as{sent("a", regional, sends(Send{10, "us"}))}, mine, nil), Verdict{Acknowledged: 1}},
		"regional where it was asked and forwarded to": {run(as{sent("a", regional, sends(Send{10, "us"}))}, mine, usOwn), Verdict{Acknowledged: 1, Unexpected: 1, CrossDuplicates: 1}},
		"regional, unknown, forwarded":                 {run(as{sent("a", regional, unknown)}, nil, usOwn), Verdict{UnknownStored: 1}},
		"regional, unknown, leaked":                    {run(as{sent("a", regional, unknown)}, nil, mine), Verdict{UnknownStored: 1, Unexpected: 1}},
		"attempted twice":                              {run(as{sent("a"), sent("a")}, one, one), Verdict{Acknowledged: 1, Unexpected: 1}},
		"the same id of two tenants": {run(a, one, one, func(h *History) {
			b := sent("a", func(a *Attempt) { a.Tenant, a.Body = "u", 9 })
			h.Attempts = append(h.Attempts, b)
			h.Copies = append(h.Copies, Copy{"u", "eu", es{at("a", 1, func(e *Stored) { e.Body = 9 })}})
		}), Verdict{Acknowledged: 2}},
	})
}

func TestDuplicated(t *testing.T) {
	one, two := es{at("a", 1)}, es{at("a", 1), at("a", 2)}
	cross := es{at("a", 1), at("a", 2, origin("us_1"))}
	both := sends(Send{10, "eu"}, Send{15, "us"})
	runCases(t, map[string]ruleCase{
		"sent once":                        {run(as{sent("a")}, two, one), Verdict{Acknowledged: 1, Duplicated: 1}},
		"in both":                          {run(as{sent("a")}, two, two), Verdict{Acknowledged: 1, Duplicated: 2}},
		"retried in time":                  {run(as{sent("a", sends(Send{10, "eu"}, Send{110, "eu"}))}, two, one), Verdict{Acknowledged: 1, Duplicated: 1}},
		"retried too late":                 {run(as{sent("a", sends(Send{10, "eu"}, Send{50, "eu"}, Send{111, "eu"}))}, two, two), Verdict{Acknowledged: 1, CrossDuplicates: 2}},
		"retried elsewhere":                {run(as{sent("a", both)}, cross, one), Verdict{Acknowledged: 1, CrossDuplicates: 1}},
		"two origins, one region asked":    {run(as{sent("a")}, cross, one), Verdict{Acknowledged: 1, Duplicated: 1}},
		"two regions asked, one origin":    {run(as{sent("a", both)}, two, one), Verdict{Acknowledged: 1, Duplicated: 1}},
		"one event came in twice":          {run(as{sent("a", both)}, es{at("a", 1), at("a", 1, repaired)}, one), Verdict{Acknowledged: 1, Duplicated: 1}},
		"one event came in twice, retried": {run(as{sent("a", sends(Send{10, "eu"}, Send{500, "us"}))}, es{at("a", 1), at("a", 1, repaired)}, one), Verdict{Acknowledged: 1, Duplicated: 1}},
		"foreign":                          {run(nil, two, one), Verdict{Unexpected: 1, Duplicated: 1}},
		"never sent":                       {run(as{sent("a", sends())}, two, one), Verdict{Acknowledged: 1, Duplicated: 1}},
		"over two copies of a region":      {run(as{sent("a")}, one, one, func(h *History) { copyOf(h, "eu", at("a", 2)) }), Verdict{Acknowledged: 1, Duplicated: 1}},
	})
}

func TestDiverged(t *testing.T) {
	u, one := as{sent("a", unknown)}, es{at("a", 1)}
	runCases(t, map[string]ruleCase{
		"unknown in one":            {run(u, one, nil), Verdict{UnknownStored: 1, Diverged: 1}},
		"unknown in the other":      {run(u, nil, one), Verdict{UnknownStored: 1, Diverged: 1}},
		"once for two that lack it": {run(u, one, nil, func(h *History) { h.Regions["t"] = []string{"eu", "us", "ap"} }), Verdict{UnknownStored: 1, Diverged: 1}},
		"other origins are no harm": {run(u, one, es{at("a", 5, origin("us_1"))}), Verdict{UnknownStored: 1}},
		"repaired":                  {run(u, one, es{at("a", 1, repaired)}), Verdict{UnknownStored: 1}},
		"regional":                  {run(as{sent("a", regional, unknown)}, es{at("a", 1, local)}, nil), Verdict{UnknownStored: 1}},
	})
}

func TestReordered(t *testing.T) {
	overlap := as{sent("a"), sent("b")} // both sent at 10, answered at 20
	ab, ba := es{at("a", 1), at("b", 2)}, es{at("b", 2), at("a", 1)}
	turned := es{at("b", 1), at("a", 2)}
	after := as{sent("a"), sent("b", from(21, 30))}
	runCases(t, map[string]ruleCase{
		"in order":                          {run(overlap, ab, ab), Verdict{Acknowledged: 2}},
		"behind in one region":              {run(overlap, ab, ba), Verdict{Acknowledged: 2, Reordered: 1}},
		"other keys":                        {run(as{sent("a"), sent("b", key("l"))}, ab, ba), Verdict{Acknowledged: 2}},
		"other origins":                     {run(overlap, ab, es{at("b", 2, origin("us_1")), at("a", 1)}), Verdict{Acknowledged: 2}},
		"repaired":                          {run(overlap, ab, es{at("b", 2), at("a", 1, repaired)}), Verdict{Acknowledged: 2}},
		"behind a repaired one":             {run(overlap, ab, es{at("b", 2, repaired), at("a", 1)}), Verdict{Acknowledged: 2}},
		"the same place":                    {run(overlap, es{at("a", 1), at("b", 1)}, ab), Verdict{Acknowledged: 2, Reordered: 1}},
		"two behind":                        {run(as{sent("a"), sent("b"), sent("c")}, es{at("c", 3), at("a", 1), at("b", 2)}, es{at("a", 1), at("b", 2), at("c", 3)}), Verdict{Acknowledged: 3, Reordered: 2}},
		"free at the same time":             {run(overlap, turned, turned), Verdict{Acknowledged: 2}},
		"real time":                         {run(after, turned, turned), Verdict{Acknowledged: 2, Reordered: 1}},
		"real time kept":                    {run(after, ab, ab), Verdict{Acknowledged: 2}},
		"sent at the answer":                {run(as{sent("a"), sent("b", from(20, 30))}, turned, turned), Verdict{Acknowledged: 2}},
		"real time, other key":              {run(as{sent("a"), sent("b", key("l"), from(21, 30))}, turned, turned), Verdict{Acknowledged: 2}},
		"real time, no answer":              {run(as{sent("a", unknown), sent("b", from(21, 30))}, turned, turned), Verdict{Acknowledged: 1, UnknownStored: 1}},
		"real time, unknown next":           {run(as{sent("a"), sent("b", unknown, from(21, 0))}, turned, turned), Verdict{Acknowledged: 1, UnknownStored: 1, Reordered: 1}},
		"real time, repaired":               {run(after, es{at("b", 1), at("a", 2, repaired)}, es{at("b", 1), at("a", 2, repaired)}), Verdict{Acknowledged: 2}},
		"real time, repaired in one region": {run(after, turned, es{at("b", 1), at("a", 2, repaired)}), Verdict{Acknowledged: 2, Reordered: 1}},
		"real time, other origin":           {run(after, es{at("b", 1), at("a", 2, origin("us_1"))}, es{at("b", 1), at("a", 2, origin("us_1"))}), Verdict{Acknowledged: 2}},
		"real time, a second place": {run(as{sent("a", sends(Send{10, "eu"}, Send{200, "eu"})), sent("b", from(21, 30))},
			es{at("b", 1), at("a", 2), at("a", 3)}, es{at("b", 1), at("a", 2), at("a", 3)}), Verdict{Acknowledged: 2, CrossDuplicates: 2}},
		"real time, behind the first answer, not the last": {run(as{sent("a"), sent("b", from(30, 40)), sent("c", from(10, 25))},
			es{at("c", 1), at("b", 3), at("a", 5)}, es{at("c", 1), at("b", 3), at("a", 5)}), Verdict{Acknowledged: 3, Reordered: 1}},
		"real time, retry":                        {run(as{sent("a"), sent("b", sends(Send{15, "eu"}, Send{30, "eu"}))}, turned, turned), Verdict{Acknowledged: 2}},
		"answered before it was sent: no witness": {run(as{sent("a", from(50, 20)), sent("b", from(30, 40))}, turned, turned), Verdict{Acknowledged: 2, Reordered: 0}},
	})
}

func TestEffects(t *testing.T) {
	a, one := as{sent("a")}, es{at("a", 1)}
	runCases(t, map[string]ruleCase{
		"once":                    {run(a, one, one, ledger("eu", "g", "a"), ledger("us", "g", "a")), Verdict{Acknowledged: 1}},
		"twice":                   {run(a, one, one, ledger("eu", "g", "a", "a")), Verdict{Acknowledged: 1, DoubleEffects: 1}},
		"three times":             {run(a, one, one, ledger("eu", "g", "a", "a", "a")), Verdict{Acknowledged: 1, DoubleEffects: 1}},
		"once in each group":      {run(a, one, one, ledger("eu", "g", "a"), ledger("eu", "h", "a")), Verdict{Acknowledged: 1}},
		"twice over two ledgers":  {run(a, one, one, ledger("eu", "g", "a"), ledger("eu", "g", "a")), Verdict{Acknowledged: 1, DoubleEffects: 1}},
		"missing":                 {run(a, one, one, ledger("eu", "g")), Verdict{Acknowledged: 1, MissingEffects: 1}},
		"missing in each group":   {run(a, one, one, ledger("eu", "g"), ledger("eu", "h")), Verdict{Acknowledged: 1, MissingEffects: 2}},
		"in the other region":     {run(a, one, one, ledger("us", "g", "a"), ledger("eu", "g")), Verdict{Acknowledged: 1, MissingEffects: 1}},
		"not in that region":      {run(as{sent("a", regional)}, es{at("a", 1, local)}, nil, ledger("us", "g")), Verdict{Acknowledged: 1}},
		"poison needs none":       {run(as{sent("a", poison, refused)}, one, one, ledger("eu", "g")), Verdict{Refused: 1, Unexpected: 1}},
		"once of what is twice":   {run(as{sent("a", sends(Send{10, "eu"}, Send{200, "eu"}))}, es{at("a", 1), at("a", 2)}, one, ledger("eu", "g", "a")), Verdict{Acknowledged: 1, CrossDuplicates: 1}},
		"of what went with eu":    {run(a, nil, nil, lossOf("eu", 10, 30), ledger("eu", "g", "a")), Verdict{Acknowledged: 1, LostWithRegion: 1, RPOms: 1}},
		"of another tenant's id":  {run(a, one, one, func(h *History) { h.Ledgers = []Ledger{{"u", "eu", "g", []string{"a", "a"}}} }), Verdict{Acknowledged: 1, DoubleEffects: 1}},
		"no ledger, no consumers": {run(a, one, one), Verdict{Acknowledged: 1}},
	})
}

func TestFindingsAreFew(t *testing.T) {
	h := run(nil, nil, nil)
	for i := range 3 * maxFindings {
		h.Attempts = append(h.Attempts, sent(fmt.Sprintf("a%03d", i), from(int64(i), int64(i))))
	}
	copyOf(h, "eu", at("x", 1), at("x", 2))
	v := Check(h)
	if v.Lost != 3*maxFindings || len(v.Findings) != maxFindings+3 { // x is unexpected, duplicated and diverged
		t.Errorf("%d lost, %d findings", v.Lost, len(v.Findings))
	}
	if f := v.Findings[0]; f.Kind != KindLost || f.ID != "a000" || f.Tenant != "t" || f.Region != "eu" || !strings.Contains(f.Detail, "eu, us") {
		t.Errorf("the first finding is %+v", f)
	}
	twice := *v
	twice.Findings = slices.Clone(v.Findings)
	twice.Add(v)
	if twice.Lost != 6*maxFindings || len(twice.Findings) != maxFindings+6 {
		t.Errorf("twice: %d lost, %d findings", twice.Lost, len(twice.Findings))
	}
}

func TestAddSumsEveryFigure(t *testing.T) {
	fill := func(n int64) *Verdict {
		v := &Verdict{}
		r := reflect.ValueOf(v).Elem()
		for i := range r.NumField() {
			if r.Field(i).CanInt() {
				r.Field(i).SetInt(n + int64(i))
			}
		}
		return v
	}
	got, want := fill(100), fill(0)
	got.Add(fill(1000))
	r := reflect.ValueOf(want).Elem()
	for i := range r.NumField() {
		if r.Field(i).CanInt() {
			r.Field(i).SetInt(1100 + 2*int64(i))
		}
	}
	want.RPOms = fill(1000).RPOms // the worst one, no sum
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestVerdictJSON(t *testing.T) {
	b, err := json.Marshal(Verdict{Lost: 1, RPOms: 2, Findings: []Finding{{Kind: KindLost, Tenant: "t", ID: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"acknowledged":0,"lost":1,"unexpected":0,"duplicated":0,"diverged":0,"reordered":0,"double_effects":0,"missing_effects":0,"admitted":0,"turned_away":0,"replayed":0,"probes":0,` +
		`"unknown_stored":0,"unknown_absent":0,"cross_duplicates":0,"lost_with_region":0,"regional_lost":0,"refused":0,"rpo_ms":2,` +
		`"findings":[{"kind":"lost","tenant":"t","id":"a"}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

// What reached its origin again after the window is no fault of the mesh, however early it was sent: it waited in a
// slow link. When another region took the copies over does not matter.
func TestArrivalsAfterTheWindow(t *testing.T) {
	stored := func(at int64) func(*Stored) { return func(e *Stored) { e.At = at } }
	s := time.Second
	for name, c := range map[string]struct {
		eu, us []Stored
		want   Verdict
	}{
		"after the window":  {es{at("a", 1, stored(1)), at("a", 2, stored(int64(7*s)))}, es{at("a", 1, stored(int64(8*s))), at("a", 2, stored(int64(8*s)))}, Verdict{Acknowledged: 1, CrossDuplicates: 2}},
		"within the window": {es{at("a", 1, stored(1)), at("a", 2, stored(int64(5*s)))}, es{at("a", 1, stored(1)), at("a", 2, stored(int64(9*s)))}, Verdict{Acknowledged: 1, Duplicated: 2}},
		"one of three":      {es{at("a", 1, stored(1)), at("a", 2, stored(int64(7*s))), at("a", 3, stored(int64(8*s)))}, es{at("a", 1, stored(1))}, Verdict{Acknowledged: 1, Duplicated: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			h := run(as{sent("a")}, c.eu, c.us)
			h.Window = 6 * s
			got := Check(h)
			got.Findings = nil
			if !reflect.DeepEqual(*got, c.want) {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
		})
	}
}
