package app

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// migration is a tenant whose producers in two regions never stop while its schemas change.
type migration struct {
	*pair
	relays  map[string]*Relay
	clients map[string]*client.Client

	mu      sync.Mutex
	version string // that producers name
	amount  int    // and what they send
	sent    map[string]bool
	failed  []client.Result
	rounds  map[string]int // by version
}

func newMigration(t *testing.T) *migration {
	m := &migration{pair: newPair(t, time.Second, func(o *hub.Options) { o.TrialEvery = 100 * time.Millisecond }), version: "1.0.0", amount: 5,
		sent: map[string]bool{}, rounds: map[string]int{}}
	m.relays, m.clients = map[string]*Relay{"eu": m.relay, "us": m.startRelay("us", "r1")}, map[string]*client.Client{}
	for region, r := range m.relays {
		m.clients[region] = m.newClient(r.Addr(), m.tls, m.bundle, func(o *client.Options) { o.MaxRetries = 10 })
	}
	return m
}

// batch is what a producer sends at once, under ids of its own.
func (m *migration) batch(region string, round int) (events [][]byte, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range 20 {
		id := fmt.Sprintf("%s-%d-%d", region, round, i)
		m.sent[id] = true
		events = append(events, bet(id, m.version, m.amount))
	}
	return events, m.version
}

func bet(id, version string, amount int) []byte {
	return fmt.Appendf(nil, `{"event_id":%q,"event_type":"bet.placed","schema_version":%q,"occurred_at":%q,"key":{"user_id":%q},"payload":{"amount":%d}}`,
		id, version, time.Now().UTC().Format(time.RFC3339), id, amount)
}

// produce sends without a pause until the test ends it, each batch until it is stored, and keeps what was refused.
func (m *migration) produce(ctx context.Context, region string) {
	for round := 0; ctx.Err() == nil; round++ {
		events, version := m.batch(region, round)
		res, err := m.clients[region].Send(context.WithoutCancel(ctx), events)
		m.mu.Lock()
		if err != nil {
			m.failed = append(m.failed, client.Result{Code: "not_sent", Detail: err.Error()})
		}
		for _, r := range res {
			if !r.Settled() {
				m.failed = append(m.failed, r)
			}
		}
		m.rounds[version+" "+region]++
		m.mu.Unlock()
	}
}

// name lets the producers name another version, and waits until each has done so and nothing of the other is under way.
func (m *migration) name(version string, amount int) {
	m.t.Helper()
	m.mu.Lock()
	m.version, m.amount = version, amount
	m.mu.Unlock()
	m.goOn(version)
}

// goOn waits until each producer has sent more batches of a version.
func (m *migration) goOn(version string) {
	m.t.Helper()
	rounds := func(region string) int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.rounds[version+" "+region]
	}
	for region := range m.clients {
		from := rounds(region)
		streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
			return rounds(region) >= from+2, "the producer in " + region + " stands still"
		})
	}
}

func (m *migration) register(version string, maximum int) {
	m.t.Helper()
	v, err := schema.ParseVersion(version)
	must(m.t, err)
	_, err = m.hubs["eu"].RegisterSchema(m.t.Context(), "acme", hub.SchemaSpec{Subject: "bet.placed", Version: v, Language: schema.JSONSchema,
		Text: fmt.Appendf(nil, `{"type":"object","properties":{"amount":{"type":"integer","maximum":%d}},"required":["amount"]}`, maximum)}, false, "tester")
	must(m.t, err)
	m.is(version, schema.Draft)
}

func (m *migration) step(region, version string, to schema.Status, trial *accounts.TrialSpec) {
	m.t.Helper()
	_, err := m.hubs[region].StepSchema(m.t.Context(), "acme", "bet.placed", version, hub.SchemaStepSpec{Status: to, Trial: trial}, false, "tester")
	must(m.t, err)
	if to != schema.Canary { // which it may be no more
		m.is(version, to)
	}
}

// is waits until a version stands at a status for the hubs and relays of both regions.
func (m *migration) is(version string, want schema.Status) {
	m.t.Helper()
	v, err := schema.ParseVersion(version)
	must(m.t, err)
	id := accounts.SchemaID("acme", "bet.placed", v)
	for region, r := range m.relays {
		streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
			for _, state := range []*control.State{r.state.State(), m.hubs[region].State()} {
				if s := state.Schemas[id]; s == nil || s.Status != want {
					return false, fmt.Sprintf("%s has %s as %+v; refused: %+v", region, version, s, m.refused())
				}
			}
			return true, ""
		})
	}
}

func (m *migration) refused() []client.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed[:min(len(m.failed), 3)]
}

