package broker_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// TestMain looks for goroutines that outlive their server. Two of the server's own wait for an answer from
// another region for up to 30 s and do not look whether the server still runs.
func TestMain(m *testing.M) {
	const stream = "github.com/nats-io/nats-server/v2/server.(*stream)."
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction(stream+"trySetupSourceConsumer.func3"),
		goleak.IgnoreTopFunction(stream+"tryDeleteSourcingConsumer.func1"))
}

// mesh is some regions under one operator.
type mesh struct {
	t       *testing.T
	op      *operator
	pki     *pki
	ports   *streamtest.PortBlock
	next    int
	dir     string
	regions []*region
	cutters map[string]*streamtest.Cutter // "solicitor acceptor"
	tenants map[string]*identity
}

// region is its servers and the links that it solicits.
type region struct {
	mesh    *mesh
	name    string
	sys     *identity
	options []broker.Options
	servers []*broker.Broker
}

// newMesh starts regions, given by name and number of servers, without links or tenants.
func newMesh(t *testing.T, sizes map[string]int) *mesh {
	t.Helper()
	m := &mesh{t: t, op: newOperator(t), pki: newPKI(t), ports: streamtest.Ports(t), dir: t.TempDir(),
		cutters: map[string]*streamtest.Cutter{}, tenants: map[string]*identity{}}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		m.startRegion(name, sizes[name])
	}
	for _, s := range m.regions {
		for _, h := range m.regions {
			if s.name > h.name {
				m.cutters[s.name+" "+h.name] = streamtest.NewCutter(t, fmt.Sprintf("127.0.0.1:%d", h.options[0].Leaf.Port))
			}
		}
	}
	return m
}

func (m *mesh) port() int { m.next++; return m.ports.Port(m.next) }

func (m *mesh) startRegion(name string, servers int) {
	r := &region{mesh: m, name: name, sys: m.op.account("SYS", nil)}
	var routes []string
	for i := range servers {
		r.options = append(r.options, m.serverOptions(r, i))
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", r.options[i].Route.Port))
	}
	for i := range servers {
		if servers > 1 {
			r.options[i].Cluster = &broker.Cluster{Name: name, Routes: routes}
		} else {
			r.options[i].Route = broker.Listen{}
		}
		b := must(broker.New(r.options[i]))(m.t)
		start(m.t, b)
		r.servers = append(r.servers, b)
	}
	m.regions = append(m.regions, r)
	streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) { return r.servers[0].Quorum(), name + " has no quorum" })
}

func (m *mesh) serverOptions(r *region, i int) broker.Options {
	o := broker.DefaultOptions()
	o.Name, o.Region = fmt.Sprintf("%s-%d", r.name, i), r.name
	o.StoreDir, o.MaxStore = filepath.Join(m.dir, o.Name), 1<<30
	o.Client.Port, o.Leaf.Port, o.Route.Port = m.port(), m.port(), m.port()
	o.ClientTLS = m.pki.server(tls.VerifyClientCertIfGiven)
	o.LeafTLS = m.pki.server(tls.RequireAndVerifyClientCert)
	o.RouteTLS = m.pki.server(tls.RequireAndVerifyClientCert)
	o.LeafClientTLS = m.pki.client()
	o.OperatorJWT, o.SystemAccount = m.op.token, r.sys.public
	o.Accounts = map[string]string{r.sys.public: r.sys.token}
	o.Logger = quiet(m.t)
	return o
}

// quiet logs with -v only, and from errors on.
func quiet(t *testing.T) *zap.Logger {
	if !testing.Verbose() {
		return zap.NewNop()
	}
	return zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
}

func start(t *testing.T, b *broker.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := b.Start(ctx); err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { stop(t, b) })
}

