package gate_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

// world is a control state, and the gates that follow it.
type world struct {
	t     testing.TB
	gates *gate.Gates
	state *control.State
	logs  *observer.ObservedLogs
	reg   *prometheus.Registry
}

func newWorld(t testing.TB) *world {
	core, logs := observer.New(zapcore.DebugLevel)
	w := &world{t: t, state: control.NewState(), logs: logs, reg: prometheus.NewRegistry()}
	for _, name := range []string{"acme", "globex"} {
		w.state.Tenants[name] = &accounts.Tenant{Name: name, State: accounts.Active}
	}
	w.state.Tenants["far"] = &accounts.Tenant{Name: "far", State: accounts.Active, Regions: []string{"us"}}
	var err error
	if w.gates, err = gate.New(gate.Options{Region: "eu", Logger: zap.New(core), Registerer: w.reg}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.gates.Close)
	return w
}

// next is a state that differs from the present one by the change, as the control log makes it.
func (w *world) next(change func(*control.State)) {
	next := control.NewState()
	next.Tenants, next.Schemas, next.Rules = maps.Clone(w.state.Tenants), maps.Clone(w.state.Schemas), maps.Clone(w.state.Rules)
	next.Mappings = maps.Clone(w.state.Mappings)
	change(next)
	w.state = next
}

func (w *world) put(tenant, subject, version string, status schema.Status, language schema.Language, text string) {
	w.t.Helper()
	v, err := schema.ParseVersion(version)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &accounts.Schema{Tenant: tenant, Subject: subject, Version: v, Status: status, Language: language, Text: []byte(text)}
	if s.Hash, err = s.Document().Hash(); err != nil {
		w.t.Fatal(err)
	}
	w.next(func(c *control.State) { c.Schemas[s.ID()] = s })
}

func (w *world) schema(version string, status schema.Status, text string) {
	w.t.Helper()
	w.put("acme", "bet.placed", version, status, schema.JSONSchema, text)
}

func (w *world) rules(set rule.Set) {
	w.next(func(c *control.State) { c.Rules["acme"] = &accounts.Rules{Tenant: "acme", Set: set} })
}

func (w *world) follow() { w.gates.Follow(w.state) }

// judge decodes events as the intake does and says what became of each, "" where it passes unjudged.
func (w *world) judge(lines ...string) []string {
	w.t.Helper()
	g, current := w.gates.Gate("acme", w.state)
	if !g.Asks() {
		return make([]string, len(lines))
	}
	state := w.state
	if current {
		state = nil
	}
	var p gate.Pass
	p.Begin(g, "acme", state)
	read := event.Reader{Visitor: &p}
	if g.Ruled() {
		read.Watcher = &p
	}
	results, err := read.DecodeLines([]byte(strings.Join(lines, "\n")), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.verdicts(&p, results)
}

// verdicts ends a pass and says what became of each event.
func (w *world) verdicts(p *gate.Pass, results []event.Result) []string {
	w.t.Helper()
	var out []string
	for i := range results {
		if results[i].Err != nil {
			w.t.Fatal(results[i].Err)
		}
		switch v := p.Judge(i, &results[i].Event); {
		case v.Refusal != nil:
			text := v.Refusal.Code
			for _, one := range v.Refusal.Violations {
				text += " " + one.Rule + one.Pointer
			}
			if v.Refusal.Later {
				text += " later"
			}
			out = append(out, text)
		case v.Kept:
			out = append(out, "kept")
		case v.Version != nil:
			out = append(out, v.Version.Label())
		default:
			out = append(out, "")
		}
	}
	p.Done()
	p.Reset()
	return out
}

func (w *world) expect(name, line, want string) {
	w.t.Helper()
	if got := w.judge(line); got[0] != want {
		w.t.Errorf("%s: %q, want %q", name, got[0], want)
	}
}

// bet is an event of a user.
func bet(version, user, payload string) string {
	return fmt.Sprintf(`{"event_id":"e-1","event_type":"bet.placed","schema_version":%q,"occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":%q},"payload":%s}`, version, user, payload)
}

const amount = `{"required":["amount"],"properties":{"amount":{"type":"integer","minimum":1}}}`

// Until the gate is compiled, a version that the control state knows is refused for now, and not for good.
func TestWhatIsNewIsRefusedForNow(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, amount)
	w.follow()
	w.schema("1.1.0", schema.Active, amount)
	w.expect("not compiled", bet("1.1.0", "u", `{"amount":1}`), "schema_pending later")
	w.expect("not there", bet("1.2.0", "u", `{"amount":1}`), "schema_version_unknown")
	w.expect("as before", bet("1.0.0", "u", `{"amount":1}`), "bet.placed@1.0.0")
	w.follow()
	w.expect("compiled", bet("1.1.0", "u", `{"amount":1}`), "bet.placed@1.1.0")
	w.put("acme", "first.type", "1.0.0", schema.Active, schema.JSONSchema, amount)
	w.expect("a type that is new where any is taken", strings.Replace(bet("1.0.0", "u", `{}`), "bet.placed", "first.type", 1), "schema_pending later")
	w.rules(rule.Set{UnknownTypes: rule.Refuse})
	w.follow()
	w.put("acme", "new.type", "1.0.0", schema.Active, schema.JSONSchema, amount)
	w.expect("a type that is new", strings.Replace(bet("1.0.0", "u", `{}`), "bet.placed", "new.type", 1), "schema_pending later")
	w.expect("a type that is not", strings.Replace(bet("1.0.0", "u", `{}`), "bet.placed", "no.type", 1), "unknown_type")
}

