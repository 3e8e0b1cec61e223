package uplink_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/confirm"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/subject"
)

// asks are the questions that the played hub of a region was asked.
type asks struct {
	mu  sync.Mutex
	all []confirm.Request
}

func (a *asks) add(q confirm.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = append(a.all, q)
}

func (a *asks) seqs() (out []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, q := range a.all {
		out = append(out, q.Seq)
	}
	return out
}

// hub plays the service of a region's hub: answer says what another region has, nil says nothing.
func (r *rig) hub(region string, answer func(q confirm.Request) *confirm.Response) *asks {
	asked := new(asks)
	r.stream(subject.Remote(region), func(m *nats.Msg) {
		var q confirm.Request
		if err := json.Unmarshal(m.Data, &q); err != nil {
			r.t.Error(err)
		}
		asked.add(q)
		if a := answer(q); a != nil {
			b, _ := json.Marshal(a)
			_ = m.Respond(b)
		}
	})
	return asked
}

func all(q confirm.Request) *confirm.Response { return &confirm.Response{Seq: q.Seq, Region: "us"} }

// storing plays the streams: each event gets the sequence in its id.
func (r *rig) storing(duplicate bool) {
	r.stream("evt.>", func(m *nats.Msg) {
		_, n, _ := strings.Cut(m.Header.Get("Nats-Msg-Id"), "-")
		region := m.Subject[len("evt."):][:2]
		_ = m.Respond(fmt.Appendf(nil, `{"stream":"EVENTS","domain":%q,"seq":1%s,"duplicate": %t}`, region, n, duplicate))
	})
}

func remotes(n int) []uplink.Message {
	out := messages(n)
	for i := range out {
		out[i].Remote = true
	}
	return out
}

func TestConfirmedWithOneQuestion(t *testing.T) {
	r := newRig(t, nil)
	r.storing(false)
	asked := r.hub("eu", all)
	msgs := remotes(9) // sequences 10 to 18
	expect(t, r.publish(msgs), "stored:9")
	if got := asked.seqs(); !slices.Equal(got, []uint64{18}) {
		t.Errorf("asked about %d", got)
	}
	if q := asked.all[0]; q.Origin != "eu_1" || q.WaitMS < 4000 || q.WaitMS >= 5000 {
		t.Errorf("asked %+v", q)
	}
}

func TestNobodyIsAskedAboutOtherTopics(t *testing.T) {
	r := newRig(t, nil)
	r.storing(false)
	asked := r.hub("eu", func(confirm.Request) *confirm.Response { return &confirm.Response{Seq: 13, Region: "us"} })
	msgs := messages(9)
	expect(t, r.publish(msgs), "stored:9")
	if got := asked.seqs(); len(got) != 0 {
		t.Errorf("asked about %d", got)
	}
	// of a mixed batch the question is about the highest that asks for it, and only those may fail
	for _, i := range []int{1, 3, 5} {
		msgs[i].Remote = true
	}
	res := r.publish(msgs)
	expect(t, res, "remote_unconfirmed:1 stored:8")
	if res[5].Status != uplink.Unavailable || !strings.Contains(res[5].Detail, "same event_id") || !slices.Equal(asked.seqs(), []uint64{15}) {
		t.Errorf("%+v, asked about %d", res[5], asked.seqs())
	}
}

func TestNotConfirmed(t *testing.T) {
	for name, answer := range map[string]func(confirm.Request) *confirm.Response{
		"too late":        func(confirm.Request) *confirm.Response { return nil },
		"nothing yet":     func(confirm.Request) *confirm.Response { return &confirm.Response{} },
		"one is missing":  func(q confirm.Request) *confirm.Response { return &confirm.Response{Seq: q.Seq - 1, Region: "us"} },
		"by itself":       func(q confirm.Request) *confirm.Response { return &confirm.Response{Seq: q.Seq, Region: "eu"} },
		"by nobody":       func(q confirm.Request) *confirm.Response { return &confirm.Response{Seq: q.Seq} },
		"no other region": func(confirm.Request) *confirm.Response { return &confirm.Response{Error: confirm.NoPeers} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *uplink.Options) { o.RemoteTimeout = 300 * time.Millisecond })
			r.storing(false)
			r.hub("eu", answer)
			begin := time.Now()
			res := r.publish(remotes(1))
			expect(t, res, "remote_unconfirmed:1")
			if res[0].Status != uplink.Unavailable || time.Since(begin) > 2*time.Second {
				t.Errorf("%+v after %s", res[0], time.Since(begin))
			}
		})
	}
	r := newRig(t, nil) // and no hub at all
	r.storing(false)
	expect(t, r.publish(remotes(1)), "remote_unconfirmed:1")
}

