package relay_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestControlStateTakesEffect(t *testing.T) {
	r := newRig(t)
	if a := r.send(post{body: ev()}); a.status != 202 {
		t.Fatal(a.text)
	}
	old := r.secrets["acme-1"]
	r.control.change(func(s *control.State) { s.Keys["acme-1"] = r.key("acme-1", "acme", "default") })
	if a := r.send(post{body: ev()}); a.status != 202 {
		t.Errorf("with the key's new secret: %s", a.text)
	}
	r.secrets["acme-1"] = old
	if a := r.send(post{body: ev()}); a.Code != "signature_invalid" {
		t.Errorf("with the key's old secret: %d %s", a.status, a.text)
	}
	r.control.change(func(s *control.State) { s.Tenants["acme"] = &accounts.Tenant{Name: "acme", State: accounts.Removed} })
	if a := r.send(post{body: ev()}); a.Code != "tenant_inactive" {
		t.Errorf("of a removed tenant: %d %s", a.status, a.text)
	}
	// its connection is closed; another tenant's opens
	opened := r.opened.Load()
	if a := r.send(post{body: ev(), who: globex}); a.status != 202 || r.opened.Load() != opened+1 {
		t.Errorf("of another tenant: %d %s", a.status, a.text)
	}
	r.control.change(func(s *control.State) { delete(s.Regions, "eu") })
	if a := r.send(post{body: ev(), who: globex}); a.status != 503 || a.Code != "region_unknown" {
		t.Errorf("of a region that nobody knows: %d %s", a.status, a.text)
	}
	if reasons := r.relay.Ready(); len(reasons) != 1 || !strings.Contains(reasons[0], "region eu") {
		t.Errorf("ready: %q", reasons)
	}
}

// answerLate takes the subjects away from the stream and answers in its place once release is closed.
func (r *rig) answerLate(release <-chan struct{}) (arrived <-chan struct{}) {
	s, err := r.js.Stream(r.t.Context(), subject.EventsStream)
	r.must(err)
	c := s.CachedInfo().Config
	c.Subjects = []string{"late.>"}
	_, err = r.js.UpdateStream(r.t.Context(), c)
	r.must(err)
	ch := make(chan struct{}, 100)
	_, err = r.conn.Subscribe("evt.eu_1.>", func(m *nats.Msg) {
		ch <- struct{}{}
		go func() {
			<-release
			_ = m.Respond([]byte(`{"stream":"EVENTS","domain":"eu","seq":1}`))
		}()
	})
	r.must(err)
	r.must(r.conn.Flush())
	return ch
}

// A stop while requests wait for their acknowledgements answers them all, and what it answers is stored.
func TestStopDrains(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		r := newRig(t)
		release := make(chan struct{})
		arrived := r.answerLate(release)
		const n = 10
		r.client(acme, http1)
		answers := make(chan answer, n)
		for range n {
			go func() { answers <- r.send(post{http1: http1, body: ev()}) }()
		}
		for range n {
			<-arrived
		}
		stopped := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			stopped <- r.relay.Stop(ctx)
		}()
		streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
			reasons := r.relay.Ready()
			return len(reasons) == 1 && strings.Contains(reasons[0], "stopping"), fmt.Sprint(reasons)
		})
		close(release)
		for range n {
			if a := <-answers; a.status != 202 {
				t.Errorf("http1=%v: %d %s", http1, a.status, a.text)
			}
		}
		if err := <-stopped; err != nil {
			t.Errorf("http1=%v: stop: %v", http1, err)
		}
		if _, err := r.client(acme, http1).Get("https://" + r.relay.Addr()); err == nil {
			t.Error("it still answers")
		}
		if err := r.relay.Start(); fault.KindOf(err) != fault.Conflict {
			t.Errorf("started again: %v", err)
		}
	}
}

