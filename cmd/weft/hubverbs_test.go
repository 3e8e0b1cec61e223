package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/traffic"
)

// weft runs a command to its end and tells its exit code, standard output and standard error.
func weft(t *testing.T, dir string, args ...string) (int, string, string) {
	t.Helper()
	bin, err := weftBinary()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(bin, args...) //nolint:gosec // our own code
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	err = cmd.Run()
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return code, stdout.String(), stderr.String()
}

// lostMesh is a mesh of four processes, of which one region's store is going to be lost.
type lostMesh struct {
	t     *testing.T
	dir   string
	base  int
	procs []*process // hub eu, hub us, relay eu, relay us
}

func newLostMesh(t *testing.T) *lostMesh {
	t.Helper()
	m := &lostMesh{t: t, dir: t.TempDir(), base: streamtest.Ports(t).Base()}
	m.procs = localMesh(t, m.dir, m.base)
	runWeft(t, m.dir, "tenant", "add", "acme", "--data", "mesh", "--admin", m.admins()[0])
	return m
}

func (m *lostMesh) admins() []string {
	return []string{fmt.Sprintf("https://127.0.0.1:%d", localPort(m.base, "184", "80")), fmt.Sprintf("https://127.0.0.1:%d", localPort(m.base, "185", "80"))}
}

// hub runs a verb of weft hub against both regions.
func (m *lostMesh) hub(verb string, args ...string) (int, string, string) {
	m.t.Helper()
	return weft(m.t, m.dir, append([]string{"hub", verb, "--data", "mesh", "--admin", strings.Join(m.admins(), ",")}, args...)...)
}

// send stores n events at a region's relay.
func (m *lostMesh) send(region string, seed uint64, n int) {
	m.t.Helper()
	c := tenantClient(m.t, filepath.Join(m.dir, "mesh"), "acme", fmt.Sprintf("https://127.0.0.1:%d", localPort(m.base, region, "43")))
	gen := traffic.New(traffic.Options{Seed: seed, Users: 20, Prefix: fmt.Sprintf("s%d-", seed)})
	batch := make([][]byte, n)
	for i := range batch {
		batch[i] = gen.Next(time.Now())
	}
	streamtest.Eventually(m.t, 30*time.Second, func() (bool, string) {
		ctx, cancel := context.WithTimeout(m.t.Context(), 5*time.Second)
		defer cancel()
		results, err := c.Send(ctx, batch)
		for _, r := range results {
			if !r.Settled() {
				return false, fmt.Sprint(err, r)
			}
		}
		return err == nil && len(results) == n, fmt.Sprint(err)
	})
}

// both waits until both regions hold n events, each once.
func (m *lostMesh) both(n int) { m.hold(n, "184", "185") }

func (m *lostMesh) hold(n int, regions ...string) {
	m.t.Helper()
	for _, region := range regions {
		streamtest.Eventually(m.t, 40*time.Second, func() (bool, string) {
			ids := readIDs(m.t, filepath.Join(m.dir, "mesh"), "acme", fmt.Sprintf("tls://127.0.0.1:%d", localPort(m.base, region, "22")))
			for id, k := range ids {
				if k > 1 {
					m.t.Fatalf("%s is stored %d times", id, k)
				}
			}
			return len(ids) == n, fmt.Sprintf("region at %s holds %d of %d events", region, len(ids), n)
		})
	}
}

func (m *lostMesh) store(region string) string {
	return app.StoreDir(filepath.Join(m.dir, "mesh"), region, 0)
}

// state waits until status says something of a region.
func (m *lostMesh) state(region string, want func(serverStatus) bool) {
	m.t.Helper()
	streamtest.Eventually(m.t, 30*time.Second, func() (bool, string) {
		_, out, _ := m.hub("status", "-o", "json")
		var list []serverStatus
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return false, err.Error()
		}
		for _, s := range list {
			if s.Region == region && want(s) {
				return true, ""
			}
		}
		return false, out
	})
}

