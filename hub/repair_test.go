package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestRepairBringsLostEventsBack(t *testing.T) {
	m := newRepairMesh(t, shortWindow, TenantSpec{Name: "acme"}, "eu", "us", "ap")
	m.deletable("eu-0", "acme")
	want := map[string]string{}
	for _, r := range []string{"eu", "us", "ap"} {
		events := samples(r, 60)
		events[7].body = `"` + strings.Repeat("x", 700<<10) + `"` // more than one answer takes
		send(t, m.publisher(r+"-0", "acme"), m.hubs[r+"-0"].Origin(), events...)
		for _, e := range events {
			want[e.id] = e.body
		}
	}
	m.converged("acme", 180, 20*time.Second, "eu-0", "us-0", "ap-0")
	m.compared("eu-0", time.Now().Add(2*time.Second))
	eu := m.hubs["eu-0"]
	if n := eu.driftNow("acme"); n != 0 {
		t.Fatalf("%v events are missing before anything was lost", n)
	}
	before := m.all("us-0", "acme")
	var lost []string
	for _, r := range []string{"eu", "us", "ap"} {
		for i := 5; i < 12; i++ {
			lost = append(lost, fmt.Sprintf("%s-%d", r, i))
		}
	}
	m.lose("eu-0", "acme", lost...)
	drift := 0.0
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		drift = max(drift, eu.driftNow("acme"))
		n := eu.repairedSoFar("acme")
		return n >= float64(len(lost)) && drift > 0 && eu.driftNow("acme") == 0, fmt.Sprintf("%v of %d repaired, drift was %v; %+v", n, len(lost), drift, eu.Status().Repair)
	})
	for _, s := range []string{"eu-0", "us-0", "ap-0"} {
		m.compared(s, time.Now())
		have := m.all(s, "acme")
		if len(have) != len(want) {
			t.Errorf("%s holds %d ids, want %d", s, len(have), len(want))
		}
		for id, copies := range have {
			if len(copies) != 1 || string(copies[0].Data) != want[id] {
				t.Errorf("%s holds %d of %s, with %d bytes", s, len(copies), id, len(copies[0].Data))
			}
		}
		if s != "eu-0" {
			if n := m.hubs[s].repairedSoFar("acme"); n != 0 {
				t.Errorf("%s repaired %v events, and had lost none", s, n)
			}
			continue
		}
		for _, id := range lost {
			checkCopy(t, have[id][0], before[id][0])
		}
	}
}

// checkCopy compares a repaired copy in eu with the original in us.
func checkCopy(t *testing.T, got, original *jetstream.RawStreamMsg) {
	t.Helper()
	r, ok := header.ParseRepair(got.Header.Get(header.Repaired))
	if !ok || r.Subject != original.Subject || !bytes.Equal(got.Data, original.Data) {
		t.Fatalf("%s is stored as %s, with %v", original.Subject, got.Subject, got.Header)
	}
	seq := original.Sequence
	if s, ok := header.SourceSeq(original.Header.Get(header.StreamSource)); ok {
		seq = s
	}
	ev, err := subject.Parse(got.Subject)
	if err != nil || ev.Scope != subject.Regional || ev.Origin.Region != "eu" || r.Seq != seq {
		t.Errorf("%s, %d is stored as %s, from %+v", original.Subject, seq, got.Subject, r)
	}
	theirs, ours := maps.Clone(original.Header), maps.Clone(got.Header)
	header.StripNats(theirs)
	header.StripNats(ours)
	delete(ours, header.Repaired)
	if fmt.Sprint(theirs) != fmt.Sprint(ours) {
		t.Errorf("headers %v, of the original %v", ours, theirs)
	}
}

