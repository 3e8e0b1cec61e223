package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/traffic"
)

// weftBinary builds the command once for the tests that need real processes.
var weftBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "weft-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "weft")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput() //nolint:gosec // our own code
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// process is one weft process that a test can kill and start again.
type process struct {
	t     *testing.T
	name  string
	args  []string
	dir   string
	ready string // URL that answers 200 when it serves
	cmd   *exec.Cmd
	log   *bytes.Buffer
}

func (p *process) start() {
	p.t.Helper()
	bin, err := weftBinary()
	if err != nil {
		p.t.Fatal(err)
	}
	p.log = new(bytes.Buffer)
	p.cmd = exec.Command(bin, p.args...) //nolint:gosec // our own code
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) awaitReady() {
	p.t.Helper()
	streamtest.Eventually(p.t, 30*time.Second, func() (bool, string) {
		resp, err := http.Get(p.ready) //nolint:noctx // bounded by Eventually
		if err != nil {
			return false, p.name + ": " + err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode == http.StatusOK, p.name + " is not ready: " + resp.Status
	})
}

// kill ends the process as a crash would, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// terminate asks the process to leave and says how it left.
func (p *process) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// localMesh writes the configurations of deploy/local for other ports and starts the four processes.
func localMesh(t *testing.T, dir string, base int) []*process {
	t.Helper()
	runWeft(t, dir, "init", "--data", "mesh", "--regions", "eu,us")
	procs := []*process{}
	for _, role := range []string{"hub", "relay"} {
		for _, region := range []string{"eu", "us"} {
			raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "local", role+"-"+region+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(raw), "./weft-local", "mesh")
			for _, r := range []string{"184", "185"} {
				for _, port := range []string{"22", "32", "43", "80", "90", "91"} {
					text = strings.ReplaceAll(text, ":"+r+port, fmt.Sprintf(":%d", localPort(base, r, port)))
				}
			}
			file := role + "-" + region + ".yaml"
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			metrics := map[string]string{"hub": "90", "relay": "91"}[role]
			prefix := map[string]string{"eu": "184", "us": "185"}[region]
			p := &process{t: t, name: role + " " + region, dir: dir, args: []string{role, "--config", file},
				ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", localPort(base, prefix, metrics))}
			p.start()
			t.Cleanup(func() {
				p.kill()
				if t.Failed() {
					t.Logf("%s printed:\n%s", p.name, p.log)
				}
			})
			procs = append(procs, p)
		}
	}
	for _, p := range procs {
		p.awaitReady()
	}
	return procs
}

// localPort places a port of deploy/local in a block of 100 ports.
func localPort(base int, region, port string) int {
	n := map[string]int{"22": 1, "32": 2, "43": 3, "80": 4, "90": 5, "91": 6}[port]
	if region == "185" {
		n += 10
	}
	return base + n
}

func runWeft(t *testing.T, dir string, args ...string) string {
	t.Helper()
	bin, err := weftBinary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...) //nolint:gosec // our own code
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("weft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// tenantClient is a client of the relay with a tenant's files.
func tenantClient(t *testing.T, data, tenant, url string) *client.Client {
	t.Helper()
	dir := filepath.Join(data, "tenants", tenant)
	tlsc, err := pki.ClientTLS(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem"), filepath.Join(data, "pki", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, tenant+"-1.key"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	o := client.DefaultOptions()
	o.URL, o.TLS, o.Kid, o.Secret = url, tlsc, tenant+"-1", keyring.Secret(secret)
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// readIDs reads a whole EVENTS stream with the owner's credentials and returns how often each id is stored.
func readIDs(t *testing.T, data, tenant, url string) map[string]int {
	t.Helper()
	nc, err := nats.Connect(url, nats.RootCAs(filepath.Join(data, "pki", "ca.pem")), nats.UserCredentials(filepath.Join(data, "tenants", tenant, "consumer.creds")))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cons, err := js.OrderedConsumer(ctx, "EVENTS", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"evt.*.*.*.>"}})
	if err != nil {
		t.Fatal(err)
	}
	info, err := cons.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = js.DeleteConsumer(ctx, "EVENTS", info.Name) }() // an account has room for so many
	ids := map[string]int{}
	if info.NumPending == 0 {
		return ids
	}
	it, err := cons.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		ids[m.Headers().Get(header.MsgID)]++
		if meta, err := m.Metadata(); err != nil || meta.NumPending == 0 {
			return ids
		}
	}
}

