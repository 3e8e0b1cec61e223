package hub

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestWhatIsLeftToSources(t *testing.T) {
	for _, tc := range []struct {
		name string
		s    standing
		seq  uint64
		want string
	}{
		{"of an origin that nobody told of", standing{}, 1, leftUnknown},
		{"live, behind the position", standing{known: true, live: true, held: 10}, 9, ""},
		{"live, at the position", standing{known: true, live: true, held: 10}, 10, ""},
		{"live, beyond it", standing{known: true, live: true, held: 10}, 11, leftToSource},
		{"live, nothing came yet", standing{known: true, live: true}, 1, leftToSource},
		{"older epoch that nothing reads", standing{known: true}, 11, ""},
		{"older epoch whose history comes", standing{known: true, reading: true}, 1, leftToHistory},
	} {
		if got := tc.s.left(tc.seq); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestReadingHistory(t *testing.T) {
	o := subject.Origin{Region: "eu", Epoch: 1}
	filter := subject.Replicated(o)
	for _, tc := range []struct {
		name string
		have []jetstream.StreamSourceInfo
		want bool
	}{
		{"at its end", []jetstream.StreamSourceInfo{{FilterSubject: filter, Active: time.Second}}, false},
		{"behind", []jetstream.StreamSourceInfo{{FilterSubject: filter, Active: time.Second, Lag: 1}}, true},
		{"never heard of", []jetstream.StreamSourceInfo{{FilterSubject: filter, Active: -1}}, true},
		{"silent", []jetstream.StreamSourceInfo{{FilterSubject: filter, Active: time.Hour}}, true},
		{"not told of", nil, true},
	} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Sources: []*jetstream.StreamSource{{FilterSubject: filter}}}}
		for i := range tc.have {
			info.Sources = append(info.Sources, &tc.have[i])
		}
		if got := reading(info, o); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
		if reading(info, o.Next()) {
			t.Errorf("%s: an origin without a source is read", tc.name)
		}
	}
}

func TestEntries(t *testing.T) {
	at := time.Date(2026, 5, 1, 10, 0, 30, 0, time.UTC)
	event := func(subject string, edit func(nats.Header)) *stored {
		h := nats.Header{header.MsgID: {"e"}, header.Relay: {"r"}, header.IngestedAt: {at.Format(time.RFC3339Nano)}}
		if edit != nil {
			edit(h)
		}
		return &stored{seq: 7, subject: subject, header: h}
	}
	eu, us := subject.Origin{Region: "eu", Epoch: 1}, subject.Origin{Region: "us", Epoch: 2}
	minute := digest.KeyOf(0, at, time.Minute)
	repaired := header.Repair{From: "us", Subject: "evt.us_2.g.1.bets.bet", Seq: 99, TTL: 60}.String()
	for _, tc := range []struct {
		name string
		m    *stored
		want *entry
	}{
		{"own", event("evt.eu_1.g.1.bets.bet", nil), &entry{key: minute, origin: eu, originSeq: 7}},
		{"sourced, with a ttl", event("evt.us_2.g.1.bets.bet", func(h nats.Header) {
			h.Set(header.StreamSource, "EVENTS 42 evt.us_2.g.> > evt.us_2.g.1.bets.bet")
			h.Set(header.TTL, "60")
		}), &entry{key: digest.Key{TTL: 60, Slot: minute.Slot}, origin: us, originSeq: 42}},
		{"repaired", event("evt.eu_1.l.1.bets.bet", func(h nats.Header) {
			h.Set(header.Repaired, repaired)
			h.Set(header.TTL, "12")
		}), &entry{key: digest.Key{TTL: 60, Slot: minute.Slot}, origin: us, originSeq: 99}},
		{"stays in its region", event("evt.eu_1.l.1.bets.bet", nil), nil},
		{"damaged repair", event("evt.eu_1.l.1.bets.bet", func(h nats.Header) { h.Set(header.Repaired, "us evt.us_2.g.1.bets.bet 99") }), nil},
		{"repair of no event", event("evt.eu_1.l.1.bets.bet", func(h nats.Header) { h.Set(header.Repaired, "us evt.us_2.g.hb 99 0") }), nil},
		{"marker", event(subject.Marker(eu), nil), nil},
		{"stored by no relay", event("evt.eu_1.g.1.bets.bet", func(h nats.Header) { h.Del(header.Relay) }), nil},
		{"no id", event("evt.eu_1.g.1.bets.bet", func(h nats.Header) { h.Del(header.MsgID) }), nil},
		{"no time", event("evt.eu_1.g.1.bets.bet", func(h nats.Header) { h.Del(header.IngestedAt) }), nil},
	} {
		got, ok := entryOf(tc.m, time.Minute)
		if tc.want == nil {
			if ok {
				t.Errorf("%s: compared as %+v", tc.name, got)
			}
			continue
		}
		tc.want.hash, tc.want.seq = digest.Of("e"), 7
		if !ok || got != *tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.name, got, ok, *tc.want)
		}
	}
}

