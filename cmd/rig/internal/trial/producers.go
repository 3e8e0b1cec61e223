package trial

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
	"github.com/weft-mesh/weft/cmd/rig/internal/load"
	"github.com/weft-mesh/weft/cmd/rig/internal/nemesis"
	"github.com/weft-mesh/weft/relay/client"
)

// The tenants of a trial.
const (
	mainTenant = "acme"   // most traffic; its consumers keep the ledgers
	hotTenant  = "globex" // little traffic, or as much as it can; some topics forward to the key's home
	fullTenant = "brim"   // whose stream is small
	agedTenant = "aged"   // whose events live for seconds
	keysTenant = "vault"  // whose keys and certificates end
)

// agedFor is how long the events of the aged tenant live.
const agedFor = 12 * time.Second

// tenants lists those that the plan needs.
func tenants(p *nemesis.Plan) []fleet.Tenant {
	const keep = accounts.Duration(48 * time.Hour) // beyond a day no message has a limit of its own
	topic := func(name, scope string, home accounts.Home, keep accounts.Duration) accounts.Topic {
		return accounts.Topic{Name: name, Class: accounts.Standard, Scope: scope, Retention: keep, Home: home, MaxEventAge: accounts.Duration(time.Hour)}
	}
	global, regional := accounts.ScopeGlobal, accounts.ScopeRegional
	out := []fleet.Tenant{
		{Name: mainTenant, Disk: "512MiB", Routes: accounts.Routes{
			Tenant: mainTenant, Default: "events", Rules: []accounts.Rule{{Type: "session.>", Topic: "local"}},
			Topics: []accounts.Topic{topic("events", global, accounts.Local, keep), topic("local", regional, accounts.Local, keep)},
		}},
		{Name: hotTenant, Disk: "512MiB", Routes: accounts.Routes{
			Tenant: hotTenant, Default: "events", Rules: []accounts.Rule{{Type: "deposit.>", Topic: "money"}},
			Topics: []accounts.Topic{topic("events", global, accounts.Local, keep), topic("money", global, accounts.Forward, keep)},
		}},
	}
	if p.HasCredentials() {
		out = append(out, fleet.Tenant{Name: keysTenant, Disk: "64MiB", Routes: accounts.Routes{
			Tenant: keysTenant, Default: "events", Topics: []accounts.Topic{topic("events", global, accounts.Local, keep)},
		}})
	}
	if has(p, nemesis.StreamFull) {
		out = append(out, fleet.Tenant{Name: fullTenant, Disk: "8MiB", Routes: accounts.Routes{
			Tenant: fullTenant, Default: "events", Rules: []accounts.Rule{{Type: "filler.>", Topic: "filler"}},
			Topics: []accounts.Topic{topic("events", global, accounts.Local, keep), topic("filler", regional, accounts.Local, accounts.Duration(5*time.Second))},
		}})
	}
	if has(p, nemesis.AgedOut) {
		out = append(out, fleet.Tenant{Name: agedTenant, Disk: "64MiB", Routes: accounts.Routes{
			Tenant: agedTenant, Default: "events", Topics: []accounts.Topic{topic("events", global, accounts.Local, accounts.Duration(agedFor))},
		}})
	}
	return out
}

func has(p *nemesis.Plan, k nemesis.Kind) bool {
	for _, f := range p.Faults {
		if f.Kind == k {
			return true
		}
	}
	return false
}

// producers are all writers of a trial.
type producers struct {
	t       *trial
	clients map[string]map[string]*client.Client // tenant, region
	names   int

	mu      sync.Mutex
	writers []*load.Writer
	cancel  context.CancelFunc
	running sync.WaitGroup
	senders *senders
}

func newProducers(t *trial) (*producers, error) {
	p := &producers{t: t, clients: map[string]map[string]*client.Client{}, senders: &senders{t: t}}
	for _, tenant := range t.fleet.Tenants {
		c, err := t.fleet.Producer(tenant.Name)
		if err != nil {
			return nil, err
		}
		p.clients[tenant.Name] = map[string]*client.Client{}
		for _, r := range t.plan.Regions {
			o := client.DefaultOptions()
			o.URL, o.TLS, o.Kid, o.Secret = t.fleet.RelayURL(r.Name), c.TLS.Clone(), c.Kid, c.Secret
			o.MaxRetries, o.Deadline, o.Timeout, o.BatchEvents = 0, 0, 6*time.Second, 2000
			if p.clients[tenant.Name][r.Name], err = client.New(o); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// writer adds a producer of a tenant in a region.
func (p *producers) writer(tenant, region string, perSec int) *load.Writer {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names++
	o := load.WriterOptions{
		Tenant: tenant, Region: region, Name: fmt.Sprintf("%s-%s-%d", tenant, region, p.names), Seed: p.t.plan.Seed<<8 + uint64(p.names), //nolint:gosec // positive
		Clients: p.clients[tenant], Batch: max(10, min(perSec/20, 250)), PerSec: perSec, Users: 200, Poison: 0.004,
		Failover: p.names%2 == 0, Clock: p.t.clock,
	}
	if tenant == mainTenant {
		o.Regional = func(kind string) bool { return strings.HasPrefix(kind, "session.") }
		if !o.Failover {
			o.OnAck = p.t.acked
		}
	}
	w := load.NewWriter(o)
	p.writers = append(p.writers, w)
	return w
}

// start lets every tenant's producers send until stop.
func (p *producers) start(ctx context.Context) {
	ctx, p.cancel = context.WithCancel(ctx)
	for _, r := range p.t.plan.Regions {
		for _, w := range []*load.Writer{
			p.writer(mainTenant, r.Name, p.t.plan.Rate/2), p.writer(mainTenant, r.Name, p.t.plan.Rate/2), p.writer(hotTenant, r.Name, p.t.plan.Rate/10),
		} {
			p.running.Go(func() { w.Run(ctx) })
		}
		if has(&p.t.plan, nemesis.StreamFull) {
			w := p.writer(fullTenant, r.Name, 50)
			p.running.Go(func() { w.Run(ctx) })
		}
	}
}

// stop lets the producers finish the batch that they are at.
func (p *producers) stop() {
	p.cancel()
	p.running.Wait()
}

// odd counts the answers that were no acknowledgements, by code.
func (p *producers) odd() map[string]int {
	out := map[string]int{}
	for _, w := range p.writers {
		for code, n := range w.Odd {
			out[code] += n
		}
	}
	return out
}

func (p *producers) close() {
	if p.cancel != nil {
		p.stop()
	}
	p.senders.close()
	for _, regions := range p.clients {
		for c := range maps.Values(regions) {
			c.Close()
		}
	}
}

func (p *producers) attempts() []checker.Attempt {
	var out []checker.Attempt
	for _, w := range p.writers {
		out = append(out, w.Attempts...)
	}
	return append(out, p.senders.attempts...)
}

// Flood is nemesis.Traffic: the hot tenant as fast as it can.
func (p *producers) Flood(ctx context.Context, region string) error {
	w := p.writer(hotTenant, region, 0)
	w.Batch = 250
	w.Run(ctx)
	return nil
}