func (m *migration) trial(version string) *hub.TrialView {
	m.t.Helper()
	v, err := m.hubs["us"].Schema("acme", "bet.placed", version)
	must(m.t, err)
	if v.Trial == nil {
		return &hub.TrialView{}
	}
	return v.Trial
}

// delivered are the ids that a durable in a region is given.
func (m *migration) delivered(region string, all int) map[string]int {
	m.t.Helper()
	port := map[string]int{"eu": m.base + 1, "us": m.base + 11}[region]
	conn, err := nats.Connect(fmt.Sprintf("tls://127.0.0.1:%d", port), nats.UserCredentialBytes([]byte(m.bundle.ConsumerCreds)), nats.Secure(m.tls.Clone()))
	must(m.t, err)
	defer conn.Close()
	o := consumers.DefaultOptions()
	o.Conn, o.Durable = conn, "audit"
	sub, err := consumers.Subscribe(m.t.Context(), o)
	must(m.t, err)
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	ids := map[string]int{}
	_ = sub.Run(ctx, func(_ context.Context, msg *consumers.Message) error { // it ends with ctx
		if ids[msg.EventID]++; len(ids) >= all {
			cancel()
		}
		return nil
	})
	return ids
}

// Versions are registered, tried, promoted, deprecated, retired and rolled back while producers in both regions send.
// Each event is stored, in both regions, and none is refused that its producer was allowed to send.
func TestSchemasMigrateUnderLoad(t *testing.T) {
	m := newMigration(t)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	for region := range m.clients {
		load.Go(func() { m.produce(ctx, region) })
	}
	m.goOn("1.0.0") // of a type that has no schema
	m.register("1.0.0", 10)
	m.step("us", "1.0.0", schema.Active, nil)
	m.goOn("1.0.0")

	all, sample, hold := 100, uint64(200), accounts.Duration(200*time.Millisecond)
	m.register("1.1.0", 100)
	m.step("eu", "1.1.0", schema.Canary, &accounts.TrialSpec{Share: &all, Sample: &sample, Hold: &hold})
	m.is("1.1.0", schema.Active) // by itself
	m.name("1.1.0", 50)
	m.step("us", "1.0.0", schema.Deprecated, nil)
	m.step("eu", "1.0.0", schema.Retired, nil)
	m.goOn("1.1.0")

	// 1.2.0 is a mistake: it refuses what is sent. As a canary it harms nobody.
	no := false
	rules := hub.RulesSpec{}
	rules.Compatibility.Enforce = &no
	_, err := m.hubs["eu"].SetRules(t.Context(), "acme", rules, false, "tester")
	must(t, err)
	m.register("1.2.0", 40)
	m.step("us", "1.2.0", schema.Canary, &accounts.TrialSpec{Share: &all, Sample: &sample, Hold: &hold})
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		v := m.trial("1.2.0")
		ok := v.State == accounts.TrialRed && v.Failed > 0 && len(v.Faults) > 0 && v.Faults[0] == accounts.TrialFault{Rule: "maximum", Place: "/properties/amount/maximum"}
		return ok, fmt.Sprintf("%+v", v)
	})
	m.name("1.2.0", 50) // named, and judged by 1.1.0
	m.name("1.1.0", 50)
	if refused := m.refused(); len(refused) > 0 {
		t.Fatalf("refused while nothing was wrong: %+v", refused)
	}
	m.rollsBack()
	cancel()
	load.Wait()
	if refused := m.refused(); len(refused) > 0 {
		t.Fatalf("refused while nothing was wrong: %+v", refused)
	}
	for _, region := range []string{"eu", "us"} {
		ids := m.delivered(region, len(m.sent))
		for id := range m.sent {
			if ids[id] != 1 {
				t.Fatalf("%s was delivered %d times in %s, which has %d of %d events", id, ids[id], region, len(ids), len(m.sent))
			}
		}
	}
}

// rollsBack forces 1.2.0 into force beside the load: what names it is refused, until the mesh takes it back.
func (m *migration) rollsBack() {
	m.t.Helper()
	few := uint64(10)
	m.step("eu", "1.2.0", schema.Active, &accounts.TrialSpec{Sample: &few})
	send := func(n int) client.Result {
		m.t.Helper()
		id := fmt.Sprintf("forced-%d", n)
		res, _ := m.clients["us"].Send(m.t.Context(), [][]byte{bet(id, "1.2.0", 50)})
		if res[0].Settled() {
			m.mu.Lock()
			m.sent[id] = true
			m.mu.Unlock()
		}
		return res[0]
	}
	if r := send(0); r.Code != "schema_violation" {
		m.t.Fatalf("judged by %+v", r)
	}
	n := 0
	streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
		n++
		r := send(n)
		return r.Status == client.Stored, fmt.Sprintf("the version is still in force: %+v; %+v", r, m.trial("1.2.0"))
	})
	m.is("1.2.0", schema.Canary)
}
