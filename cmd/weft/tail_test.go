package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// fakeRegion is a server with an EVENTS stream of origin eu_1.
type fakeRegion struct {
	t   *testing.T
	url string
	js  jetstream.JetStream
}

func newFakeRegion(t *testing.T) *fakeRegion {
	t.Helper()
	s := streamtest.Server(t)
	_, js := s.Stream(streams.EventsConfig(streams.EventsSpec{Self: subject.Origin{Region: "eu", Epoch: 1}}))
	return &fakeRegion{t: t, url: s.URL(), js: js}
}

// publish stores one event as a relay does.
func (r *fakeRegion) publish(topic, id string, raw []byte) {
	r.t.Helper()
	msg := nats.NewMsg(subject.Event{Origin: subject.Origin{Region: "eu", Epoch: 1}, Scope: subject.Global, Partition: 7, Topic: topic, Type: "bet.placed"}.String())
	msg.Header.Set(header.MsgID, id)
	msg.Header.Set(header.Relay, "test")
	msg.Header.Set(header.IngestedAt, "2026-03-04T05:06:07.000000089Z")
	msg.Data = raw
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
}

// fill stores events e-first … e-last.
func (r *fakeRegion) fill(first, last int) {
	for i := first; i <= last; i++ {
		r.publish("bets", fmt.Sprintf("e-%d", i), fmt.Appendf(nil, `{"event_id":"e-%d"}`, i))
	}
}

func (r *fakeRegion) tail(args ...string) result {
	r.t.Helper()
	return run(r.t.Context(), strings.NewReader(""), append([]string{"tail", "--url", r.url}, args...)...)
}

// settled waits until the server has taken in the acknowledgements up to seq: it does so after the command
// has ended.
func (r *fakeRegion) settled(durable string, seq uint64) {
	r.t.Helper()
	streamtest.Eventually(r.t, 10*time.Second, func() (bool, string) {
		c, err := r.js.Consumer(r.t.Context(), subject.EventsStream, durable)
		if err != nil {
			return false, err.Error()
		}
		got := c.CachedInfo().AckFloor.Stream
		return got == seq, fmt.Sprintf("acknowledged up to %d, want %d", got, seq)
	})
}

// rawIDs is what -o raw prints of events first … last.
func rawIDs(first, last int) string {
	var out strings.Builder
	for i := first; i <= last; i++ {
		fmt.Fprintf(&out, `{"event_id":"e-%d"}`+"\n", i)
	}
	return out.String()
}

func TestTailResumesWhereItStopped(t *testing.T) {
	r := newFakeRegion(t)
	r.fill(1, 10)
	first := r.tail("-o", "raw", "--count", "4")
	first.expect(t, 0)
	if first.out != rawIDs(1, 4) || first.stderr != "" {
		t.Errorf("first: %q, %q", first.out, first.stderr)
	}
	r.settled("weft-tail", 4)
	second := r.tail("-o", "raw", "--timeout", "300ms", "--from", "all")
	second.expect(t, 0, "durable weft-tail goes on after sequence 4 of this region, 6 events waiting; --from all is for a new durable, name one with --durable\n")
	if second.out != rawIDs(5, 10) {
		t.Errorf("second: %q", second.out)
	}
	r.settled("weft-tail", 10)
	r.fill(11, 12)
	third := r.tail("-o", "raw", "--count", "2")
	third.expect(t, 0, "goes on after sequence 10 of this region, ")
	if third.out != rawIDs(11, 12) {
		t.Errorf("third: %q", third.out)
	}
	other := r.tail("-o", "raw", "--count", "12", "--durable", "other")
	other.expect(t, 0)
	if other.out != rawIDs(1, 12) {
		t.Errorf("another durable: %q", other.out)
	}
}