// An id that both sides accepted while they were cut off is in each once or twice, as the dedupe window has it,
// and repair changes nothing of that.
func TestRepairLeavesIdsOfBothSidesAlone(t *testing.T) {
	for _, tc := range []struct {
		name        string
		cut, window time.Duration
		copies      int
	}{{"shorter than the window", 0, 12 * time.Second, 1}, {"longer than the window", 4 * time.Second, shortWindow, 2}} {
		t.Run(tc.name, func(t *testing.T) {
			m := newRepairMesh(t, tc.window, TenantSpec{Name: "acme"}, "eu", "us")
			eu, us := m.publisher("eu-0", "acme"), m.publisher("us-0", "acme")
			m.cutters["us-eu"].Cut()
			over := time.After(tc.cut)
			now := time.Now()
			both := samples("both", 50)
			for i := range both {
				both[i].accepted = now.Add(time.Hour) // never compared, else the totals of both sides were equal
			}
			send(t, eu, m.hubs["eu-0"].Origin(), both...)
			for i := range both {
				both[i].accepted = now
			}
			send(t, us, m.hubs["us-0"].Origin(), both...)
			<-over
			m.cutters["us-eu"].Heal()
			send(t, eu, m.hubs["eu-0"].Origin(), samples("eu", 5)...)
			send(t, us, m.hubs["us-0"].Origin(), samples("us", 5)...)
			hasAll := func() (bool, string) {
				e, u := m.events("eu-0", "acme"), m.events("us-0", "acme")
				return len(e) == 60 && len(u) == 60, fmt.Sprintf("eu holds %d ids, us %d", len(e), len(u))
			}
			streamtest.Eventually(t, 30*time.Second, hasAll)
			m.compared("eu-0", now.Add(tc.window+4*time.Second)) // nothing but repair keeps an id from being stored again
			m.compared("us-0", now.Add(tc.window+4*time.Second))
			before := []map[string]int{m.events("eu-0", "acme"), m.events("us-0", "acme")}
			m.compared("eu-0", time.Now())
			m.compared("us-0", time.Now())
			settled := 0
			for i, s := range []string{"eu-0", "us-0"} {
				if after := m.events(s, "acme"); !maps.Equal(after, before[i]) {
					t.Errorf("%s: %v became %v", s, before[i], after)
				}
				if h := m.hubs[s]; h.repairedSoFar("acme")+h.driftNow("acme") != 0 {
					t.Errorf("%s repaired %v events and misses %v", s, h.repairedSoFar("acme"), h.driftNow("acme"))
				}
				m.hubs[s].repairs.mu.Lock()
				settled += len(m.hubs[s].repairs.tracked["acme"].settled)
				m.hubs[s].repairs.mu.Unlock()
			}
			if n := before[0]["both-0"]; n != tc.copies {
				t.Errorf("an id is there %d times, want %d: the cut was not what it should be", n, tc.copies)
			}
			if tc.copies == 1 && settled == 0 {
				t.Error("no bucket differed, so nothing was tried")
			}
		})
	}
}

// While two of three regions are cut off, each of them lacks what the third one has of the other. All of it comes
// by the sources after the cut, so none of it may be repaired.
func TestRepairLeavesToSourcesWhatTheyBring(t *testing.T) {
	m := newRepairMesh(t, shortWindow, TenantSpec{Name: "acme"}, "eu", "us", "ap")
	pubs := map[string]*session{}
	for _, r := range []string{"eu", "us", "ap"} {
		pubs[r] = m.publisher(r+"-0", "acme")
	}
	n := 0
	traffic := func(d time.Duration) {
		end, tick := time.After(d), time.NewTicker(50*time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				n++
				for r, s := range pubs {
					send(t, s, m.hubs[r+"-0"].Origin(), samples(fmt.Sprintf("%s-%d", r, n), 3)...)
				}
			}
		}
	}
	traffic(time.Second)
	m.cutters["us-eu"].Cut()
	for s, peer := range map[string]string{"eu-0": "ap", "us-0": "ap"} {
		lacks := func() int { return m.hubs[s].Status().Repair["acme"][peer].Left[leftToSource] }
		for end := time.Now().Add(30 * time.Second); lacks() == 0 && time.Now().Before(end); {
			traffic(500 * time.Millisecond)
		}
		if lacks() == 0 {
			t.Errorf("%s saw nothing that it lacks at %s: %+v", s, peer, m.hubs[s].Status().Repair)
		}
	}
	m.cutters["us-eu"].Heal()
	traffic(4 * time.Second)
	m.converged("acme", 9*n, 40*time.Second, "eu-0", "us-0", "ap-0")
	for _, s := range []string{"eu-0", "us-0", "ap-0"} {
		m.compared(s, time.Now().Add(3*time.Second))
		if h := m.hubs[s]; h.repairedSoFar("acme") != 0 || h.driftNow("acme") != 0 {
			t.Errorf("%s repaired %v events, misses %v", s, h.repairedSoFar("acme"), h.driftNow("acme"))
		}
	}
	m.converged("acme", 9*n, time.Second, "eu-0", "us-0", "ap-0")
}