// What cannot be compiled takes nothing away from what could be before.
func TestWhatDoesNotCompileLeavesTheRest(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, amount)
	w.rules(rule.Set{BlockedFields: []string{"payload.ssn"}})
	w.follow()
	w.schema("1.1.0", schema.Active, `{"type":"nothing"}`)
	w.rules(rule.Set{BlockedFields: []string{"payload..x"}})
	w.follow()
	w.expect("a version", bet("1.1.0", "u", `{"amount":1}`), "schema_unusable later")
	w.expect("another", bet("1.0.0", "u", `{"amount":0}`), "schema_violation minimum/payload/amount")
	w.expect("the rules", bet("1.0.0", "u", `{"amount":1,"ssn":1}`), "field_blocked blocked_fields/payload/ssn")
	if n := w.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 2 {
		t.Errorf("%d errors are logged", n)
	}
	if text := w.metrics(); !strings.Contains(text, `schema_unusable{acme} 1`) || !strings.Contains(text, `schema_compiles_total{failed} 2`) {
		t.Errorf("%s", text)
	}
	fresh := newWorld(t)
	fresh.rules(rule.Set{BlockedFields: []string{"payload..x"}})
	fresh.follow()
	fresh.expect("rules that never compiled", bet("1.0.0", "u", `{}`), "schema_unusable later")
}

func (w *world) metrics() string {
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			fmt.Fprintf(&b, "%s{%s} %v\n", strings.TrimPrefix(f.GetName(), "weft_relay_"), strings.Join(labels, ","), m.GetCounter().GetValue()+m.GetGauge().GetValue())
		}
	}
	return b.String()
}

// A canary is tried on a share of keys, the same ones each time, and refuses nothing.
func TestACanaryIsTriedInShadow(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, amount)
	w.schema("1.1.0", schema.Canary, `{"properties":{"amount":{"maximum":9}}}`)
	w.schema("2.0.0", schema.Canary, `false`)
	w.follow()
	const users = 2000
	var lines []string
	for i := range users {
		lines = append(lines, bet("1.0.0", fmt.Sprint("user-", i), fmt.Sprintf(`{"amount":%d}`, 1+i%20)))
	}
	for _, got := range w.judge(lines...) {
		if got != "bet.placed@1.0.0" {
			t.Fatal(got)
		}
	}
	first := w.gates.Tallies()
	if len(first) != 3 || first[0].Judged.Checked != users || first[0].Judged.Failed != 0 {
		t.Fatalf("%+v", first)
	}
	shadow := first[1].Shadow
	if share := float64(shadow.Checked) / users; share < 0.07 || share > 0.13 || shadow.Failed == 0 || shadow.Failed >= shadow.Checked {
		t.Errorf("%+v", shadow)
	}
	if len(shadow.First) != 1 || shadow.First[0] != (gate.Fault{Rule: "maximum", Schema: "/properties/amount/maximum"}) {
		t.Errorf("%+v", shadow.First)
	}
	if first[2].Shadow.Checked != 0 {
		t.Errorf("a canary of another major is tried: %+v", first[2])
	}
	w.judge(lines...)
	if again := w.gates.Tallies()[1].Shadow; again.Checked != 2*shadow.Checked || again.Failed != 2*shadow.Failed {
		t.Errorf("other keys the second time: %+v and %+v", shadow, again)
	}
	w.judge(bet("1.0.0", "user-1", `{"amount":0}`))
	if now := w.gates.Tallies(); now[1].Shadow.Checked != 2*shadow.Checked || now[0].Judged.Failed != 1 {
		t.Errorf("what is refused is no sample: %+v", now)
	}
	w.schema("1.1.0", schema.Active, `{"properties":{"amount":{"maximum":9}}}`)
	w.follow()
	w.expect("promoted", bet("1.1.0", "u", `{"amount":10}`), "schema_violation maximum/payload/amount")
	if now := w.gates.Tallies()[1]; now.Shadow.Checked != 2*shadow.Checked || now.Judged.Checked != 1 || now.Judged.Failed != 1 {
		t.Errorf("a promotion starts the count anew: %+v", now)
	}
	w.schema("1.1.0", schema.Retired, `{"properties":{"amount":{"maximum":9}}}`)
	w.follow()
	if now := w.gates.Tallies(); len(now) != 2 {
		t.Errorf("%+v", now)
	}
}