func TestRepairedCopies(t *testing.T) {
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	self := subject.Origin{Region: "eu", Epoch: 2}
	m := part{Subject: "evt.us_1.g.5.bets.bet.placed", Data: []byte("body"), Header: nats.Header{
		header.MsgID: {"e"}, header.Relay: {"r"}, header.StreamSource: {"EVENTS 42"}, header.TTL: {"60"}, "Nats-Expected-Stream": {"X"},
		header.IngestedAt: {now.Add(-20 * time.Second).Format(time.RFC3339Nano)},
	}}
	at := copyAt{entry: entry{originSeq: 42, key: digest.Key{TTL: 60}}, peer: &compared{peer: "ap"}}
	got, ok := repairedCopy(self, at, m, now)
	if !ok || got.Subject != "evt.eu_2.l.5.bets.bet.placed" || string(got.Data) != "body" || len(got.Header) != 5 {
		t.Fatalf("stored as %+v", got)
	}
	for name, want := range map[string]string{header.MsgID: "e", header.Relay: "r", header.TTL: "40", header.Repaired: "ap evt.us_1.g.5.bets.bet.placed 42 60"} {
		if have := got.Header.Get(name); have != want {
			t.Errorf("%s is %q, want %q", name, have, want)
		}
	}
	if m.Header.Get(header.StreamSource) == "" {
		t.Error("the message that was fetched has been changed")
	}
	again := part{Subject: got.Subject, Header: got.Header, Data: got.Data}
	if back, ok := repairedCopy(self.Next(), at, again, now); !ok || back.Header.Get(header.Repaired) != "ap evt.us_1.g.5.bets.bet.placed 42 60" {
		t.Errorf("a copy of a copy: %+v", back)
	}
	if late, ok := repairedCopy(self, at, m, now.Add(40*time.Second)); ok {
		t.Errorf("an event whose time is over is stored as %+v", late)
	}
}

// Whatever an answer leaves out before its last message is gone; behind it, it is asked for again.
func TestPagesOfMessages(t *testing.T) {
	for _, tc := range []struct {
		asked, got []uint64
		want       int
	}{
		{[]uint64{1, 2, 3}, []uint64{1, 2, 3}, 3},
		{[]uint64{1, 2, 3}, []uint64{1}, 1},
		{[]uint64{1, 2, 3}, []uint64{2}, 2},
		{[]uint64{1, 2, 3}, nil, 3},
	} {
		got := map[uint64]part{}
		for _, seq := range tc.got {
			got[seq] = part{}
		}
		if n := answered(tc.asked, got); n != tc.want {
			t.Errorf("of %v came %v: %d are dealt with, want %d", tc.asked, tc.got, n, tc.want)
		}
	}
}

func TestBucketsOfARound(t *testing.T) {
	keys := []digest.Key{{Slot: 1}, {Slot: 2}, {Slot: 2, TTL: 5}, {Slot: 9}}
	if got := rotate(keys, digest.Key{Slot: 2, TTL: 1}); !slices.Equal(got, []digest.Key{keys[2], keys[3], keys[0], keys[1]}) {
		t.Errorf("rotated to %v", got)
	}
	if got := rotate(keys, digest.Key{Slot: 10}); !slices.Equal(got, keys) {
		t.Errorf("rotated to %v", got)
	}
	for each, want := range map[uint64]int{1: 4, listPerRound / 2: 2, listPerRound * 5: 1} {
		if got := choose(keys, func(digest.Key) uint64 { return each }); len(got) != want {
			t.Errorf("of buckets of %d, %d are listed, want %d", each, len(got), want)
		}
	}
}

func TestStaleIndexes(t *testing.T) {
	made := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	const day = 24 * time.Hour
	info := func(at time.Time, first, last, msgs uint64) *jetstream.StreamInfo {
		return &jetstream.StreamInfo{
			Created: at, Config: jetstream.StreamConfig{MaxAge: day},
			State: jetstream.StreamState{FirstSeq: first, FirstTime: made, LastSeq: last, Msgs: msgs},
		}
	}
	forever := info(made, 9, 30, 22)
	forever.Config.MaxAge = 0
	old, young, early := made.Add(day+time.Second), made.Add(day-time.Second), made.Add(time.Hour)
	for _, tc := range []struct {
		name     string
		expiring uint64
		now      *jetstream.StreamInfo
		at       time.Time
		want     bool
	}{
		{"nothing new", 0, info(made, 5, 20, 16), young, false},
		{"grown, the oldest gone by age", 0, info(made, 9, 30, 22), old, false},
		{"grown, the oldest gone before their time", 0, info(made, 9, 30, 22), young, true},
		{"grown, the oldest gone that were to expire", 4, info(made, 9, 30, 22), young, false},
		{"grown, one more gone than were to expire", 3, info(made, 9, 30, 22), young, true},
		{"the oldest gone that were kept for ever", 0, forever, old, true},
		{"another stream", 0, info(made.Add(time.Second), 5, 20, 16), young, true},
		{"ends earlier", 0, info(made, 5, 19, 15), young, true},
		{"begins earlier", 0, info(made, 4, 20, 17), young, true},
		{"lost one", 0, info(made, 5, 20, 15), young, true},
		{"one expired", 1, info(made, 5, 20, 15), young, false},
		{"one lost that would have expired later", 1, info(made, 5, 20, 15), early, true},
		{"one expired, one lost", 1, info(made, 5, 20, 14), young, true},
		{"emptied by age", 0, info(made, 21, 20, 0), old, false},
	} {
		tr := newTracked(time.Minute, info(made, 5, 20, 16))
		tr.next, tr.seen = 21, 20
		for range tc.expiring {
			tr.add(&stored{seq: 20}, entry{key: digest.KeyOf(2*time.Hour, made, time.Minute)})
		}
		if got := tr.stale(tc.now, tc.at); got != tc.want {
			t.Errorf("%s: stale is %v", tc.name, got)
		}
	}
}
