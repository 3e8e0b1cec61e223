package uplink_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/subject"
)

// digests plays the hub's service.
func (r *rig) digests(known map[uint64]original.Digest, batches *[]int) {
	r.stream(subject.Digest("eu"), func(m *nats.Msg) {
		var q original.Request
		if err := json.Unmarshal(m.Data, &q); err != nil {
			r.t.Error(err)
		}
		*batches = append(*batches, len(q.Seqs))
		var a original.Response
		for _, seq := range q.Seqs {
			d, ok := known[seq]
			if !ok {
				d = original.Digest{Error: original.NotFound}
			}
			d.Seq = seq
			a.Digests = append(a.Digests, d)
		}
		b, _ := json.Marshal(a)
		_ = m.Respond(b)
	})
}

func TestDuplicatesAreCompared(t *testing.T) {
	r := newRig(t, nil)
	msgs := messages(1203)
	known := map[uint64]original.Digest{}
	for i, m := range msgs {
		sum, err := event.Digest(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		known[uint64(i+1)] = original.Digest{EventID: m.ID, Digest: hex.EncodeToString(sum[:])}
	}
	known[1] = original.Digest{EventID: "e-0", Digest: strings.Repeat("0", 64)}
	known[2] = original.Digest{EventID: "e-other", Digest: known[2].Digest}
	delete(known, 3)
	var batches []int
	r.digests(known, &batches)
	seq := 0
	r.stream("evt.>", func(m *nats.Msg) {
		seq++
		_ = m.Respond(fmt.Appendf(nil, `{"stream":"EVENTS","domain":"eu","seq":%d,"duplicate": true}`, seq))
	})
	res := r.publish(msgs)
	expect(t, res, "digest_unavailable:1 duplicate:1200 event_id_conflict:2")
	if res[0].Status != uplink.Rejected || res[1].Status != uplink.Rejected || res[2].Status != uplink.Unavailable {
		t.Errorf("%+v", res[:3])
	}
	if !slices.Equal(batches, []int{500, 500, 203}) {
		t.Errorf("asked in batches of %d", batches)
	}
}

func TestDigestServiceFails(t *testing.T) {
	dup := func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"stream":"EVENTS","domain":"eu","seq":1,"duplicate": true}`))
	}
	for name, service := range map[string]nats.MsgHandler{
		"is not there": nil,
		"is silent":    func(*nats.Msg) {},
		"babbles":      func(m *nats.Msg) { _ = m.Respond([]byte("what?")) },
		"other seq":    func(m *nats.Msg) { _ = m.Respond([]byte(`{"digests":[{"seq":2,"event_id":"e-0"}]}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *uplink.Options) { o.DigestTimeout = 200 * time.Millisecond })
			r.stream("evt.>", dup)
			if service != nil {
				r.stream(subject.Digest("eu"), service)
			}
			expect(t, r.publish(messages(1)), "digest_unavailable:1")
		})
	}
}
