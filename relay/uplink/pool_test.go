package uplink_test

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func TestBrokenConnection(t *testing.T) {
	s := streamtest.Server(t, "eu")
	u, _ := url.Parse(s.URL())
	cutter := streamtest.NewCutter(t, u.Host)
	r := newRig(t, func(o *uplink.Options) { o.AckTimeout = 20 * time.Second })
	r.conn = s.Connect()
	o := r.o
	o.Connect = r.connect("nats://" + cutter.Addr())
	var err error
	if r.pool, err = uplink.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	arrived := make(chan *nats.Msg, 1000)
	r.stream("evt.>", func(m *nats.Msg) { arrived <- m })
	done := make(chan []uplink.Result, 1)
	go func() { done <- r.publish(messages(3)) }()
	for range 3 {
		<-arrived
	}
	cutter.Cut()
	begin := time.Now()
	expect(t, <-done, "ack_lost:3")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s to notice", took)
	}
	// nothing is kept for later while the connection is down
	expect(t, r.publish(messages(2)), "stream_unreachable:2")
	if down, all := r.pool.Down(); !all || len(down) != 1 {
		t.Errorf("down: %q, %v", down, all)
	}
	cutter.Heal()
	go func() {
		for m := range arrived {
			_ = m.Respond(ack("eu", 1))
		}
	}()
	defer close(arrived)
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		got := tally(r.publish(messages(2)))
		return got == "map[stored:2]", got
	})
	_ = r.conn.Drain()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return r.conn.IsClosed(), "draining" })
}

func TestTenantsComeAndGo(t *testing.T) {
	var mu sync.Mutex
	dials := map[string]int{}
	broken := true
	now := time.Unix(0, 0)
	r := newRig(t, func(o *uplink.Options) {
		connect := o.Connect
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		o.Connect = func(ctx context.Context, tenant string) (*nats.Conn, error) {
			mu.Lock()
			dials[tenant]++
			refuse := broken
			mu.Unlock()
			if refuse {
				return nil, errors.New("no credential yet")
			}
			return connect(ctx, tenant)
		}
		o.Logger = zap.NewNop()
	})
	r.stream("evt.>", func(m *nats.Msg) { _ = m.Respond(ack("eu", 1)) })
	expect(t, r.publish(messages(1)), "stream_unreachable:1")
	expect(t, r.publish(messages(1)), "stream_unreachable:1")
	if dials["acme"] != 1 {
		t.Errorf("dialed %d times within the pause", dials["acme"])
	}
	mu.Lock()
	broken, now = false, now.Add(time.Second)
	mu.Unlock()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { expect(t, r.publish(messages(1)), "stored:1") })
	}
	wg.Wait()
	if dials["acme"] != 2 {
		t.Errorf("20 requests dialed %d times", dials["acme"]-1)
	}
	r.pool.Retain(func(tenant string) bool { return tenant != "acme" })
	expect(t, r.publish(messages(1)), "stored:1") // opened again
	if dials["acme"] != 3 {
		t.Errorf("dialed %d times", dials["acme"])
	}
	r.pool.Close()
	expect(t, r.publish(messages(1)), "stream_unreachable:1")
	r.pool.Close()
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*uplink.Options){
		"region":  func(o *uplink.Options) { o.Region = "E U" },
		"connect": func(o *uplink.Options) { o.Connect = nil },
		"window":  func(o *uplink.Options) { o.Window = 0 },
		"huge":    func(o *uplink.Options) { o.Window = 1 << 20 },
		"timeout": func(o *uplink.Options) { o.AckTimeout = 0 },
	} {
		o := uplink.DefaultOptions()
		o.Region, o.Connect = "eu", func(context.Context, string) (*nats.Conn, error) { return nil, nil }
		change(&o)
		if _, err := uplink.New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// While a connection is being made, a bounded number of requests waits for it and the rest is shed.
func TestSlowConnect(t *testing.T) {
	dialing, release := make(chan struct{}, 10), make(chan struct{})
	r := newRig(t, func(o *uplink.Options) {
		connect := o.Connect
		o.Connect = func(ctx context.Context, tenant string) (*nats.Conn, error) {
			dialing <- struct{}{}
			<-release
			return connect(ctx, tenant)
		}
	})
	r.stream("evt.>", func(m *nats.Msg) { _ = m.Respond(ack("eu", 1)) })
	const n = 300
	results := make(chan string, n)
	for range n {
		go func() { results <- tally(r.publish(messages(1))) }()
	}
	<-dialing
	for range n - 64 {
		if got := <-results; got != "map[stream_unreachable:1]" {
			t.Errorf("shed with %s", got)
		}
	}
	close(release)
	for range 64 {
		if got := <-results; got != "map[stored:1]" {
			t.Errorf("after waiting: %s", got)
		}
	}
	if len(dialing) != 0 {
		t.Errorf("dialed %d times more", len(dialing))
	}
}
