package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/event"
)

func TestSendStoresEveryByteInOrder(t *testing.T) {
	f := newFakeRelay(t)
	input := testEvents(500)
	f.send(input, "--batch", "20", "--concurrency", "4").expect(t, 0, "500 sent: 500 stored, 0 duplicates, 0 rejected in ")
	for line := range strings.Lines(input) {
		line = strings.TrimSuffix(line, "\n")
		id, _ := event.Lookup([]byte(line), "/event_id")
		if string(f.stored[id]) != line {
			t.Fatalf("%s arrived as %s", line, f.stored[id])
		}
	}
	last := map[string]string{} // user -> source_seq
	for _, id := range f.order {
		user, _ := event.Lookup(f.stored[id], "/key/user_id")
		seq, _ := event.Lookup(f.stored[id], "/source_seq")
		if before := last[user]; len(seq) < len(before) || len(seq) == len(before) && seq <= before {
			t.Fatalf("user %s: %s after %s", user, seq, before)
		}
		last[user] = seq
	}

	again := f.send(input, "-o", "json")
	again.expect(t, 0, "500 sent: 0 stored, 500 duplicates, 0 rejected in ")
	var sum sendSummary
	if err := json.Unmarshal([]byte(again.out), &sum); err != nil || sum.Sent != 500 || sum.Duplicates != 500 || sum.LastLine != 500 {
		t.Errorf("summary %+v, %v of %s", sum, err, again.out)
	}
}

// TestSendRetriesUnderTheSameIDs lets requests fail before and after their events are stored.
func TestSendRetriesUnderTheSameIDs(t *testing.T) {
	for name, c := range map[string]struct {
		how         fakeFault
		stored, dup int
	}{
		"503, nothing stored":                     {unavailable, 60, 0},
		"broken off, nothing stored":              {lostRequest, 60, 0},
		"broken off, everything stored":           {lostAnswer, 30, 30},
		"half stored, half of it not known to be": {halfStored, 60, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeRelay(t)
			f.fails = func(n int) fakeFault { // the first request and the one that repeats it
				if n == 0 || n == 1 && c.how != lostAnswer {
					return c.how
				}
				return works
			}
			r := f.send(testEvents(60), "--batch", "30", "--concurrency", "1")
			r.expect(t, 0, fmt.Sprintf("60 sent: %d stored, %d duplicates, 0 rejected", c.stored, c.dup))
			if len(f.stored) != 60 {
				t.Errorf("%d stored", len(f.stored))
			}
			if sent := f.sent(); c.how != halfStored && !slices.Equal(sent[0], sent[1]) {
				t.Errorf("repeated with other events: %v, then %v", sent[0], sent[1])
			}
		})
	}
}

func TestSendGivesUpAfterTheTimeout(t *testing.T) {
	f := newFakeRelay(t)
	f.fails = func(int) fakeFault { return unavailable }
	f.send(testEvents(10), "--timeout", "300ms").expect(t, 1,
		"lines 1 to 10: 10 events not known to be stored\n",
		"10 sent: 0 stored, 0 duplicates, 0 rejected, 10 not known to be stored in ",
		"weft send: ", "send again once the relay answers: what is stored already counts as a duplicate\n")
	if n := len(f.sent()); n < 2 {
		t.Errorf("%d requests, want retries", n)
	}
}

func TestSendWithoutARelay(t *testing.T) {
	f := newFakeRelay(t)
	f.server.Close()
	f.send(testEvents(3), "--timeout", "200ms").expect(t, 1, "lines 1 to 3: 3 events not known to be stored", "no_answer", "send again once the relay answers")
}

func TestSendStopsAtARefusalOfTheKey(t *testing.T) {
	f := newFakeRelay(t)
	f.fails = func(int) fakeFault { return refusedKey }
	f.send(testEvents(2000), "--batch", "10", "--concurrency", "1").expect(t, 1, "weft send: the relay answered 401: no such key\n")
	if n := len(f.sent()); n != 1 {
		t.Errorf("%d requests after a refusal of the key", n)
	}
}

func TestSendListsWhatIsRefused(t *testing.T) {
	f := newFakeRelay(t)
	f.reject = func(id string) string {
		if id == "e-1" {
			return "occurred_at_too_old"
		}
		return ""
	}
	good := slices.Collect(strings.Lines(testEvents(4)))
	input := good[0] + "\n" + good[1] + `{"event_id":"cut"` + "\n" + good[2] + "\r\n" +
		`{"event_id":"a","event_id":"b"}` + "\n" + strings.Repeat(" ", 600<<10) + "x\n" + strings.Replace(good[0], "e-0", "no spaces", 1) + strings.TrimSuffix(good[3], "\n")
	r := f.send(input, "--concurrency", "1")
	r.expect(t, 1, "8 sent: 3 stored, 0 duplicates, 5 rejected in ", "weft send: 5 of 8 events not stored\n",
		"line 3: e-1: occurred_at_too_old: /event_id: because of the test\n",
		"line 4: syntax: ", "line 7: duplicate_key: ", "line 8: too_large: longer than 524288 bytes\n", "line 9: invalid_event_id: /event_id: ")
	if got := string(f.stored["e-2"]); got != strings.TrimSuffix(good[2], "\n") {
		t.Errorf("a line that ends in CR LF arrived as %q", got)
	}
}

