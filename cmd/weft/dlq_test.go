package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// newFakeDLQ is a server with a DLQ stream of region eu that holds three dead letters.
func newFakeDLQ(t *testing.T) func(args ...string) result {
	t.Helper()
	r := newFakeRegion(t)
	if _, err := r.js.CreateStream(t.Context(), streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu"})); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for i, cause := range []string{"panic", "failure", "panic"} {
		l := &deadletter.Letter{Cause: cause, Consumer: fmt.Sprint("c", i+1), Region: "eu", ParkedAt: at, Attempts: i + 1, FirstAt: at, FirstError: "first", LastAt: at,
			LastError: "two\nlines", EventID: fmt.Sprint("e-", i+1), Subject: "evt.eu_1.g.7.bets.bet.placed", Origin: "eu_1", OriginSeq: uint64(i + 1)}
		msg, err := l.Message(nats.Header{}, []byte(fmt.Sprintf("{ \"event_id\":\t\"e-%d\"}", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	return func(args ...string) result {
		t.Helper()
		return run(t.Context(), strings.NewReader(""), append([]string{"dlq", args[0], "--url", r.url}, args[1:]...)...)
	}
}

func TestDLQLsAndShow(t *testing.T) {
	dlq := newFakeDLQ(t)
	got := dlq("ls")
	got.expect(t, 0)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "SEQ") || !strings.HasSuffix(lines[1], "two lines") {
		t.Errorf("table:\n%s", got.out)
	}
	for args, want := range map[string]uint64{"ls --cause failure": 2, "ls --consumer c3": 3, "ls --cause panic --consumer c1 --since 1h": 1} {
		got := dlq(append(strings.Fields(args), "-o", "json")...)
		var l dlqLine
		if err := json.Unmarshal([]byte(got.out), &l); err != nil || l.Seq != want || l.EventID != fmt.Sprint("e-", want) {
			t.Errorf("%s: %q, %v", args, got.out, err)
		}
	}
	if got := dlq("show", "2", "-o", "raw"); got.out != "{ \"event_id\":\t\"e-2\"}\n" {
		t.Errorf("raw: %q", got.out)
	}
	if got := dlq("show", "2", "-o", "json"); !strings.Contains(got.out, `"cause":"failure"`) || !strings.Contains(got.out, `"event":"{ \"event_id\":\t\"e-2\"}"`) {
		t.Errorf("json: %q", got.out)
	}
	if got := dlq("show", "2"); !strings.Contains(got.out, "last_error:") {
		t.Errorf("yaml: %q", got.out)
	}
}

func TestDLQDiscard(t *testing.T) {
	dlq := newFakeDLQ(t)
	left := func() (seqs []uint64) {
		for line := range strings.Lines(dlq("ls", "-o", "json").out) {
			var l dlqLine
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			seqs = append(seqs, l.Seq)
		}
		return seqs
	}
	if got := dlq("discard", "--cause", "panic"); got.code != 0 || !strings.Contains(got.out, "would discard 2 dead letters. Nothing was done") || len(left()) != 3 {
		t.Errorf("dry run: %d %q %q, left %v", got.code, got.out, got.stderr, left())
	}
	if got := dlq("discard", "--cause", "panic", "--yes"); got.out != "discarded 2 dead letters\n" || fmt.Sprint(left()) != "[2]" {
		t.Errorf("%q %q, left %v", got.out, got.stderr, left())
	}
	if got := dlq("discard", "2", "--yes"); got.out != "discarded 1 dead letter\n" || left() != nil {
		t.Errorf("%q %q, left %v", got.out, got.stderr, left())
	}
}

func TestDLQRequeue(t *testing.T) {
	dlq := newFakeDLQ(t)
	got := dlq("requeue", "--cause", "panic", "--why", "mended", "--dry-run")
	if got.code != 0 || !strings.Contains(got.out, "would requeue 2 dead letters. Each comes after what its consumer has handled of its key since. Nothing was done") {
		t.Errorf("dry run: %d %q %q", got.code, got.out, got.stderr)
	}
	if got := dlq("ls", "--cause", "requeued"); strings.Count(got.out, "\n") != 1 || !strings.Contains(got.out, "LAST ERROR") {
		t.Errorf("done all the same: %q", got.out)
	}
	if got := dlq("requeue", "--cause", "panic", "--why", "mended", "--by", "ops", "--yes"); got.out != "requeued 2 dead letters\n" {
		t.Errorf("%q %q", got.out, got.stderr)
	}
	lines := strings.Split(strings.TrimSpace(dlq("ls").out), "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], " failure ") || !strings.Contains(lines[2], " waiting ") || !strings.HasSuffix(lines[3], "requeued by ops: mended") {
		t.Errorf("table:\n%s", strings.Join(lines, "\n"))
	}
	for range 2 { // what is requeued already is left out
		if got := dlq("requeue", "--cause", "requeued", "--why", "mended", "--yes"); got.out != "requeued 0 dead letters\n" {
			t.Errorf("%q %q", got.out, got.stderr)
		}
	}
	if got := dlq("show", "4", "-o", "json"); !strings.Contains(got.out, `"requeued":{"at":"`) || !strings.Contains(got.out, `"why":"mended","times":1}`) {
		t.Errorf("json: %q", got.out)
	}
	dlq("requeue", "4", "--why", "mended", "--yes").expect(t, 1, "sequence 4 is requeued already")
	dlq("requeue", "99", "--why", "mended", "--yes").expect(t, 1, "there is no dead letter 99")
	dlq("requeue", "2").expect(t, 2, "--why is needed")
	dlq("requeue", "2", "--why", " ").expect(t, 2, "--why is needed")
	dlq("requeue", "2", "--why", "mended", "--by", "").expect(t, 2, "--by is needed")
	dlq("requeue", "2", "--why", "mended", "--yes", "--dry-run").expect(t, 2, "exclude each other")
	dlq("requeue", "--why", "mended").expect(t, 2, "name the dead letters")
	dlq("show", "2").expect(t, 0)
}

func TestDLQSaysWhatIsWrong(t *testing.T) {
	dlq := newFakeDLQ(t)
	dlq("discard", "--yes").expect(t, 2, "name the dead letters")
	dlq("discard", "1", "--cause", "panic").expect(t, 2, "name the dead letters")
	dlq("discard", "0").expect(t, 2, `"0" is no sequence`)
	dlq("discard", "1", "99", "--yes").expect(t, 1, "there is no dead letter 99")
	dlq("show", "1").expect(t, 0) // nothing was discarded
	dlq("ls", "--cause", "outage").expect(t, 2, "is none of failure")
	dlq("ls", "--consumer", "a.b").expect(t, 2, "no durable's name")
	r := newFakeRegion(t)
	run(t.Context(), strings.NewReader(""), "dlq", "ls", "--url", r.url).expect(t, 1, "cannot read DLQ", "only the owner's credentials may")
}

// ownerOf connects with the credentials of a tenant's owner.
func ownerOf(t *testing.T, at meshFlags) *nats.Conn {
	t.Helper()
	p, err := at.find()
	if err != nil {
		t.Fatal(err)
	}
	nc, err := connectNATS(p.region.NATS, p.tenant.ConsumerCreds, p.ca, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// What a consumer of a real mesh gives up is found by the owner, in its own region and tenant and nowhere else.
func TestDeadLettersOfAMesh(t *testing.T) {
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	event := `{"event_id":"poison-1","event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"` + time.Now().UTC().Format(time.RFC3339) +
		`","key":{"user_id":"u1"},"payload":{}}`
	if err := os.WriteFile(filepath.Join(dir, "poison.ndjson"), []byte(event+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runWeft(t, dir, "send", "poison.ndjson", "--data", "mesh", "--tenant", "globex", "--region", "us")
	nc := ownerOf(t, meshFlags{data: filepath.Join(dir, "mesh"), tenant: "globex", region: "us"})
	consume := func(handle consumers.Handler) (end func()) {
		t.Helper()
		sub, err := consumers.Subscribe(t.Context(), consumers.Options{Conn: nc, Durable: "ledger"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- sub.Run(ctx, handle) }()
		return func() {
			t.Helper()
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	end := consume(func(context.Context, *consumers.Message) error { panic("boom") })
	ls := func(place ...string) string {
		return runWeft(t, dir, append([]string{"dlq", "ls", "--data", "mesh", "-o", "json"}, place...)...)
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		out := ls("--tenant", "globex", "--region", "us")
		return strings.Contains(out, `"event_id":"poison-1"`) && strings.Contains(out, `"cause":"panic"`), out
	})
	end()
	for _, place := range [][]string{{"--tenant", "globex", "--region", "eu"}, {"--tenant", "acme", "--region", "us"}} {
		if out := ls(place...); out != "" {
			t.Errorf("%v: %s", place, out)
		}
	}
	// The consumer that is mended is given it again, byte for byte.
	in := []string{"--data", "mesh", "--tenant", "globex", "--region", "us"}
	if out := runWeft(t, dir, append([]string{"dlq", "requeue", "--consumer", "ledger", "--by", "ops", "--why", "mended", "--yes"}, in...)...); out != "requeued 1 dead letter\n" {
		t.Errorf("requeue: %s", out)
	}
	again := make(chan *consumers.Message, 1)
	end = consume(func(_ context.Context, m *consumers.Message) error {
		again <- m
		return nil
	})
	if m := <-again; m.EventID != "poison-1" || string(m.Raw) != event || m.Requeued == nil || m.Requeued.By != "ops" {
		t.Errorf("again: %+v", m)
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		out := ls("--tenant", "globex", "--region", "us")
		return strings.Contains(out, `"state":"handled"`) && strings.Count(out, "\n") == 1, out
	})
	end()
	if out := runWeft(t, dir, "dlq", "discard", "--consumer", "ledger", "--yes", "--data", "mesh", "--tenant", "globex", "--region", "us"); out != "discarded 1 dead letter\n" {
		t.Errorf("discard: %s", out)
	}
}