// A canary is no schema yet: those who name another version, or none that is there, send as before.
func TestACanaryAloneRefusesNobody(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Draft, amount)
	w.schema("1.1.0", schema.Canary, amount)
	w.follow()
	for _, version := range []string{"0.9.0", "1.0.0", "1.1.0"} {
		w.expect("with "+version, bet(version, "user-1", `{"amount":0}`), "")
	}
	lines := make([]string, 100)
	for i := range lines {
		lines[i] = bet("1.1.0", fmt.Sprint("user-", i), `{"amount":0}`)
	}
	w.judge(lines...)
	if got := w.gates.Tallies()[0]; got.Shadow.Failed == 0 || got.Judged.Checked != 0 {
		t.Errorf("it is not tried: %+v", got)
	}
	w.rules(rule.Set{UnknownTypes: rule.Refuse})
	w.follow()
	w.expect("where types without a schema are refused", bet("1.0.0", "u", `{"amount":0}`), "unknown_type")
	w.expect("the canary there", bet("1.1.0", "u", `{"amount":0}`), "")
	w.schema("1.1.0", schema.Active, amount)
	w.follow()
	w.expect("in force", bet("1.0.0", "u", `{"amount":1}`), "schema_version_draft")
}

// What a rollback can help is what another version would take: the one that judges then.
func TestRefusalsThatARollbackWouldEnd(t *testing.T) {
	const narrow = `{"properties":{"amount":{"minimum":1,"maximum":9}}}`
	for name, c := range map[string]struct {
		others map[string]schema.Status
		want   uint64 // of a refusal that 1.0.0 shares, and one that it does not
	}{
		"to an active version":         {map[string]schema.Status{"1.0.0": schema.Active}, 1},
		"to a deprecated one":          {map[string]schema.Status{"1.0.0": schema.Deprecated}, 1},
		"to none":                      {map[string]schema.Status{"1.0.0": schema.Retired}, 2},
		"to a newer one before others": {map[string]schema.Status{"1.0.0": schema.Active, "1.2.0": schema.Active}, 0},
		"not to a newer one that went": {map[string]schema.Status{"1.0.0": schema.Active, "1.2.0": schema.Deprecated}, 1},
	} {
		w := newWorld(t)
		for version, status := range c.others {
			text := amount
			if version == "1.2.0" {
				text = narrow
			}
			w.schema(version, status, text)
		}
		w.schema("1.1.0", schema.Active, narrow)
		w.follow()
		w.judge(bet("1.1.0", "u", `{"amount":0}`), bet("1.1.0", "u", `{"amount":10}`), bet("1.1.0", "u", `{"amount":5}`))
		for _, got := range w.gates.Tallies() {
			if got.Version.Minor == 1 && (got.Judged.Regressed != c.want || got.Judged.Failed != 2 || got.Judged.Checked != 3) {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
}

// Other ways of checking than the streaming one are as strict.
func TestSchemasThatAreReadTwice(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, `{"properties":{"a":true},"unevaluatedProperties":false}`)
	w.put("acme", "bet.placed", "1.1.0", schema.Active, schema.Protobuf, `syntax = "proto3"; message Bet { int64 amount = 1; string note = 2; }`)
	w.follow()
	w.expect("unevaluated", bet("1.0.0", "u", `{"a":1,"b":"SECRET"}`), "schema_violation false/payload/b")
	w.expect("fine", bet("1.0.0", "u", `{"a":1}`), "bet.placed@1.0.0")
	w.expect("protobuf", bet("1.1.0", "u", `{"amount":"7","note":"x"}`), "bet.placed@1.1.0")
	w.expect("no protobuf", bet("1.1.0", "u", `{"amount":"SECRET"}`), "schema_violation message/payload")
}

// A gate is compiled anew where something of its tenant changed, and nowhere else.
func TestOnlyWhatChangedIsCompiled(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, amount)
	w.put("globex", "bet.placed", "1.0.0", schema.Active, schema.JSONSchema, amount)
	w.put("far", "bet.placed", "1.0.0", schema.Active, schema.JSONSchema, amount)
	w.follow()
	if g, _ := w.gates.Gate("far", w.state); g != nil {
		t.Error("a tenant of another region has a gate")
	}
	globex, _ := w.gates.Gate("globex", w.state)
	w.schema("1.1.0", schema.Draft, amount)
	w.schema("1.2.0", schema.Active, amount)
	w.follow()
	if again, current := w.gates.Gate("globex", w.state); again != globex || !current {
		t.Error("another tenant's gate was made anew")
	}
	if text := w.metrics(); !strings.Contains(text, "schema_compiles_total{ok} 3") || !strings.Contains(text, "schema_versions{acme} 2") {
		t.Errorf("%s", text)
	}
	w.next(func(s *control.State) {
		s.Tenants["globex"] = &accounts.Tenant{Name: "globex", State: accounts.Removed}
	})
	w.follow()
	if g, _ := w.gates.Gate("globex", w.state); g != nil || strings.Contains(w.metrics(), "globex") {
		t.Errorf("a removed tenant leaves something: %s", w.metrics())
	}
	w.next(func(s *control.State) { s.Tenants["far"] = &accounts.Tenant{Name: "far", State: accounts.Active} })
	w.follow()
	if g, _ := w.gates.Gate("far", w.state); g == nil || g.Version("bet.placed", "1.0.0") == nil {
		t.Error("a tenant that moved here has no gate, or one without its schemas")
	}
	g, _ := w.gates.Gate("acme", w.state)
	if v := g.Version("bet.placed", "1.2.0"); v == nil || v.Label() != "bet.placed@1.2.0" || len(v.Check([]byte(`{"amount":0}`))) != 1 || v.Check([]byte(`{"amount":1}`)) != nil {
		t.Errorf("%+v", v)
	}
	for _, none := range []string{"1.1.0", "9.0.0"} {
		if g.Version("bet.placed", none) != nil || g.Version("other", "1.2.0") != nil {
			t.Errorf("%s is a version", none)
		}
	}
}

// All events of a request have no more violations than people read; each refused one has its first.
func TestViolationsOfARequestAreBounded(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, `{"additionalProperties":false}`)
	w.follow()
	var members []string
	for i := range 40 {
		members = append(members, fmt.Sprintf(`"m%d":1`, i))
	}
	lines := make([]string, 200)
	for i := range lines {
		lines[i] = bet("1.0.0", "u", "{"+strings.Join(members, ",")+"}")
	}
	all := 0
	for _, got := range w.judge(lines...) {
		n := strings.Count(got, "additionalProperties")
		if n < 1 || n > gate.MaxViolations {
			t.Fatal(got)
		}
		all += n
	}
	if all > 1024+len(lines) {
		t.Errorf("%d violations are told", all)
	}
}