// An operator meets a region whose disk was replaced, and brings it back.
func TestHubVerbsBringARegionBack(t *testing.T) {
	m := newLostMesh(t)
	m.send("184", 1, 50)
	m.send("185", 2, 70)
	m.both(120)
	if code, out, errs := m.hub("status"); code != exitOK || !strings.Contains(out, "us_1") {
		t.Fatalf("status of a healthy mesh: %d\n%s%s", code, out, errs)
	}
	if code, _, errs := m.hub("rejoin", "--region", "us", "--yes"); code != exitFailure || !strings.Contains(errs, "region us is open under us_1: there is nothing to do") {
		t.Errorf("rejoin of an open region: %d %s", code, errs)
	}
	if code, _, errs := m.hub("rejoin", "--region", "mars"); code != exitFailure || !strings.Contains(errs, `no server of region "mars" answers`) || !strings.Contains(errs, "eu, us") {
		t.Errorf("rejoin of a region that does not exist: %d %s", code, errs)
	}

	us := m.procs[1]
	us.kill()
	if err := os.RemoveAll(m.store("us")); err != nil {
		t.Fatal(err)
	}
	us.start()
	m.state("us", func(s serverStatus) bool { return !s.Open && len(s.Losses) > 0 })
	code, out, errs := m.hub("status")
	t.Logf("$ weft hub status\n%s%s", out, errs)
	if code != exitProblems || !strings.Contains(out, "CLOSED") || !strings.Contains(out, "lost: stream EVENTS of acme is gone") || !strings.Contains(errs, "not open for writes: us") {
		t.Errorf("status of a mesh with a closed region: %d\n%s%s", code, out, errs)
	}

	code, out, errs = m.hub("rejoin", "--region", "us", "--report", "lost.ndjson")
	t.Logf("$ weft hub rejoin --region us --report lost.ndjson\n%s%s", out, errs)
	if code != exitOK || !strings.Contains(out, "would go on as us_2 instead of us_1") || !strings.Contains(out, "Nothing was done") {
		t.Errorf("dry run: %d\n%s%s", code, out, errs)
	}
	m.reported("lost.ndjson", 70)
	m.state("us", func(s serverStatus) bool { return !s.Open && s.Origin == "us_1" })

	code, out, errs = m.hub("rejoin", "--region", "us", "--yes")
	t.Logf("$ weft hub rejoin --region us --yes\n%s%s", out, errs)
	if code != exitOK || !strings.Contains(out, "region us is open as us_2") {
		t.Fatalf("rejoin: %d\n%s%s", code, out, errs)
	}
	m.both(120)
	m.send("185", 3, 30)
	m.send("184", 4, 30)
	m.both(180)
	code, out, errs = m.hub("status")
	t.Logf("$ weft hub status\n%s%s", out, errs)
	if code != exitOK {
		t.Errorf("status after the rejoin: %d\n%s%s", code, out, errs)
	}
}

// reported checks a --report file.
func (m *lostMesh) reported(name string, want int) {
	m.t.Helper()
	raw, err := os.ReadFile(filepath.Join(m.dir, name))
	if err != nil {
		m.t.Fatal(err)
	}
	events := 0
	for line := range bytes.Lines(raw) {
		var l lostLine
		if err := json.Unmarshal(line, &l); err != nil {
			m.t.Fatalf("%s: %v", line, err)
		}
		switch {
		case l.Kind == "event" && l.LostEvent != nil && l.ID != "" && l.Topic != "" && l.Seq > 0:
			events++
		case l.Kind == "stream" && l.Missing != nil && *l.Missing == uint64(want) && l.Newest != nil:
		default:
			m.t.Errorf("a line of the report: %s", line)
		}
	}
	if events != want {
		m.t.Errorf("the report lists %d events, want %d", events, want)
	}
}

// A region that opened by its own evidence and is contradicted later ends its process with an error; a
// supervisor's restart finds it closed. Also: the region's second rejoin, which asks for a restart.
func TestHubProcessEndsWhenItLostData(t *testing.T) {
	m := newLostMesh(t)
	m.send("184", 1, 40)
	m.both(40)
	eu, us := m.procs[0], m.procs[1]
	older := filepath.Join(m.dir, "older")
	m.must(eu.terminate())
	m.must(os.CopyFS(older, os.DirFS(m.store("eu"))))
	eu.start()
	eu.awaitReady()
	m.send("184", 2, 25)
	m.both(65)
	m.must(us.terminate())
	eu.kill()
	m.must(os.RemoveAll(m.store("eu")))
	m.must(os.CopyFS(m.store("eu"), os.DirFS(older)))
	eu.start()
	eu.awaitReady()
	us.start()
	ended := make(chan error, 1)
	m.ends(eu)
	if !strings.Contains(eu.log.String(), "weft hub rejoin --region eu") {
		t.Errorf("the hub ended and said:\n%s", eu.log)
	}
	eu.start()
	m.state("eu", func(s serverStatus) bool { return !s.Open && len(s.Losses) > 0 })
	code, out, errs := m.hub("rejoin", "--region", "eu", "--yes", "--report", "lost.ndjson", "-o", "json")
	var r hub.RejoinReport
	if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil || r.To != "eu_2" || r.DryRun {
		t.Fatalf("rejoin: %d %v\n%s%s", code, err, out, errs)
	}
	m.reported("lost.ndjson", 25)
	m.send("184", 3, 15) // eu_2 is used now
	m.hold(80, "185")    // what the copy lacks comes back by the comparison between the regions

	// The next loss: a store that knows of no epoch has to be started once more.
	eu.kill()
	m.must(os.RemoveAll(m.store("eu")))
	eu.start()
	m.state("eu", func(s serverStatus) bool { return !s.Open && len(s.Losses) > 0 })
	go func() { // the supervisor
		ended <- eu.cmd.Wait()
		eu.start()
	}()
	code, out, errs = m.hub("rejoin", "--region", "eu", "--yes")
	if code != exitOK || !strings.Contains(out, "have to be started again") || !strings.Contains(out, "region eu is open as eu_3") {
		t.Fatalf("second rejoin: %d\n%s%s", code, out, errs)
	}
	if err := <-ended; err == nil {
		t.Error("the hub ended without an error although it has to be started again")
	}
	m.both(80)
}

