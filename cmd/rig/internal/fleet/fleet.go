package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// Fleet is a mesh of processes.
type Fleet struct {
	Spec
	slot   *slot
	procs  []*Process
	leaf   map[string][]*streamtest.Cutter // "us-eu": from the soliciting region to each server of the other
	feed   map[string][]*streamtest.Cutter // region: from its relay to each of its servers
	routes map[string]*streamtest.Cutter   // "us-0-1": from server 0 of us to server 1
}

// New makes the files of the mesh and the proxies between its processes; nothing of weft runs yet.
func New(s Spec) (_ *Fleet, err error) {
	f := &Fleet{Spec: s, leaf: map[string][]*streamtest.Cutter{}, feed: map[string][]*streamtest.Cutter{}, routes: map[string]*streamtest.Cutter{}}
	if f.slot, err = takeSlot(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	for _, dir := range []string{f.Data(), f.path("conf"), f.path("log")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	mesh := identity.Mesh{Name: "rig", Home: s.Regions[0].Name}
	for i, r := range s.Regions {
		mesh.Regions = append(mesh.Regions, identity.Region{Name: r.Name, Servers: r.Servers, Weight: 1, Hosts: f.slot.hosts(i, len(s.Regions))})
	}
	if err := identity.Create(f.Data(), mesh); err != nil {
		return nil, err
	}
	for i := range s.Regions {
		if err := f.proxies(i); err != nil {
			return nil, err
		}
		if err := f.processes(i); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *Fleet) path(elem ...string) string {
	return filepath.Join(append([]string{f.Dir}, elem...)...)
}

// Data is the directory of the mesh's files.
func (f *Fleet) Data() string { return f.path("data") }

// Store is the directory in which a server keeps its data.
func (f *Fleet) Store(region string, server int) string {
	return filepath.Join(identity.StoreDir(f.Data(), region), fmt.Sprint(server))
}

func (f *Fleet) index(region string) int {
	for i, r := range f.Regions {
		if r.Name == region {
			return i
		}
	}
	panic("fleet: no region " + region)
}

// proxies puts one on every path that ends in region i.
func (f *Fleet) proxies(i int) error {
	r := f.Regions[i]
	listen := func(at, port, server int) (*streamtest.Cutter, error) {
		return streamtest.Listen(f.slot.addr(i, at, port), f.slot.addr(i, hubHost+server, port))
	}
	for server := range r.Servers {
		c, err := listen(feedHost+server, portNats, server)
		if err != nil {
			return err
		}
		f.feed[r.Name] = append(f.feed[r.Name], c)
		for j, other := range f.Regions {
			if other.Name <= r.Name {
				continue // the region of the larger name solicits
			}
			c, err := listen(leafHost+10*j+server, portLeaf, server)
			if err != nil {
				return err
			}
			f.leaf[other.Name+"-"+r.Name] = append(f.leaf[other.Name+"-"+r.Name], c)
		}
		for from := range r.Servers {
			if from == server {
				continue
			}
			c, err := listen(routeHost+10*from+server, portRoute, server)
			if err != nil {
				return err
			}
			f.routes[fmt.Sprintf("%s-%d-%d", r.Name, from, server)] = c
		}
	}
	return nil
}

func (f *Fleet) processes(i int) error {
	r := f.Regions[i]
	for server := range r.Servers {
		if err := f.process("hub", i, server, f.hubConfig(i, server), f.slot.host(i, hubHost+server)); err != nil {
			return err
		}
	}
	return f.process("relay", i, 0, f.relayConfig(i), f.slot.host(i, relayHost))
}

func (f *Fleet) process(role string, region, server int, config, host string) error {
	r := f.Regions[region]
	name := fmt.Sprintf("%s-%s-%d", role, r.Name, server)
	file := f.path("conf", name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	f.procs = append(f.procs, &Process{
		Name: name, Role: role, Region: r.Name, Server: server, bin: f.Weft, args: []string{role, "--config", file},
		log: f.path("log", name+".log"), url: fmt.Sprintf("http://%s:%d/readyz", host, portMetrics),
	})
	return nil
}

// Add puts a process of another kind under the fleet's care, such as a consumer.
func (f *Fleet) Add(role, region, bin string, args ...string) *Process {
	name := role + "-" + region
	p := &Process{Name: name, Role: role, Region: region, bin: bin, args: args, log: f.path("log", name+".log")}
	f.procs = append(f.procs, p)
	return p
}

// Processes lists those of a role, in one region or, with "", in all.
func (f *Fleet) Processes(role, region string) []*Process {
	var out []*Process
	for _, p := range f.procs {
		if (role == "" || p.Role == role) && (region == "" || p.Region == region) {
			out = append(out, p)
		}
	}
	return out
}

// Start starts every process and waits until all are ready.
func (f *Fleet) Start(ctx context.Context) error {
	for _, p := range f.procs {
		if err := p.Start(); err != nil {
			return err
		}
	}
	return f.AwaitReady(ctx)
}

// AwaitReady waits until every process serves.
func (f *Fleet) AwaitReady(ctx context.Context) error {
	errs := make(chan error, len(f.procs))
	for _, p := range f.procs {
		go func() { errs <- p.AwaitReady(ctx) }()
	}
	var all []error
	for range f.procs {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// Links are the proxies between two regions.
func (f *Fleet) Links(a, b string) []*streamtest.Cutter {
	return append(f.leaf[a+"-"+b], f.leaf[b+"-"+a]...)
}

// Feed are the proxies between a region's relay and the region's servers.
func (f *Fleet) Feed(region string) []*streamtest.Cutter { return f.feed[region] }

// Routes are the proxies between one server of a region and the others, in both directions.
func (f *Fleet) Routes(region string, server int) []*streamtest.Cutter {
	var out []*streamtest.Cutter
	for other := range maxServers {
		for _, name := range []string{fmt.Sprintf("%s-%d-%d", region, server, other), fmt.Sprintf("%s-%d-%d", region, other, server)} {
			if c := f.routes[name]; c != nil {
				out = append(out, c)
			}
		}
	}
	return out
}

// HealLinks lets everything through again, everywhere.
func (f *Fleet) HealLinks() {
	for _, group := range []map[string][]*streamtest.Cutter{f.leaf, f.feed} {
		for _, cs := range group {
			for _, c := range cs {
				c.Set(streamtest.Shape{})
			}
		}
	}
	for _, c := range f.routes {
		c.Set(streamtest.Shape{})
	}
}

// RelayURL is where producers reach a region.
func (f *Fleet) RelayURL(region string) string {
	return "https://" + f.slot.addr(f.index(region), relayHost, portHTTPS)
}

// NatsURLs are where consumers reach a region, past every proxy.
func (f *Fleet) NatsURLs(region string) string {
	i := f.index(region)
	var urls []string
	for server := range f.Regions[i].Servers {
		urls = append(urls, "tls://"+f.slot.addr(i, hubHost+server, portNats))
	}
	return strings.Join(urls, ",")
}

// AdminURLs are the admin addresses of a region's servers.
func (f *Fleet) AdminURLs(region string) []string {
	i := f.index(region)
	var urls []string
	for server := range f.Regions[i].Servers {
		urls = append(urls, "https://"+f.slot.addr(i, hubHost+server, portAdmin))
	}
	return urls
}

// Close ends every process and proxy and waits for them.
func (f *Fleet) Close() {
	var wg sync.WaitGroup
	for _, p := range f.procs {
		wg.Go(func() {
			p.Resume()
			p.Kill()
			p.wg.Wait()
		})
	}
	wg.Wait()
	for _, group := range []map[string][]*streamtest.Cutter{f.leaf, f.feed} {
		for _, cs := range group {
			for _, c := range cs {
				c.Close()
			}
		}
	}
	for _, c := range f.routes {
		c.Close()
	}
	if f.slot != nil {
		_ = f.slot.guard.Close()
	}
}

// Crashes names the processes that ended by themselves, with how often.
func (f *Fleet) Crashes() map[string]int {
	out := map[string]int{}
	for _, p := range f.procs {
		if n := p.Crashes(); n > 0 {
			out[p.Name] = n
		}
	}
	return out
}

// reasons reads why a process is not ready.
func reasons(resp *http.Response) string {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return resp.Status
	}
	return strings.Join(strings.Fields(string(body)), " ")
}