// Four real processes, as deploy/local describes them: whatever a relay acknowledged is in both regions, once,
// although each process is killed in turn while events flow.
func TestProcessesSurviveSIGKILL(t *testing.T) {
	dir := t.TempDir()
	base := streamtest.Ports(t).Base()
	procs := localMesh(t, dir, base)
	data := filepath.Join(dir, "mesh")
	runWeft(t, dir, "tenant", "add", "acme", "--data", "mesh", "--admin", fmt.Sprintf("https://127.0.0.1:%d", localPort(base, "184", "80")))
	c := tenantClient(t, data, "acme", fmt.Sprintf("https://127.0.0.1:%d", localPort(base, "184", "43")))

	acked := sendWhile(t, c, func(more func(int)) {
		for _, p := range procs {
			more(200)
			p.kill()
			p.start()
			p.awaitReady()
		}
		more(200)
	})
	for _, region := range []string{"184", "185"} {
		url := fmt.Sprintf("tls://127.0.0.1:%d", localPort(base, region, "22"))
		streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
			ids := readIDs(t, data, "acme", url)
			missing, double := 0, 0
			for id := range acked {
				if ids[id] == 0 {
					missing++
				}
			}
			for _, n := range ids {
				if n > 1 {
					double++
				}
			}
			return missing+double == 0, fmt.Sprintf("region at %s: of %d acknowledged events %d are missing, %d stored twice", url, len(acked), missing, double)
		})
	}
	t.Logf("%d acknowledged events are in both regions", len(acked))
	for _, p := range procs[2:] {
		if err := p.terminate(); err != nil {
			t.Errorf("%s did not leave cleanly: %v", p.name, err)
		}
	}
}

// sendWhile sends batches until during returns and lists the ids that were acknowledged. during waits with
// more for further acknowledgements.
func sendWhile(t *testing.T, c *client.Client, during func(more func(n int))) map[string]bool {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	acked := map[string]bool{}
	var count atomic.Int64
	var last atomic.Value
	var wg sync.WaitGroup
	wg.Go(func() {
		gen := traffic.New(traffic.Options{Seed: 7, Users: 50})
		for ctx.Err() == nil {
			batch := make([][]byte, 20)
			for i := range batch {
				batch[i] = gen.Next(time.Now())
			}
			results, err := c.Send(ctx, batch) // what failed is told by each result
			last.Store(fmt.Sprint(err))
			for _, r := range results {
				if r.Settled() {
					acked[r.EventID] = true
					count.Add(1)
				}
			}
		}
	})
	defer func() {
		stop()
		wg.Wait()
	}()
	during(func(n int) {
		t.Helper()
		want := count.Load() + int64(n)
		streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
			return count.Load() >= want, fmt.Sprintf("%d events acknowledged, %d wanted; the last send said %v", count.Load(), want, last.Load())
		})
	})
	stop()
	wg.Wait()
	return acked
}

// upProcess starts `weft up` and returns once it said that it is ready.
func upProcess(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	bin, err := weftBinary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: "weft up", dir: dir, log: new(bytes.Buffer)}
	p.cmd = exec.Command(bin, append([]string{"up"}, args...)...) //nolint:gosec // our own code
	p.cmd.Dir, p.cmd.Stderr = dir, p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "The mesh is ready") {
			go func() {
				for lines.Scan() { // keep the pipe empty
				}
			}()
			return p
		}
	}
	_ = p.cmd.Wait()
	t.Fatalf("weft up ended before it was ready:\n%s", p.log)
	return nil
}