// A HTTP/2 connection that becomes ready during the stop is not told to go away, and must not hold it up.
func TestStopDoesNotWaitForIdleConnections(t *testing.T) {
	r := newRig(t)
	plain, err := net.Dial("tcp", r.relay.Addr())
	r.must(err)
	defer func() { _ = plain.Close() }()
	stopped := make(chan error, 1)
	go func() { stopped <- r.relay.Stop(context.Background()) }()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		c, err := net.Dial("tcp", r.relay.Addr())
		if err == nil {
			_ = c.Close()
		}
		return err != nil, "the relay still takes connections"
	})
	conf := r.client(acme, false).Transport.(*http.Transport).TLSClientConfig.Clone()
	conf.ServerName, conf.NextProtos = "localhost", []string{"h2"}
	conn := tls.Client(plain, conf)
	_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00")) // preface, SETTINGS
	r.must(err)
	select {
	case err := <-stopped:
		r.must(err)
	case <-time.After(20 * time.Second):
		t.Fatal("the stop waits for a connection that does nothing")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	var o relay.Options
	r := newRig(t, func(x *relay.Options) { o = *x })
	o.Registerer = nil
	second, err := relay.New(o)
	r.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		reasons := second.Ready()
		return len(reasons) == 0, fmt.Sprint(reasons)
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	var good relay.Options
	r := newRig(t, func(o *relay.Options) { good = *o })
	good.Registerer = nil
	for name, change := range map[string]func(*relay.Options){
		"origin":     func(o *relay.Options) { o.Origin = "EU" },
		"id":         func(o *relay.Options) { o.ID = "r 1" },
		"listen":     func(o *relay.Options) { o.Listen = "x" },
		"tls":        func(o *relay.Options) { o.TLS = nil },
		"client CAs": func(o *relay.Options) { o.TLS = o.TLS.Clone(); o.TLS.ClientCAs = nil },
		"control":    func(o *relay.Options) { o.Control = nil },
		"sealer":     func(o *relay.Options) { o.Sealer = nil },
		"window":     func(o *relay.Options) { o.Limits.Window = 0 },
		"body":       func(o *relay.Options) { o.Limits.BodyBytes = 0 },
		"timeout":    func(o *relay.Options) { o.Limits.ReadTimeout = 0 },
	} {
		o := good
		change(&o)
		if _, err := relay.New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.Listen = r.relay.Addr()
	if _, err := relay.New(good); fault.CodeOf(err) != "listen" || !strings.Contains(err.Error(), good.Listen) {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestConfiguredHosts(t *testing.T) {
	r := newRig(t, func(o *relay.Options) { o.Hosts = []string{"Events.Example.com", "other.example.com:8443"} })
	port := r.relay.Addr()[strings.LastIndexByte(r.relay.Addr(), ':'):]
	for host, want := range map[string]int{
		"events.example.com": 202, "EVENTS.example.com" + port: 202, "other.example.com:8443": 202,
		"other.example.com": 421, "127.0.0.1" + port: 421, "events.example.com.": 421, "events.example.com:1": 421,
	} {
		if a := r.send(post{body: ev(), host: host, http1: true}); a.status != want {
			t.Errorf("%s: %d %s", host, a.status, a.text)
		}
	}
}

func TestConcurrentTenants(t *testing.T) {
	r := newRig(t)
	r.client(acme, false)
	r.client(globex, false)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				var lines []string
				for j := range 50 {
					lines = append(lines, ev("event_id", fmt.Sprintf(`"w%d-%d-%d"`, w, i, j)))
				}
				a := r.send(post{body: strings.Join(lines, "\n"), ndjson: true, who: []pki.Principal{acme, globex}[w%2]})
				if a.status != 200 || a.Stored != 50 {
					t.Errorf("%d %s", a.status, a.text)
				}
			}
		})
	}
	wg.Wait()
	if n := r.stored(); n != 8*20*50 {
		t.Errorf("%d stored", n)
	}
	if r.opened.Load() != 2 {
		t.Errorf("%d connections for two tenants", r.opened.Load())
	}
	if n := r.counted("weft_relay_events_total"); n != 8*20*50 {
		t.Errorf("%v events are counted", n)
	}
	if n := r.counted("weft_relay_requests_total"); n != 8*20 {
		t.Errorf("%v requests are counted", n)
	}
}