func TestTailFrom(t *testing.T) {
	r := newFakeRegion(t)
	r.fill(1, 5)
	stored, err := r.js.Stream(t.Context(), subject.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	fourth, err := stored.GetMsg(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct{ from, want string }{
		{"all", rawIDs(1, 5)}, {"seq:3", rawIDs(3, 5)}, {"1h", rawIDs(1, 5)}, {"7d", rawIDs(1, 5)},
		{fourth.Time.Format(time.RFC3339Nano), rawIDs(4, 5)}, {"new", ""},
	} {
		got := r.tail("-o", "raw", "--from", c.from, "--timeout", "200ms", "--durable", fmt.Sprint("d", i))
		if got.expect(t, 0); got.out != c.want {
			t.Errorf("--from %s: %q, want %q", c.from, got.out, c.want)
		}
	}
}

func TestTailTopics(t *testing.T) {
	r := newFakeRegion(t)
	for _, topic := range []string{"bets", "kyc", "sessions"} {
		r.publish(topic, topic, []byte(`"`+topic+`"`))
	}
	got := r.tail("-o", "raw", "--topic", "kyc", "--topic", "sessions", "--count", "2")
	if got.expect(t, 0); got.out != "\"kyc\"\n\"sessions\"\n" {
		t.Errorf("%q", got.out)
	}
	r.tail("--topic", "bets").expect(t, 1, `weft tail: durable "weft-tail" on EVENTS exists with filter`, "choose another name")
	r.tail("--topic", "Bets", "--durable", "x").expect(t, 1, `topic "Bets"`)
	r.tail("--durable", "no dots.").expect(t, 1, `durable "no dots."`)
}

// TestTailKeepsTheProducersBytes prints what any JSON library would have changed.
func TestTailKeepsTheProducersBytes(t *testing.T) {
	r := newFakeRegion(t)
	nasty := []string{
		`{"event_id":"n-0", "n":1.0e+2,"big":12345678901234567890,"esc":"\u00e9\/\ud83d\ude00","ü":"<&>","z":-0 }`,
		"{\"event_id\":\"n-1\",\r\n\t\"a\": [ ],\n  \"line\": \"\\n stays\" }",
	}
	for i, raw := range nasty {
		r.publish("bets", fmt.Sprint("n-", i), []byte(raw))
	}
	if got := r.tail("-o", "raw", "--count", "2"); got.out != strings.Join(nasty, "\n")+"\n" {
		t.Errorf("raw: %q", got.out)
	}
	got := r.tail("-o", "json", "--count", "2", "--durable", "d2")
	got.expect(t, 0)
	lines := strings.SplitAfter(strings.TrimSuffix(got.out, "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %q", len(lines), got.out)
	}
	flat := strings.NewReplacer("\r", " ", "\n", " ")
	for i, line := range lines {
		if !strings.HasPrefix(line, `{"event":`+flat.Replace(nasty[i])+`,"event_id":"n-`) {
			t.Errorf("line %d: %s", i, line)
		}
		var meta eventMeta
		if err := json.Unmarshal([]byte(line), &meta); err != nil {
			t.Fatal(err)
		}
		want := eventMeta{
			EventID: fmt.Sprint("n-", i), Origin: "eu_1", Seq: uint64(i + 1), StreamSeq: uint64(i + 1), Subject: "evt.eu_1.g.7.bets.bet.placed",
			Topic: "bets", Partition: 7, IngestedAt: meta.IngestedAt, StoredAt: meta.StoredAt, Deliveries: 1,
		}
		if meta != want || meta.IngestedAt == nil || !meta.IngestedAt.Equal(time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)) {
			t.Errorf("line %d says %+v", i, meta)
		}
	}
}

func TestTailTable(t *testing.T) {
	r := newFakeRegion(t)
	r.fill(1, 2)
	got := r.tail("--count", "2")
	got.expect(t, 0)
	lines := strings.Split(strings.TrimSuffix(got.out, "\n"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "INGESTED") || strings.Join(strings.Fields(lines[2])[1:], " ") != "eu_1 2 bets bet.placed e-2 18" {
		t.Errorf("table:\n%s", got.out)
	}
}

func TestTailEnds(t *testing.T) {
	r := newFakeRegion(t)
	r.fill(1, 3)
	r.tail("--count", "5", "--timeout", "200ms", "--durable", "a").expect(t, 1, "weft tail: 3 events of 5 came; no other for 200ms\n")
	r.tail("--timeout", "100ms", "--durable", "b").expect(t, 0)

	ctx, interrupt := context.WithTimeout(t.Context(), 300*time.Millisecond) // Ctrl-C while it waits for more
	defer interrupt()
	run(ctx, strings.NewReader(""), "tail", "--url", r.url, "--durable", "c").expect(t, 0)
}

func TestTailWithoutAServer(t *testing.T) {
	run(t.Context(), strings.NewReader(""), "tail", "--url", "nats://127.0.0.1:1").
		expect(t, 1, "weft tail: cannot connect to nats://127.0.0.1:1: no servers available for connection: is that region up?\n")
}

// failingWriter takes some bytes and then fails as a closed pipe does.
type failingWriter struct {
	bytes.Buffer
	left int
	err  error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, w.err
	}
	return w.Buffer.Write(p)
}

// TestTailAcknowledgesOnlyWhatWasWritten breaks the output at the third event: the next tail begins with it.
func TestTailAcknowledgesOnlyWhatWasWritten(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"head has enough": {syscall.EPIPE, 0},
		"disk full":       {syscall.ENOSPC, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newFakeRegion(t)
			r.fill(1, 6)
			out := &failingWriter{left: 2, err: c.err}
			root := newRootCommand()
			root.SetOut(out)
			var stderr bytes.Buffer
			root.SetErr(&stderr)
			if code := execute(t.Context(), root, []string{"tail", "-o", "raw", "--url", r.url}); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, &stderr)
			}
			if got := out.String(); got != rawIDs(1, 2) {
				t.Errorf("written: %q", got)
			}
			r.settled("weft-tail", 2)
			rest := slices.Sorted(strings.Lines(r.tail("-o", "raw", "--count", "4").out)) // given back: order is not promised
			if strings.Join(rest, "") != rawIDs(3, 6) {
				t.Errorf("after it: %q", rest)
			}
		})
	}
}

func TestTailLeavesNothingRunning(t *testing.T) {
	r := newFakeRegion(t)
	r.fill(1, 3)
	r.tail("--count", "1").expect(t, 0) // the durable's goroutines are the server's, which lives on
	ignore := goleak.IgnoreCurrent()
	r.tail("--count", "1", "--timeout", "1m").expect(t, 0)
	goleak.VerifyNone(t, ignore)
}

func TestErrorLine(t *testing.T) {
	hinted := errorWithHint(errors.New("a\nb"), "do c")
	if got := errorLine("weft x", fmt.Errorf("wrapped: %w", hinted)); got != "weft x: wrapped: a; b: do c" {
		t.Error(got)
	}
	if got := errorLine("weft x", errors.Join(hinted, context.Canceled)); strings.Contains(got, "\n") {
		t.Errorf("%q", got)
	}
}
