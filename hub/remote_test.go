package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams/confirm"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func regionsOfOne(names ...string) []identity.Region {
	out := make([]identity.Region, len(names))
	for i, n := range names {
		out[i] = identity.Region{Name: n, Servers: 1, Weight: 1}
	}
	return out
}

// store stores one event and returns its PubAck.
func store(t *testing.T, s *session, subj, id string) *jetstream.PubAck {
	t.Helper()
	ack, err := s.js.PublishMsg(t.Context(), &nats.Msg{Subject: subj, Data: []byte(wholeEvent), Header: nats.Header{nats.MsgIdHdr: {id}}})
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// confirmed asks as a relay does, and says how long the answer took.
func confirmed(t *testing.T, s *session, o subject.Origin, seq uint64, wait time.Duration) (confirm.Response, time.Duration) {
	t.Helper()
	raw, err := json.Marshal(confirm.Request{Origin: o.String(), Seq: seq, WaitMS: wait.Milliseconds()})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	m, err := s.conn.Request(subject.Remote(o.Region), raw, wait+5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var r confirm.Response
	if err := json.Unmarshal(m.Data, &r); err != nil {
		t.Fatal(err)
	}
	return r, time.Since(begin)
}

// A cut link leaves an event unconfirmed within the bound; healed, the same question is answered yes.
func TestConfirmedByTheOtherRegion(t *testing.T) {
	m := newTestMesh(t, regionsOfOne("eu", "us")...)
	m.start()
	m.tenant("acme")
	eu, us := m.publisher("eu-0", "acme"), m.publisher("us-0", "acme")
	eu1, us1 := m.hubs["eu-0"].Origin(), m.hubs["us-0"].Origin()
	var took []time.Duration
	for i := range 50 {
		ack := store(t, eu, eventSubject(eu1, subject.Global, i), fmt.Sprintf("e-%d", i))
		r, d := confirmed(t, eu, eu1, ack.Sequence, 5*time.Second)
		if r.Seq < ack.Sequence || r.Region != "us" {
			t.Fatalf("event %d at %d: %+v after %s", i, ack.Sequence, r, d)
		}
		took = append(took, d)
	}
	slices.Sort(took)
	t.Logf("confirmed within %s at the median, %s at worst", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 50*time.Millisecond {
		t.Errorf("half of the confirmations took more than %s", took[len(took)/2])
	}
	// of an event that was forwarded the relay asks the hub of the region that stored it
	ack := store(t, eu, eventSubject(us1, subject.Global, 1), "forwarded")
	if r, d := confirmed(t, eu, us1, ack.Sequence, 5*time.Second); r.Seq < ack.Sequence || r.Region != "eu" {
		t.Errorf("forwarded: %+v after %s", r, d)
	}

	m.cutters["us-eu"].Cut()
	here := store(t, eu, eventSubject(eu1, subject.Global, 1), "cut")
	r, d := confirmed(t, eu, eu1, here.Sequence, 700*time.Millisecond)
	if r.Seq >= here.Sequence || d < 600*time.Millisecond || d > 2*time.Second {
		t.Fatalf("over a cut link: %+v after %s", r, d)
	}
	// a producer gives up on eu and sends the same event to us: both regions will skip the other's copy
	there := store(t, us, eventSubject(us1, subject.Global, 1), "cut")
	m.cutters["us-eu"].Heal()
	healed := time.Now()
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		a, _ := confirmed(t, eu, eu1, here.Sequence, time.Second)
		b, _ := confirmed(t, us, us1, there.Sequence, time.Second)
		return a.Seq >= here.Sequence && b.Seq >= there.Sequence, fmt.Sprintf("after the link is back: %+v of %d, %+v of %d", a, here.Sequence, b, there.Sequence)
	})
	t.Logf("confirmed %s after the link is back", time.Since(healed).Round(time.Millisecond))
}

// One other region is enough.
func TestConfirmedByOneOfTwo(t *testing.T) {
	m := newTestMesh(t, regionsOfOne("eu", "us", "ap")...)
	m.start()
	m.tenant("acme")
	eu, eu1 := m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin()
	for cut, left := range map[string]string{"us-eu": "ap", "eu-ap": "us"} {
		m.cutters[cut].Cut()
		streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
			ack := store(t, eu, eventSubject(eu1, subject.Global, 1), "without-"+cut+time.Now().String())
			r, d := confirmed(t, eu, eu1, ack.Sequence, 2*time.Second)
			return r.Seq >= ack.Sequence && r.Region == left, fmt.Sprintf("with %s cut: %+v after %s", cut, r, d)
		})
		m.cutters[cut].Heal()
	}
}

// A region of three servers: any of them answers the relay, and any of the peer's tells what it holds.
func TestConfirmedByThreeServers(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 3, Weight: 1})
	m.start()
	m.tenant("acme")
	for from, o := range map[string]subject.Origin{"eu-0": m.hubs["eu-0"].Origin(), "us-1": m.hubs["us-0"].Origin()} {
		pub := m.publisher(from, "acme")
		for i := range 20 {
			ack := store(t, pub, eventSubject(o, subject.Global, i), fmt.Sprintf("%s-%d", from, i))
			if r, d := confirmed(t, pub, o, ack.Sequence, 10*time.Second); r.Seq < ack.Sequence {
				t.Fatalf("event %d of %s: %+v after %s", i, from, r, d)
			}
		}
	}
}