// While versions come and go and rules change, whoever names a version that holds all the time is judged by it, and what
// was in a request's gate at its beginning is there until its end.
func TestChangesUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, amount)
	w.follow()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var judged atomic.Int64
	body := []byte(bet("1.0.0", "u", `{"amount":1}`) + "\n" + bet("1.0.0", "u", `{"amount":0}`))
	for range 3 {
		wg.Go(func() {
			var p gate.Pass
			for {
				select {
				case <-stop:
					return
				default:
				}
				g, _ := w.gates.Gate("acme", nil)
				p.Begin(g, "acme", nil)
				read := event.Reader{Visitor: &p}
				if g.Ruled() {
					read.Watcher = &p
				}
				results, err := read.DecodeLines(body, nil)
				if err != nil {
					t.Error(err)
					return
				}
				good, bad := p.Judge(0, &results[0].Event), p.Judge(1, &results[1].Event)
				if good.Refusal != nil || good.Version.Label() != "bet.placed@1.0.0" || bad.Refusal == nil {
					t.Errorf("%+v, %+v", good, bad)
					return
				}
				p.Done()
				p.Reset()
				judged.Add(2)
			}
		})
	}
	for i := 0; i < 60 || judged.Load() < 200; i++ {
		w.schema(fmt.Sprintf("1.%d.0", 1+i%60), schema.Status([]string{"draft", "canary", "active", "deprecated", "retired"}[i%5]), amount)
		w.rules(rule.Set{BlockedFields: []string{fmt.Sprintf("payload.x%d", i)}})
		w.follow()
	}
	close(stop)
	wg.Wait()
	if got := w.gates.Tallies()[0]; got.Judged.Checked != uint64(judged.Load()) || got.Judged.Failed != got.Judged.Checked/2 {
		t.Errorf("%d judged, counted %+v", judged.Load(), got)
	}
}
