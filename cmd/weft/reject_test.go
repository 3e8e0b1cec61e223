package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// fakeRejects is a server with a REJECTS stream of region eu.
type fakeRejects struct {
	*fakeRegion
}

func newFakeRejects(t *testing.T) *fakeRejects {
	t.Helper()
	r := newFakeRegion(t)
	if _, err := r.js.CreateStream(t.Context(), streams.RejectsConfig(streams.RejectsSpec{Region: "eu"})); err != nil {
		t.Fatal(err)
	}
	return &fakeRejects{r}
}

func (r *fakeRejects) add(code string, change func(*deadletter.Record)) {
	r.t.Helper()
	reason, _ := deadletter.ReasonOf(code)
	rec := &deadletter.Record{Cause: reason.Cause, Code: code, Status: reason.Status, Detail: "why " + code, Region: "eu", Relay: "r1", Kid: "acme-1",
		Producer: "default", RequestID: "req-1", ReceivedAt: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Count: 1}
	if change != nil {
		change(rec)
	}
	raw, err := rec.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.js.Publish(r.t.Context(), subject.Reject{Region: "eu", Cause: string(rec.Cause), Code: code}.String(), raw, jetstream.WithExpectStream("REJECTS")); err != nil {
		r.t.Fatal(err)
	}
}

func (r *fakeRejects) reject(args ...string) result {
	r.t.Helper()
	return run(r.t.Context(), strings.NewReader(""), append([]string{"reject", args[0], "--url", r.url}, args[1:]...)...)
}

func TestRejectLs(t *testing.T) {
	r := newFakeRejects(t)
	if got := r.reject("ls"); got.code != 0 || strings.Count(got.out, "\n") != 1 || !strings.HasPrefix(got.out, "RECEIVED") {
		t.Errorf("of nothing: %d %q %q", got.code, got.out, got.stderr)
	}
	r.add("signature_invalid", nil)
	r.add("syntax", func(rec *deadletter.Record) {
		rec.EventID, rec.Pointer, rec.Suppressed = "e-7", "/payload/*", 41
	})
	r.add("timestamp_skew", nil)
	got := r.reject("ls")
	got.expect(t, 0)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "RECEIVED") || !strings.HasSuffix(lines[2], "e-7                               42  why syntax (at /payload/*); 41 refusals before it not recorded") {
		t.Errorf("table:\n%s", got.out)
	}
	for args, want := range map[string]string{
		"ls --code syntax": "syntax", "ls --cause expired": "timestamp_skew", "ls --last 1": "timestamp_skew", "ls --since 1h --code signature_invalid": "signature_invalid",
		"tail --since 1h --code syntax --timeout 300ms": "syntax", "tail --since 1h --count 1": "signature_invalid",
	} {
		got := r.reject(append(strings.Fields(args), "-o", "json")...)
		got.expect(t, 0)
		var line rejectLine
		if err := json.Unmarshal([]byte(got.out), &line); err != nil || line.Code != want || line.Seq == 0 {
			t.Errorf("%s: %q, %v", args, got.out, err)
		}
	}
	if got := r.reject("ls", "-o", "yaml"); strings.Count(got.out, "---\n") != 2 || !strings.Contains(got.out, "code: syntax\n") {
		t.Errorf("yaml: %s", got.out)
	}
	if got := r.reject("ls", "--since", time.Now().Add(time.Hour).Format(time.RFC3339)); strings.Count(got.out, "\n") != 1 || !strings.HasPrefix(got.out, "RECEIVED") {
		t.Errorf("of the future: %q", got.out)
	}
}

func TestRejectSaysWhatIsWrong(t *testing.T) {
	r := newFakeRegion(t)
	ls := func(args ...string) result {
		return run(t.Context(), strings.NewReader(""), append([]string{"reject", "ls", "--url", r.url}, args...)...)
	}
	ls().expect(t, 1, "weft reject ls: cannot read REJECTS: ", "only the owner's credentials may")
	ls("--code", "No").expect(t, 2, `--code "No" is no code`)
	ls("--cause", "weather").expect(t, 2, "is none of request, signature, expired")
	ls("--code", "syntax", "--cause", "envelope").expect(t, 2, "code")
	ls("--since", "soon").expect(t, 2, "RFC 3339")
}

// weftFails runs a command that must not end well.
func weftFails(t *testing.T, dir string, args ...string) string {
	t.Helper()
	bin, err := weftBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...) //nolint:gosec // our own code
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("weft %s ended well:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}

// The owner of a real mesh reads what a real relay refused, in its own region's stream and in no other.
func TestRejectsOfAMesh(t *testing.T) {
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	event := `{"event_id":"late-1","event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2050-01-01T00:00:00Z","key":{"user_id":"u1"},"payload":{"ssn":"078-05-1120"}}`
	if err := os.WriteFile(filepath.Join(dir, "late.ndjson"), []byte(event+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := weftFails(t, dir, "send", "late.ndjson", "--data", "mesh", "--tenant", "globex", "--region", "us"); !strings.Contains(out, "occurred_at_future") {
		t.Fatalf("send said %s", out)
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		out := runWeft(t, dir, "reject", "ls", "--data", "mesh", "--tenant", "globex", "--region", "us", "-o", "json")
		return strings.Contains(out, `"event_id":"late-1"`) && strings.Contains(out, `"proof":"signature"`) && !strings.Contains(out, "078-05"), out
	})
	for _, place := range [][]string{{"--tenant", "globex", "--region", "eu"}, {"--tenant", "acme", "--region", "us"}} {
		if out := runWeft(t, dir, append([]string{"reject", "ls", "--data", "mesh", "-o", "json"}, place...)...); out != "" {
			t.Errorf("%v: %s", place, out)
		}
	}
}