// What waits for another region holds no slot of the window, and is bounded all the same.
func TestWaitingForConfirmationLeavesTheWindow(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.Window = 2 })
	r.storing(false)
	asked := make(chan *nats.Msg, 10)
	r.stream(subject.Remote("eu"), func(m *nats.Msg) { asked <- m })
	done := make(chan []uplink.Result, 8)
	var waiting []*nats.Msg
	for range 4 {
		go func() { done <- r.publish(remotes(2)) }()
		waiting = append(waiting, <-asked)
		if n := r.pool.InFlight(); n != 0 {
			t.Errorf("%d in flight while it waits", n)
		}
		expect(t, r.publish(messages(2)), "stored:2")
	}
	res := r.publish(remotes(1)) // four windows of two wait: no more
	expect(t, res, "overloaded:1")
	if !strings.Contains(res[0].Detail, "not stored") {
		t.Error(res[0].Detail)
	}
	for _, m := range waiting {
		_ = m.Respond([]byte(`{"seq":99,"region":"us"}`))
	}
	for range 4 {
		expect(t, <-done, "stored:2")
	}
	go func() { done <- r.publish(remotes(9)) }() // a batch beyond the bound goes alone
	_ = (<-asked).Respond([]byte(`{"seq":99,"region":"us"}`))
	expect(t, <-done, "stored:9")
}

func TestDuplicatesWaitForConfirmationToo(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.RemoteTimeout = 300 * time.Millisecond })
	msgs := remotes(5)
	known := map[uint64]original.Digest{}
	for i, m := range msgs {
		sum, err := event.Digest(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		known[uint64(10+i)] = original.Digest{EventID: m.ID, Digest: hex.EncodeToString(sum[:])}
	}
	place := func(seq uint64, origin string, sourced bool) {
		d := known[seq]
		d.Origin, d.Sourced = origin, sourced
		known[seq] = d
	}
	place(10, "eu_1", false)
	place(11, "eu_1", false)
	place(12, "", true)      // it came from another region, which has it
	place(13, "", false)     // regional
	place(14, "eu_9", false) // of another life of the region
	var batches []int
	r.digests(known, &batches)
	r.storing(true)
	asked := r.hub("eu", func(confirm.Request) *confirm.Response { return &confirm.Response{Seq: 10, Region: "us"} })
	res := r.publish(msgs)
	expect(t, res, "duplicate:2 remote_unconfirmed:3")
	if res[0].Status != uplink.Duplicate || res[1].Status != uplink.Unavailable || res[2].Status != uplink.Duplicate || !slices.Equal(asked.seqs(), []uint64{11}) {
		t.Errorf("%+v, asked about %d", res, asked.seqs())
	}
	if strings.Contains(res[3].Detail, "send it again") {
		t.Errorf("a retry cannot help: %s", res[3].Detail)
	}
}

// Each region's hub is asked about what that region stored, side by side.
func TestForwardedEventsAreConfirmedWhereTheyAre(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.RemoteTimeout = 2 * time.Second })
	r.storing(false)
	eu := r.hub("eu", func(confirm.Request) *confirm.Response { return nil })
	us := r.hub("us", func(q confirm.Request) *confirm.Response { return &confirm.Response{Seq: q.Seq, Region: "eu"} })
	msgs := remotes(4)
	for i := range 2 {
		msgs[i].Region, msgs[i].Subject = "us", "evt.us_3.g.1.events.bet.placed"
	}
	begin := time.Now()
	res := r.publish(msgs)
	expect(t, res, "remote_unconfirmed:2 stored:2")
	if res[0].Status != uplink.Stored || res[1].Status != uplink.Stored || time.Since(begin) > 4*time.Second {
		t.Errorf("%+v after %s", res, time.Since(begin))
	}
	if !slices.Equal(eu.seqs(), []uint64{13}) || !slices.Equal(us.seqs(), []uint64{11}) || us.all[0].Origin != "us_3" {
		t.Errorf("eu was asked %+v, us %+v", eu.all, us.all)
	}
}