func TestRepairLetsGoWhatExpires(t *testing.T) {
	m := newRepairMesh(t, shortWindow, TenantSpec{Name: "acme", Routes: &accounts.Routes{Tenant: "acme", Default: "events", Topics: []accounts.Topic{
		{Name: "events", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Retention: accounts.Duration(10 * time.Hour), Home: accounts.Local},
	}}}, "eu", "us")
	m.deletable("eu-0", "acme")
	now := time.Now()
	send(t, m.publisher("us-0", "acme"), m.hubs["us-0"].Origin(),
		sample{id: "short", ttl: 3}, sample{id: "old", accepted: now.Add(-10*time.Hour - time.Minute)}, sample{id: "almost", ttl: 600, accepted: now.Add(-600 * time.Second)},
		sample{id: "long", ttl: 3600}, sample{id: "kept"}, sample{id: "morning", accepted: now.Add(-9 * time.Hour)}, sample{id: "stays"})
	m.converged("acme", 7, 20*time.Second, "eu-0", "us-0")
	m.lose("eu-0", "acme", "short", "old", "almost", "long", "kept", "morning")
	eu := m.hubs["eu-0"]
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		return eu.repairedSoFar("acme") >= 3, fmt.Sprintf("%v repaired; %+v", eu.repairedSoFar("acme"), eu.Status().Repair)
	})
	m.compared("eu-0", time.Now().Add(3*time.Second))
	if n := eu.driftNow("acme"); n != 0 {
		t.Errorf("%v events are called missing", n)
	}
	have := m.all("eu-0", "acme")
	for id, want := range map[string]int{"short": 0, "old": 0, "almost": 0, "long": 1, "kept": 1, "morning": 1, "stays": 1} {
		if len(have[id]) != want {
			t.Errorf("%s is there %d times, want %d", id, len(have[id]), want)
		}
	}
	if ttl := ttlOf(have["long"][0].Header.Get(header.TTL)); ttl <= 3500*time.Second || ttl >= 3600*time.Second {
		t.Errorf("the copy lives %s", ttl)
	}
	if ttl := have["kept"][0].Header.Get(header.TTL); ttl != "" {
		t.Errorf("a copy was given a ttl of %s", ttl)
	}
}

