package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/traffic"
)

// upPortBase turns a block of free ports into a --port-base: up counts from base+400.
func upPortBase(t *testing.T) string {
	return strconv.Itoa(streamtest.Ports(t).Base() - 400 + 1)
}

// tailRaw is tail -o raw with standard output alone.
func tailRaw(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	bin, err := weftBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, append([]string{"tail", "--data", "mesh", "-o", "raw"}, args...)...) //nolint:gosec // our own code
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stderr = dir, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("weft tail: %v\n%s", err, &stderr)
	}
	return out
}

// writeEvents writes n events of the generator as NDJSON.
func writeEvents(t *testing.T, path string, seed uint64, n int) {
	t.Helper()
	gen := traffic.New(traffic.Options{Seed: seed, Users: 200, Prefix: fmt.Sprintf("s%d-", seed)})
	var out []byte
	for range n {
		out = append(gen.AppendNext(out, time.Now()), '\n')
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Half of the events into each region: both regions hold the same set, and each user's events are in order.
func TestUpCarriesEventsAcross(t *testing.T) {
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	for i, region := range []string{"eu", "us"} {
		file := region + ".ndjson"
		writeEvents(t, filepath.Join(dir, file), uint64(i+1), 5000)
		if out := runWeft(t, dir, "send", file, "--data", "mesh", "--tenant", "acme", "--region", region); !strings.Contains(out, "5000 stored") {
			t.Fatalf("send into %s said: %s", region, out)
		}
	}
	var sets [2][]string
	for i, region := range []string{"eu", "us"} {
		seen := map[string]uint64{} // user -> last source_seq
		for line := range bytes.Lines(tailRaw(t, dir, "--tenant", "acme", "--region", region, "--count", "10000")) {
			var e event.Event
			if err := event.Decode(bytes.TrimRight(line, "\n"), &e); err != nil {
				t.Fatal(err)
			}
			if e.SourceSeq <= seen[e.UserID] {
				t.Fatalf("%s: event %d of %s came after %d", region, e.SourceSeq, e.UserID, seen[e.UserID])
			}
			seen[e.UserID] = e.SourceSeq
			sets[i] = append(sets[i], e.ID)
		}
		slices.Sort(sets[i])
	}
	if len(slices.Compact(slices.Clone(sets[0]))) != 10000 || !slices.Equal(sets[0], sets[1]) {
		t.Fatalf("the regions hold %d and %d events, and not the same 10000", len(sets[0]), len(sets[1]))
	}
}

// Stopped or killed and started again on its data, the mesh goes on: events, tenants, keys, and after a stop
// the consumer's exact position. (A kill may take the last acknowledgements of a consumer with it: those
// events come again, which is what at-least-once means.)
func TestUpContinues(t *testing.T) {
	dir := t.TempDir()
	base := upPortBase(t)
	up := upProcess(t, dir, "--data", "mesh", "--port-base", base)
	runWeft(t, dir, "tenant", "add", "initech", "--data", "mesh")
	writeEvents(t, filepath.Join(dir, "a.ndjson"), 1, 300)
	runWeft(t, dir, "send", "a.ndjson", "--data", "mesh", "--tenant", "initech", "--region", "eu")
	out := tailRaw(t, dir, "--tenant", "initech", "--region", "us", "--count", "300")
	if err := up.terminate(); err != nil {
		t.Fatalf("up did not leave cleanly: %v\n%s", err, up.log)
	}

	up = upProcess(t, dir, "--data", "mesh", "--port-base", base)
	writeEvents(t, filepath.Join(dir, "b.ndjson"), 2, 50)
	runWeft(t, dir, "send", "b.ndjson", "--data", "mesh", "--tenant", "initech", "--region", "us")
	out = append(out, tailRaw(t, dir, "--tenant", "initech", "--region", "us", "--count", "50")...)
	seen := map[string]bool{}
	for line := range bytes.Lines(out) {
		var e event.Event
		if err := event.Decode(bytes.TrimRight(line, "\n"), &e); err != nil {
			t.Fatal(err)
		}
		seen[e.ID] = true
	}
	if len(seen) != 350 {
		t.Errorf("350 lines came out with %d events: some were printed twice", len(seen))
	}

	up.kill()
	upProcess(t, dir, "--data", "mesh", "--port-base", base)
	m, err := meshfile.Read(filepath.Join(dir, "mesh"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Regions {
		streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
			ids := readIDs(t, filepath.Join(dir, "mesh"), "initech", r.NATS)
			return len(ids) == 350, fmt.Sprintf("%s holds %d of 350 events after the kill", r.Name, len(ids))
		})
	}
	table := `{"topics":[{"name":"payments","class":"critical","scope":"g","retention":"720h","home":"forward"},{"name":"events","class":"standard","scope":"g","retention":"168h","home":"local"}],"rules":[{"type":"deposit.>","topic":"payments"}],"default":"events"}`
	if err := os.WriteFile(filepath.Join(dir, "routes.json"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	runWeft(t, dir, "tenant", "routes", "initech", "routes.json", "--data", "mesh")
	if out := runWeft(t, dir, "tenant", "routes", "initech", "--data", "mesh"); !strings.Contains(out, "payments") {
		t.Errorf("routes said %s", out)
	}
	if out := runWeft(t, dir, "stream", "plan", "--data", "mesh"); !strings.Contains(out, "acme: as it should be") {
		t.Errorf("plan said %s", out)
	}
	if out := runWeft(t, dir, "tenant", "rm", "initech", "--data", "mesh", "--yes"); !strings.Contains(out, "removed tenant initech") {
		t.Errorf("rm said %s", out)
	}
	if out := runWeft(t, dir, "tenant", "ls", "--data", "mesh"); strings.Contains(out, "initech") || !strings.Contains(out, "acme") {
		t.Errorf("ls said %s", out)
	}
}

// Every real event comes out in the other region as its bytes went in.
func TestRealEventsComeOutByteForByte(t *testing.T) {
	vectors := os.Getenv("WEFT_VECTORS")
	if vectors == "" {
		t.Skip("WEFT_VECTORS does not name a folder with real-events.ndjson")
	}
	sent, err := os.ReadFile(filepath.Join(vectors, "real-events.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	out := runWeft(t, dir, "send", "--tenant", "acme", "--now", filepath.Join(vectors, "real-events.ndjson"), "--data", "mesh")
	if !strings.Contains(out, "449 stored") {
		t.Fatalf("send said %s", out)
	}
	got := tailRaw(t, dir, "--tenant", "acme", "--region", "us", "--count", "449")
	// --now changes the value of occurred_at and nothing else.
	stamp := regexp.MustCompile(`"occurred_at":"[^"]*"`)
	normal := func(b []byte) []string {
		var lines []string
		for line := range bytes.Lines(b) {
			lines = append(lines, string(stamp.ReplaceAll(bytes.TrimRight(line, "\n"), []byte(`"occurred_at":""`))))
		}
		slices.Sort(lines)
		return lines
	}
	if !slices.Equal(normal(sent), normal(got)) {
		t.Error("what came out is not what went in")
	}
}

// What stands in the way of a start is one clear line with a hint.
func TestUpSaysWhatIsWrong(t *testing.T) {
	bin, err := weftBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	base := upPortBase(t)
	n, err := strconv.Atoi(base)
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n+422))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"a port that is taken":            {[]string{"--data", "mesh"}, []string{strconv.Itoa(n + 422), "--port-base"}},
		"a data directory that is a file": {[]string{"--data", "file"}, []string{"data directory"}},
		"no such number of servers":       {[]string{"--data", "mesh", "--servers", "2"}, []string{"1 or 3"}},
	} {
		cmd := exec.Command(bin, append([]string{"up", "--port-base", base}, c.args...)...) //nolint:gosec // our own code
		cmd.Dir = dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err == nil {
			t.Errorf("%s: up succeeded", name)
		}
		said := strings.TrimSpace(stderr.String())
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: it does not speak of %q: %s", name, want, said)
			}
		}
		if strings.Count(said, "\n") > 1 {
			t.Errorf("%s: more than a line and a hint:\n%s", name, said)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "mesh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mesh", "mesh.json"), []byte(`{"regions":[`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "tenant", "ls", "--data", "mesh") //nolint:gosec // our own code
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "damaged") {
		t.Errorf("a damaged mesh.json: %v, %s", err, out)
	}
}

// The plain nats command line, with nothing of weft's but the credentials, makes a durable and consumes it.
func TestPlainNATSCommandLine(t *testing.T) {
	nats := os.Getenv("WEFT_NATS_CLI")
	if nats == "" {
		t.Skip("WEFT_NATS_CLI does not name the nats command line")
	}
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	writeEvents(t, filepath.Join(dir, "a.ndjson"), 1, 10)
	runWeft(t, dir, "send", "a.ndjson", "--data", "mesh", "--tenant", "acme", "--region", "eu")
	m, err := meshfile.Read(filepath.Join(dir, "mesh"))
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		args = append([]string{"--server", m.Regions[1].NATS, "--tlsca", filepath.Join("mesh", "pki", "ca.pem"), "--creds", filepath.Join("mesh", m.Tenants[0].ConsumerCreds)}, args...)
		cmd := exec.Command(nats, args...) //nolint:gosec // the tool that the test is about
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("nats %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("consumer", "add", "EVENTS", "mine", "--pull", "--filter", "evt.*.*.*.>", "--deliver", "all", "--ack", "explicit", "--replay", "instant", "--defaults")
	var got string
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		var info struct {
			Pending int `json:"num_pending"`
		}
		if err := json.Unmarshal([]byte(run("consumer", "info", "EVENTS", "mine", "--json")), &info); err != nil {
			return false, err.Error()
		}
		return info.Pending == 10, fmt.Sprintf("%d of 10 events pending", info.Pending)
	})
	got = run("consumer", "next", "EVENTS", "mine", "--count", "10", "--ack")
	if n := strings.Count(got, `"event_id":"s1-`); n != 10 {
		t.Errorf("%d of 10 events came out:\n%s", n, got)
	}
}