func (m *lostMesh) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// A region without evidence and without its peer's word is opened by an operator.
func TestHubOpenWithout(t *testing.T) {
	m := newLostMesh(t)
	m.send("184", 1, 10)
	m.both(10)
	for _, p := range m.procs[:2] {
		p.kill()
	}
	m.must(os.WriteFile(filepath.Join(m.store("eu"), "life.json"), []byte(`{"boot":"before"}`), 0o600))
	m.procs[0].start()
	m.state("eu", func(s serverStatus) bool { return !s.Open && len(s.Silent) > 0 })
	code, out, _ := m.hub("status")
	if code != exitProblems || !strings.Contains(out, "waiting") || !strings.Contains(out, "no answer from us") {
		t.Errorf("status: %d\n%s", code, out)
	}
	if code, _, errs := m.hub("rejoin", "--region", "eu", "--yes"); code != exitFailure || !strings.Contains(errs, "region us does not answer") {
		t.Errorf("rejoin while the peer is down: %d %s", code, errs)
	}
	if code, out, _ := m.hub("open", "--region", "eu", "--without", "us"); code != exitOK || !strings.Contains(out, "Nothing was done") {
		t.Errorf("without --yes: %d %s", code, out)
	}
	if code, _, errs := m.hub("open", "--region", "eu", "--without", "mars", "--yes"); code != exitFailure || !strings.Contains(errs, "weft hub status") {
		t.Errorf("without a region that is not waited for: %d %s", code, errs)
	}
	if code, out, errs := m.hub("open", "--region", "eu", "--without", "us", "--yes"); code != exitOK || !strings.Contains(out, "region eu is open as eu_1") {
		t.Fatalf("open: %d %s%s", code, out, errs)
	}
	m.procs[1].start()
	m.procs[1].awaitReady()
	m.send("184", 2, 10)
	m.both(20)
}

// ends waits for a hub to end by itself, with an error.
func (m *lostMesh) ends(p *process) {
	m.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != exitFailure {
			m.t.Errorf("the hub ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		m.t.Fatal("the hub goes on although it lost data")
	}
}

// `weft up` over a lost store waits for its operator, who finds the mesh in mesh.json, and goes on.
func TestUpWaitsForAClosedRegion(t *testing.T) {
	dir, port := t.TempDir(), upPortBase(t)
	first := upProcess(t, dir, "--data", "mesh", "--port-base", port, "--tenant-disk", "256MiB")
	writeEvents(t, filepath.Join(dir, "in.ndjson"), 5, 100)
	runWeft(t, dir, "send", "in.ndjson", "--data", "mesh", "--region", "us")
	if n := len(tailRaw(t, dir, "--region", "eu", "--count", "100")); n == 0 {
		t.Fatal("nothing arrived")
	}
	if err := first.terminate(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(app.StoreDir(filepath.Join(dir, "mesh"), "us", 0)); err != nil {
		t.Fatal(err)
	}
	again := &process{t: t, name: "weft up", dir: dir, args: []string{"up", "--data", "mesh", "--port-base", port}}
	again.start()
	t.Cleanup(again.kill)
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		code, out, errs := weft(t, dir, "hub", "status", "--data", "mesh")
		return code == exitProblems && strings.Contains(out, "CLOSED"), out + errs
	})
	if code, out, errs := weft(t, dir, "hub", "rejoin", "--data", "mesh", "--region", "us", "--yes"); code != exitOK {
		t.Fatalf("rejoin: %d\n%s%s", code, out, errs)
	}
	writeEvents(t, filepath.Join(dir, "more.ndjson"), 6, 50)
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		code, out, errs := weft(t, dir, "send", "more.ndjson", "--data", "mesh", "--region", "us")
		return code == exitOK, out + errs
	})
	seen := bytes.Count(tailRaw(t, dir, "--region", "us", "--from", "all", "--count", "150"), []byte("\n"))
	if seen != 150 {
		t.Errorf("us holds %d events after the rejoin, want 150", seen)
	}
	if err := again.terminate(); err != nil {
		t.Errorf("weft up did not leave cleanly: %v", err)
	}
}