// What no other region can confirm is not confirmed by what was stored after it.
func TestNotConfirmable(t *testing.T) {
	m := newTestMesh(t, regionsOfOne("eu", "us")...)
	m.start()
	m.tenant("acme")
	if _, err := m.hubs["eu-0"].AddTenant(t.Context(), TenantSpec{Name: "alone", Regions: []string{"eu"}}, "test"); err != nil {
		t.Fatal(err)
	}
	eu, eu1, us1 := m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), m.hubs["us-0"].Origin()
	if r, d := confirmed(t, eu, eu1.Next(), 1, 5*time.Second); r.Error != confirm.Moved || d > time.Second {
		t.Errorf("of another epoch: %+v after %s", r, d)
	}
	alone := m.publisher("eu-0", "alone")
	if r, d := confirmed(t, alone, eu1, 1, 5*time.Second); r.Error != confirm.NoPeers || d > time.Second {
		t.Errorf("of a tenant in one region: %+v after %s", r, d)
	}
	global, regional := store(t, eu, eventSubject(eu1, subject.Global, 1), "g"), store(t, eu, eventSubject(eu1, subject.Regional, 1), "l")
	store(t, m.publisher("us-0", "acme"), eventSubject(us1, subject.Global, 1), "from-us")
	m.converged("acme", 3, 10*time.Second, "eu-0")
	st, err := m.hubs["eu-0"].tenancyOf("acme").openSession().js.Stream(t.Context(), subject.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	sourced, err := st.GetLastMsgForSubject(t.Context(), subject.Replicated(us1))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(original.Request{Seqs: []uint64{global.Sequence, regional.Sequence, sourced.Sequence}})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := eu.conn.Request(subject.Digest("eu"), raw, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var resp original.Response
	if err := json.Unmarshal(answer.Data, &resp); err != nil || len(resp.Digests) != 3 {
		t.Fatalf("%s, %v", answer.Data, err)
	}
	for i, want := range []original.Digest{{Origin: "eu_1"}, {}, {Sourced: true}} {
		if d := resp.Digests[i]; d.Origin != want.Origin || d.Sourced != want.Sourced {
			t.Errorf("original %d: %+v", i, d)
		}
	}
}

func TestRemoteTopicsNeedASecondRegion(t *testing.T) {
	m := newTestMesh(t, regionsOfOne("eu", "us")...)
	m.start()
	h := m.hubs["eu-0"]
	routes := accounts.DefaultRoutes("acme")
	routes.Topics[0].Ack = accounts.AckRemote
	if _, err := h.AddTenant(t.Context(), TenantSpec{Name: "alone", Regions: []string{"eu"}, Routes: &routes}, "test"); fault.CodeOf(err) != "invalid_routes" || !strings.Contains(err.Error(), "one region") {
		t.Errorf("onboarding into one region: %v", err)
	}
	if _, err := h.AddTenant(t.Context(), TenantSpec{Name: "alone", Regions: []string{"eu"}}, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.SetRoutes(t.Context(), "alone", routes, "test"); fault.CodeOf(err) != "invalid_routes" || !strings.Contains(err.Error(), "one region") {
		t.Errorf("routes of a tenant in one region: %v", err)
	}
	if _, err := h.AddTenant(t.Context(), TenantSpec{Name: "acme", Routes: &routes}, "test"); err != nil {
		t.Errorf("onboarding into both: %v", err)
	}
}

// Many wait at once and the peers are asked a few times for all of them; when nobody waits, not at all.
func TestManyShareOneQuestion(t *testing.T) {
	m := newTestMesh(t, regionsOfOne("eu", "us")...)
	m.start()
	m.tenant("acme")
	eu, eu1 := m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin()
	questions, err := m.hubs["us-0"].tenancyOf("acme").openSession().conn.SubscribeSync(subject.Held("us")) // beside the hub's own
	if err != nil {
		t.Fatal(err)
	}
	const senders, each = 64, 40
	begin := time.Now()
	var all sync.WaitGroup
	for s := range senders {
		all.Go(func() {
			for i := range each {
				ack, err := eu.js.PublishMsg(t.Context(), &nats.Msg{Subject: eventSubject(eu1, subject.Global, i), Data: []byte(`{}`), Header: nats.Header{nats.MsgIdHdr: {fmt.Sprintf("m-%d-%d", s, i)}}})
				if err != nil {
					t.Error(err)
					return
				}
				raw, _ := json.Marshal(confirm.Request{Origin: eu1.String(), Seq: ack.Sequence, WaitMS: 5000})
				var r confirm.Response
				reply, err := eu.conn.Request(subject.Remote("eu"), raw, 10*time.Second)
				if err == nil {
					err = json.Unmarshal(reply.Data, &r)
				}
				if err != nil || r.Seq < ack.Sequence {
					t.Errorf("%d: %+v, %v", ack.Sequence, r, err)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	n, _, err := questions.Pending()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events confirmed in %s with %d questions to the peer", senders*each, took.Round(time.Millisecond), n)
	if most := 10 + int(took/askAgain); n > most || n == 0 {
		t.Errorf("%d questions for %d events in %s", n, senders*each, took)
	}
	r := m.hubs["eu-0"].remotes
	idle := make(chan struct{})
	go func() { r.loops.Wait(); m.hubs["us-0"].remotes.loops.Wait(); close(idle) }()
	select {
	case <-idle:
	case <-time.After(10 * time.Second):
		t.Error("the peers are still asked although nobody waits")
	}
}
