package hub

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// newRepairMesh is a mesh that compares itself several times a second, started, with a tenant.
func newRepairMesh(t *testing.T, window time.Duration, tenant TenantSpec, regions ...string) *testMesh {
	t.Helper()
	var rs []identity.Region
	for _, r := range regions {
		rs = append(rs, identity.Region{Name: r, Servers: 1, Weight: 1})
	}
	m := newTestMesh(t, rs...)
	m.tune = func(o *Options) {
		o.RepairEvery, o.RepairAfter, o.RepairBucket, o.DedupeWindow = 200*time.Millisecond, time.Second, time.Second, window
	}
	m.start()
	b, err := m.hubs[m.mesh.Home+"-0"].AddTenant(t.Context(), tenant, "test")
	if err != nil || len(b.Waiting) > 0 {
		t.Fatalf("tenant %s is not ready: %v", tenant.Name, err)
	}
	return m
}

const shortWindow = 2 * time.Second

// sample is an event to publish.
type sample struct {
	id, body string
	ttl      int
	accepted time.Time // zero: now
}

// send stores events as a relay does and returns their sequences.
func send(t *testing.T, s *session, o subject.Origin, events ...sample) []uint64 {
	t.Helper()
	seqs := make([]uint64, len(events))
	for i, e := range events {
		if e.accepted.IsZero() {
			e.accepted = time.Now()
		}
		h := nats.Header{header.MsgID: {e.id}, header.Relay: {"relay-1"}, header.Source: {"shop"}, header.IngestedAt: {e.accepted.UTC().Format(time.RFC3339Nano)}}
		if e.ttl > 0 {
			h.Set(header.TTL, fmt.Sprint(e.ttl))
		}
		ack, err := s.js.PublishMsg(t.Context(), &nats.Msg{Subject: eventSubject(o, subject.Global, i), Header: h, Data: []byte(e.body)})
		if err != nil {
			t.Fatal(err)
		}
		seqs[i] = ack.Sequence
	}
	return seqs
}

func samples(prefix string, n int) []sample {
	out := make([]sample, n)
	for i := range out {
		out[i] = sample{id: fmt.Sprintf("%s-%d", prefix, i), body: fmt.Sprintf(`{"event":"%s-%d"}`, prefix, i)}
	}
	return out
}

// deletable makes the empty stream of a region anew so that messages can be deleted: what a broken disk takes
// away, the server's API does not let go.
func (m *testMesh) deletable(server, tenant string) {
	m.t.Helper()
	s := m.hubs[server].tenancyOf(tenant).openSession()
	cfg, err := m.hubs[server].present(m.t.Context(), s, subject.EventsStream)
	if err != nil {
		m.t.Fatal(err)
	}
	cfg.DenyDelete = false
	streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) { // the server removes the old files on the side
		if err := s.js.DeleteStream(m.t.Context(), subject.EventsStream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, err.Error()
		}
		_, err := s.js.CreateStream(m.t.Context(), *cfg)
		return err == nil, fmt.Sprint(err)
	})
}

// all is every event of a region by id, with all its copies.
func (m *testMesh) all(server, tenant string) map[string][]*jetstream.RawStreamMsg {
	m.t.Helper()
	st, err := m.hubs[server].tenancyOf(tenant).openSession().js.Stream(m.t.Context(), subject.EventsStream)
	if err != nil {
		m.t.Fatal(err)
	}
	out := map[string][]*jetstream.RawStreamMsg{}
	for seq := st.CachedInfo().State.FirstSeq; seq > 0 && seq <= st.CachedInfo().State.LastSeq; seq++ {
		msg, err := st.GetMsg(m.t.Context(), seq)
		if err != nil {
			continue // deleted or expired
		}
		if _, err := subject.Parse(msg.Subject); err == nil {
			id := msg.Header.Get(header.MsgID)
			out[id] = append(out[id], msg)
		}
	}
	return out
}

// lose deletes events of a region by id.
func (m *testMesh) lose(server, tenant string, ids ...string) {
	m.t.Helper()
	st, err := m.hubs[server].tenancyOf(tenant).openSession().js.Stream(m.t.Context(), subject.EventsStream)
	if err != nil {
		m.t.Fatal(err)
	}
	have := m.all(server, tenant)
	for _, id := range ids {
		if len(have[id]) == 0 {
			m.t.Fatalf("%s has no %s to lose", server, id)
		}
		for _, msg := range have[id] {
			if err := st.DeleteMsg(m.t.Context(), msg.Sequence); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// compared waits until a region has compared with all its peers as of a time, and three rounds more.
func (m *testMesh) compared(server string, asOf time.Time) {
	m.t.Helper()
	h := m.hubs[server]
	streamtest.Eventually(m.t, 30*time.Second, func() (bool, string) {
		peers := h.Status().Repair["acme"]
		for _, p := range h.opts.Peers {
			if at := peers[p.Name].ComparedAt; at.Before(asOf) {
				return false, fmt.Sprintf("%s compared with %s as of %s (%s)", server, p.Name, at, peers[p.Name].Error)
			}
		}
		return true, ""
	})
	rounds := h.repairs.rounds.Load()
	streamtest.Eventually(m.t, 30*time.Second, func() (bool, string) {
		return h.repairs.rounds.Load() >= rounds+3, server + " has not done three more rounds"
	})
}

// total adds a metric up over the peers of a tenant.
func (h *Hub) total(metric, tenant string) (n float64) {
	families, err := h.opts.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == metric && l.GetName() == "tenant" && l.GetValue() == tenant {
					n += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return n
}

func (h *Hub) repairedSoFar(tenant string) float64 {
	return h.total("weft_hub_repaired_events_total", tenant)
}

func (h *Hub) driftNow(tenant string) float64 { return h.total("weft_hub_drift_events", tenant) }