func stop(t *testing.T, b *broker.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func (m *mesh) region(name string) *region {
	i := slices.IndexFunc(m.regions, func(r *region) bool { return r.name == name })
	return m.regions[i]
}

// addTenant stores the account everywhere and sets the links; it does not make streams.
func (m *mesh) addTenant(name string) *identity {
	m.t.Helper()
	a := m.op.tenant(name)
	m.tenants[name] = a
	for _, r := range m.regions {
		for _, b := range r.servers {
			if err := b.StoreAccount(a.public, a.token); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	m.setLinks()
	m.waitLinks()
	return a
}

func (m *mesh) setLinks() {
	m.t.Helper()
	for _, s := range m.regions {
		links := m.links(s)
		for _, b := range s.servers {
			if err := b.SetLinks(links); err != nil {
				m.t.Fatal(err)
			}
		}
	}
}

// links are what region s solicits: one for each tenant and each region of a smaller name.
func (m *mesh) links(s *region) []broker.Link {
	var out []broker.Link
	for name, a := range m.tenants {
		for _, h := range m.regions {
			if s.name <= h.name {
				continue
			}
			path := filepath.Join(m.dir, fmt.Sprintf("%s-%s-%s.creds", name, s.name, h.name))
			if _, err := os.Stat(path); err != nil {
				token, seed := a.user(m.t, toward(s.name, h.name), toward(h.name, s.name))
				if err := os.WriteFile(path, must(jwt.FormatUserConfig(token, seed))(m.t), 0o600); err != nil {
					m.t.Fatal(err)
				}
			}
			urls := []string{"tls://" + m.cutters[s.name+" "+h.name].Addr()}
			for _, o := range h.options[1:] {
				urls = append(urls, fmt.Sprintf("tls://127.0.0.1:%d", o.Leaf.Port))
			}
			out = append(out, broker.Link{Account: a.public, URLs: urls, Credentials: path})
		}
	}
	return out
}

// toward is what region x may send to region y over a leaf link.
func toward(x, y string) []string {
	return []string{
		"evt." + y + "_1.>", "evt." + y + "_2.>",
		"$JS." + y + ".API.CONSUMER.CREATE.EVENTS.*.evt." + y + "_1.g.>",
		"$JS." + y + ".API.CONSUMER.CREATE.EVENTS.*.evt." + y + "_2.g.>",
		"$JS." + y + ".API.CONSUMER.CREATE.EVENTS.*.evt." + x + "_1.g.>",
		"$JS." + y + ".API.CONSUMER.weft",
		"$JS.FC.EVENTS.>", "$JSC.R.>", "_SRC." + y + "." + x + ".>", "_INB." + y + ".>",
	}
}

// waitLinks waits until every server has the links that it solicits.
func (m *mesh) waitLinks() {
	m.t.Helper()
	for _, r := range m.regions {
		want := len(m.links(r))
		for i, b := range r.servers {
			streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
				n := 0
				for _, l := range b.Leaves() {
					if l.Solicited {
						n++
					}
				}
				return n == want, fmt.Sprintf("%s-%d solicits %d links, want %d", r.name, i, n, want)
			})
		}
	}
}

func origin(region string) subject.Origin { return subject.Origin{Region: region, Epoch: 1} }

// eventsConfig is the tenant's stream in a region.
func (m *mesh) eventsConfig(r *region) jetstream.StreamConfig {
	spec := streams.EventsSpec{Self: origin(r.name), Replicas: len(r.servers), MaxBytes: 16 << 20, MaxAge: 24 * time.Hour}
	for _, o := range m.regions {
		if o != r {
			spec.Peers = append(spec.Peers, origin(o.name))
		}
	}
	return streams.EventsConfig(spec)
}

// site is a tenant's client in a region.
type site struct {
	t      *testing.T
	region *region
	conn   *nats.Conn
	js     jetstream.JetStream
}

func (m *mesh) site(tenant, region string, opts ...nats.Option) *site {
	m.t.Helper()
	r := m.region(region)
	conn := r.connect(0, m.tenants[tenant], opts...)
	return &site{m.t, r, conn, must(jetstream.New(conn))(m.t)}
}

func (r *region) connect(server int, a *identity, opts ...nats.Option) *nats.Conn {
	t := r.mesh.t
	t.Helper()
	base := []nats.Option{a.credentials(t), nats.Secure(&tls.Config{RootCAs: r.mesh.pki.pool, MinVersion: tls.VersionTLS12}),
		nats.CustomInboxPrefix(subject.InboxPrefix(r.name)), nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}
	conn, err := nats.Connect(r.servers[server].ClientURL(), append(base, opts...)...)
	if err != nil {
		t.Fatalf("connect in %s: %v", r.name, err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// openStreams makes the tenant's stream in every region, then joins them, and returns a client in each, by
// region. A source that asks for a stream before it exists may wait half a minute for its next attempt.
func (m *mesh) openStreams(tenant string) map[string]*site {
	m.t.Helper()
	out := map[string]*site{}
	for _, joined := range []bool{false, true} {
		for _, r := range m.regions {
			if out[r.name] == nil {
				out[r.name] = m.site(tenant, r.name)
			}
			c := m.eventsConfig(r)
			if !joined {
				c.Sources = nil
			}
			if _, err := streams.Apply(m.t.Context(), out[r.name].js, []jetstream.StreamConfig{c}); err != nil {
				m.t.Fatalf("stream in %s: %v", r.name, err)
			}
		}
	}
	return out
}

// publish stores n events of the site's own region and waits for their acknowledgements.
func (s *site) publish(from, n int) {
	s.t.Helper()
	const window = 500
	for ; n > window; n -= window {
		s.publish(from, window)
		from += window
	}
	acks := make([]jetstream.PubAckFuture, 0, n)
	for i := from; i < from+n; i++ {
		msg := nats.NewMsg(fmt.Sprintf("evt.%s.g.%d.orders.order.created", origin(s.region.name), i%64))
		msg.Header.Set(nats.MsgIdHdr, fmt.Sprintf("%s-%d", s.region.name, i))
		msg.Data = fmt.Appendf(nil, "%d", i)
		acks = append(acks, must(s.js.PublishMsgAsync(msg))(s.t))
	}
	for _, a := range acks {
		select {
		case ack := <-a.Ok():
			if ack.Domain != s.region.name || ack.Stream != subject.EventsStream || ack.Duplicate {
				s.t.Fatalf("acknowledged by %s@%s (duplicate %t), want EVENTS@%s", ack.Stream, ack.Domain, ack.Duplicate, s.region.name)
			}
		case err := <-a.Err():
			s.t.Fatalf("publish in %s: %v", s.region.name, err)
		case <-s.t.Context().Done():
			s.t.Fatal("publish: the test ended")
		}
	}
}

// waitCount waits until the stream holds n messages, and sees that it does not hold more.
func (s *site) waitCount(n int, within time.Duration) {
	s.t.Helper()
	streamtest.Eventually(s.t, within, func() (bool, string) {
		have, err := s.count()
		if err != nil {
			return false, err.Error()
		}
		if have > n {
			s.t.Fatalf("EVENTS@%s holds %d messages, want %d: duplicates", s.region.name, have, n)
		}
		return have == n, fmt.Sprintf("EVENTS@%s holds %d of %d", s.region.name, have, n)
	})
}

func (s *site) count() (int, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	st, err := s.js.Stream(ctx, subject.EventsStream)
	if err != nil {
		return 0, err
	}
	return int(st.CachedInfo().State.Msgs), nil
}

// silence is how long the stream's first source has heard nothing.
func (s *site) silence() time.Duration {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	st, err := s.js.Stream(ctx, subject.EventsStream)
	if err != nil || len(st.CachedInfo().Sources) == 0 {
		return 0
	}
	return st.CachedInfo().Sources[0].Active
}

// contents reads the whole stream: message id -> payload, and fails on a message stored twice or out of the
// order in which its origin published.
func (s *site) contents(n int) map[string]string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	cons := must(s.js.OrderedConsumer(ctx, subject.EventsStream, jetstream.OrderedConsumerConfig{}))(s.t)
	it := must(cons.Messages())(s.t)
	defer it.Stop()
	out := make(map[string]string, n)
	last := map[string]int{}
	for range n {
		msg := must(it.Next(jetstream.NextContext(ctx)))(s.t)
		id := msg.Headers().Get(nats.MsgIdHdr)
		if _, ok := out[id]; ok {
			s.t.Fatalf("EVENTS@%s holds %s twice", s.region.name, id)
		}
		out[id] = string(msg.Data())
		var from string
		var seq int
		if _, err := fmt.Sscanf(id, "%2s-%d", &from, &seq); err == nil {
			if seq < last[from] {
				s.t.Fatalf("EVENTS@%s: %s comes after %d", s.region.name, id, last[from])
			}
			last[from] = seq
		}
	}
	return out
}

// converge waits until every site holds n messages and compares what they hold.
func converge(t *testing.T, sites map[string]*site, n int, within time.Duration) {
	t.Helper()
	var first map[string]string
	for _, name := range slices.Sorted(maps.Keys(sites)) {
		s := sites[name]
		s.waitCount(n, within)
		got := s.contents(n)
		if first == nil {
			first = got
		} else if !maps.Equal(first, got) {
			t.Fatalf("EVENTS@%s differs from the others", name)
		}
	}
}