func TestRepairTellsNobodyOfOthersTenants(t *testing.T) {
	m := newRepairMesh(t, shortWindow, TenantSpec{Name: "acme"}, "eu", "us")
	if _, err := m.hubs["eu-0"].AddTenant(t.Context(), TenantSpec{Name: "solo", Regions: []string{"eu"}}, "test"); err != nil {
		t.Fatal(err)
	}
	send(t, m.publisher("eu-0", "solo"), m.hubs["eu-0"].Origin(), samples("solo", 3)...)
	regional, err := m.publisher("eu-0", "acme").js.PublishMsg(t.Context(), &nats.Msg{
		Subject: eventSubject(m.hubs["eu-0"].Origin(), subject.Regional, 1),
		Header:  nats.Header{header.MsgID: {"r"}, header.Relay: {"relay-1"}, header.IngestedAt: {time.Now().UTC().Format(time.RFC3339Nano)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.compared("eu-0", time.Now())
	if s := m.hubs["eu-0"].Status().Repair; len(s) != 1 || s["solo"] != nil {
		t.Errorf("compared tenants: %+v", s)
	}
	ask := func(as string, req repairRequest) (a repairAnswer, err error) {
		raw, err := json.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := m.hubs["us-0"].control.conn.Request(subject.Repair("eu", as), raw, time.Second)
		if err == nil {
			err = json.Unmarshal(msg.Data, &a)
		}
		return a, err
	}
	right := digest.Window{Now: time.Now(), After: time.Second, Width: time.Second}
	for _, tc := range []struct {
		req  repairRequest
		want string
	}{
		{repairRequest{Op: opDigests, Tenant: "solo", Window: right, Slots: 1}, "not in both regions"},
		{repairRequest{Op: opFetch, Tenant: "solo", Window: right, Seqs: []uint64{1}}, "not in both regions"},
		{repairRequest{Op: opDigests, Tenant: "nobody", Window: right, Slots: 1}, "not in both regions"},
		{repairRequest{Op: opDigests, Tenant: "acme", Window: digest.Window{Width: time.Minute}, Slots: 1}, "compares buckets of 1s, not of 1m0s"},
		{repairRequest{Op: "drop", Tenant: "acme", Window: right}, "not asked here"},
		{repairRequest{Op: opFetch, Tenant: "acme", Window: right}, "0 sequences"},
	} {
		if a, err := ask("us", tc.req); err != nil || !strings.Contains(a.Error, tc.want) {
			t.Errorf("%+v is answered %+v, %v", tc.req, a, err)
		}
	}
	if a, err := ask("us", repairRequest{Op: opFetch, Tenant: "acme", Window: right, Seqs: []uint64{regional.Sequence}}); err != nil || a.Error != "" || len(a.Messages) != 0 {
		t.Errorf("an event that stays in its region: %+v, %v", a, err)
	}
	if a, err := ask("ap", repairRequest{Op: opDigests, Tenant: "acme", Window: right, Slots: 1}); err == nil {
		t.Errorf("a region that speaks for another is answered %+v", a)
	}
}

// A region comes back with an older copy of its disk and rejoins: what it wrote since then only its peer has.
func TestRepairAfterRejoinWithAnOlderCopy(t *testing.T) {
	m := newRepairMesh(t, shortWindow, TenantSpec{Name: "acme"}, "eu", "us")
	send(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), samples("before", 40)...)
	m.converged("acme", 40, 20*time.Second, "eu-0", "us-0")
	store := m.hubs["eu-0"].opts.StoreDir
	older := t.TempDir()
	m.stop("eu-0")
	if err := os.CopyFS(older, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	m.start()
	send(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), samples("since", 30)...)
	send(t, m.publisher("us-0", "acme"), m.hubs["us-0"].Origin(), samples("us", 30)...)
	m.converged("acme", 100, 20*time.Second, "eu-0", "us-0")
	m.stop("eu-0")
	if err := os.RemoveAll(store); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(store, os.DirFS(older)); err != nil {
		t.Fatal(err)
	}
	m.start()
	eu := m.hubs["eu-0"]
	if _, err := eu.Rejoin(t.Context(), false, "test"); err != nil {
		t.Fatal(err)
	}
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) { err := eu.Ready(); return err == nil, fmt.Sprint(err) })
	streamtest.Eventually(t, 40*time.Second, func() (bool, string) {
		return eu.repairedSoFar("acme") >= 30, fmt.Sprintf("%v repaired; %+v", eu.repairedSoFar("acme"), eu.Status().Repair)
	})
	send(t, m.publisher("eu-0", "acme"), eu.Origin(), samples("after", 10)...)
	m.converged("acme", 110, 20*time.Second, "eu-0", "us-0")
	m.compared("eu-0", time.Now().Add(3*time.Second))
	m.compared("us-0", time.Now())
	m.converged("acme", 110, time.Second, "eu-0", "us-0")
	if n := eu.repairedSoFar("acme"); n != 30 {
		t.Errorf("%v events were repaired, want the 30 that only eu had stored", n)
	}
}