func TestSendCapsTheList(t *testing.T) {
	f := newFakeRelay(t)
	r := f.send(strings.Repeat("nonsense\n", 50) + testEvents(1))
	r.expect(t, 1, "line 20: syntax: ", "… and 30 more\n", "51 sent: 1 stored, 0 duplicates, 50 rejected")
	if strings.Contains(r.stderr, "line 21:") {
		t.Error("more than 20 lines listed")
	}
}

func TestSendOfNothing(t *testing.T) {
	newFakeRelay(t).send("\n \n").expect(t, 0, "0 sent: 0 stored, 0 duplicates, 0 rejected")
}

func TestSendByExplicitFlags(t *testing.T) {
	f := newFakeRelay(t)
	run(t.Context(), strings.NewReader(testEvents(1)), "send", "-", "--data", "nowhere", "--url", f.server.URL, "--kid", "acme-1",
		"--secret-file", f.path("acme.key"), "--cert", f.path("client.pem"), "--key", f.path("client-key.pem"), "--ca", f.path("ca.pem"),
	).expect(t, 0, "1 sent: 1 stored")
}

func TestSendNow(t *testing.T) {
	f := newFakeRelay(t)
	before := time.Now().Add(-time.Second)
	f.send(testEvents(20), "--now").expect(t, 0)
	for id, raw := range f.stored {
		at, _ := event.Lookup(raw, "/occurred_at")
		if got, err := time.Parse(time.RFC3339, at); err != nil || got.Before(before) || got.After(time.Now()) {
			t.Errorf("%s: occurred_at %s (%v)", id, at, err)
		}
		if back := strings.Replace(string(raw), at, "2026-01-01T00:00:00Z", 1); !strings.Contains(testEvents(20), back+"\n") {
			t.Errorf("more than occurred_at changed: %s", raw)
		}
	}
}

// TestSendDoesNotWaitForTheEnd keeps standard input open: what is on it must arrive.
func TestSendDoesNotWaitForTheEnd(t *testing.T) {
	f := newFakeRelay(t)
	arrived := make(chan int, 8)
	f.enter = func(n int, _ []string) { arrived <- n }
	in, out := io.Pipe()
	done := make(chan result)
	go func() { done <- run(t.Context(), in, "send", "-", "--data", f.dir) }()
	for i, line := range slices.Collect(strings.Lines(testEvents(3))) {
		if _, err := io.WriteString(out, line); err != nil {
			t.Fatal(err)
		}
		select {
		case <-arrived:
		case <-time.After(10 * time.Second):
			t.Fatalf("line %d did not arrive while the input is open", i+1)
		}
	}
	_ = out.Close()
	(<-done).expect(t, 0, "3 sent: 3 stored")
}

// TestSendInterrupted ends the context while the first request is under way: that request is waited for,
// nothing more is sent, and the summary says how far it came.
func TestSendInterrupted(t *testing.T) {
	f := newFakeRelay(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	f.enter = func(n int, _ []string) { interrupt() }
	in, out := io.Pipe()
	go func() { _, _ = io.WriteString(out, testEvents(100_000)) }() // more than a chunk; ends with the pipe
	r := run(ctx, in, "send", "-", "--data", f.dir, "--batch", "10", "--concurrency", "1")
	_ = in.Close()
	r.expect(t, 1, "20 sent: 20 stored, 0 duplicates, 0 rejected", "weft send: interrupted after line 20: send again to go on")
	if len(f.stored) != 20 {
		t.Errorf("%d stored", len(f.stored))
	}
}

func TestSendRate(t *testing.T) {
	f := newFakeRelay(t)
	begin := time.Now()
	f.send(testEvents(11), "--rate", "50").expect(t, 0, "11 sent: 11 stored")
	if took := time.Since(begin); took < 110*time.Millisecond { // the first five may go at once
		t.Errorf("11 events at 50/s took %s", took)
	}
}

func TestSendStopsAtACertificate(t *testing.T) {
	f := newFakeRelay(t)
	other, err := pki.NewAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	f.issue(other, "theirs", pki.Spec{CommonName: "acme", Client: true, TTL: time.Hour})
	begin := time.Now()
	f.send(testEvents(3), "--timeout", "1m", "--cert", f.path("theirs.pem"), "--key", f.path("theirs-key.pem")).expect(t, 1,
		"3 events not known to be stored", "\nweft send: the relay refuses the client certificate (tls: unknown certificate authority): it is revoked, has run out, or",
		"`weft tenant cert issue`")
	f.send(testEvents(3), "--timeout", "1m", "--ca", f.write("other.pem", other.CertPEM())).expect(t, 1,
		"\nweft send: the relay's certificate cannot be verified: x509: certificate signed by unknown authority", "--ca")
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
}
