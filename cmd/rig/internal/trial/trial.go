// Package trial is one run of the rig: a mesh is started, producers send through it while faults strike, then
// everything is healed, and what was acknowledged is compared with what every region holds.
//
// cmd/rig runs trials, several at once; each has its own directory and addresses and shares nothing.
package trial

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
	"github.com/weft-mesh/weft/cmd/rig/internal/nemesis"
)

// Options of a trial.
type Options struct {
	Weft  string // the binary of weft, built for the rig
	Rig   string // the own binary, which also is the consumer process
	Dir   string // made, and removed unless the trial fails or Keep is set
	Keep  bool
	Plant string // damages the history before it is judged: the checker must notice
	Log   func(format string, args ...any)
}

// Outage is how long a region gave no acknowledgement because of one fault.
type Outage struct {
	Kind   nemesis.Kind  `json:"kind"`
	Region string        `json:"region"`
	Total  time.Duration `json:"total"` // from the fault to the first acknowledgement after it was undone
}

// Result is what a trial found.
type Result struct {
	Plan     nemesis.Plan
	Verdict  *checker.Verdict
	Problems []string      // beyond the verdict: not healed, a promise broken
	Healed   time.Duration // from the end of the last fault to equal sets in all regions
	Outages  []Outage
	Odd      map[string]int // answers that were no acknowledgements, by code
	Probed   map[string]int // requests with credentials that end or are misused, by fault and answer
	Crashes  map[string]int // processes that ended by themselves
	Dir      string         // what is left to look at, when something is wrong
}

// OK says that nothing fell.
func (r *Result) OK() bool { return r.Verdict != nil && r.Verdict.OK() && len(r.Problems) == 0 }

// trial is one run under way.
type trial struct {
	Options
	plan    nemesis.Plan
	fleet   *fleet.Fleet
	disks   map[string][]*lazyfs.FS
	inject  *nemesis.Injector
	load    *producers
	began   time.Time
	ackMu   sync.Mutex
	acks    map[string][]int64 // by region
	ledgers map[string]string  // region -> file
}

// Run runs the plan.
func Run(ctx context.Context, p nemesis.Plan, o Options) (*Result, error) {
	t := &trial{Options: o, plan: p, began: time.Now(), acks: map[string][]int64{}, ledgers: map[string]string{}}
	res, err := t.run(ctx)
	t.close()
	if res != nil && res.OK() && err == nil && !o.Keep {
		return res, os.RemoveAll(o.Dir)
	}
	if res != nil {
		res.Dir = o.Dir
	}
	return res, err
}

// clock is the monotonic clock of the trial, in nanoseconds.
func (t *trial) clock() int64 { return int64(time.Since(t.began)) }

func (t *trial) close() {
	if t.load != nil {
		t.load.close()
	}
	if t.fleet != nil {
		t.fleet.Close()
	}
	for _, disks := range t.disks {
		for _, d := range disks {
			if err := d.Close(); err != nil {
				t.Log("unmount: %v", err)
			}
		}
	}
}

func (t *trial) run(ctx context.Context) (*Result, error) {
	if err := t.start(ctx); err != nil {
		return nil, err
	}
	t.Log("%s", t.plan.Describe())
	t.inject = &nemesis.Injector{Fleet: t.fleet, Traffic: t.load, Disks: t.disks, Clock: t.clock, Log: t.Log}
	t.load.start(ctx)
	var faults sync.WaitGroup
	faults.Go(func() { t.inject.Run(ctx, t.plan) })
	sleep(ctx, t.plan.Length)
	faults.Wait()
	res := &Result{Plan: t.plan}
	healed := time.Now()
	res.Problems = append(res.Problems, t.inject.Problems()...)
	if err := t.recover(ctx); err != nil {
		res.Problems = append(res.Problems, "not healed: "+err.Error())
	}
	t.load.stop()
	res.Odd = t.load.odd()
	equal, err := t.converge(ctx)
	if err != nil {
		res.Problems = append(res.Problems, "not converged: "+err.Error())
		equal = time.Now()
	}
	res.Healed = equal.Sub(healed)
	t.load.senders.last(ctx)
	h, err := t.history(ctx)
	if err != nil {
		return res, err
	}
	if t.Plant != "" {
		if err := checker.Plant(h, t.Plant, t.plan.Seed); err != nil {
			return res, err
		}
	}
	res.Verdict, res.Outages, res.Crashes = checker.Check(h), t.outages(), t.fleet.Crashes()
	res.Probed = probed(h.Probes)
	return res, ctx.Err()
}

// start brings up the mesh with its tenants and the consumers.
func (t *trial) start(ctx context.Context) error {
	var err error
	spec := fleet.Spec{
		Dir: t.Dir, Weft: t.Weft, Regions: t.plan.Regions, Tenants: tenants(&t.plan),
		Window: t.plan.Window, RepairEvery: 2 * time.Second, RepairAfter: 4 * time.Second,
	}
	if t.fleet, err = fleet.New(spec); err != nil {
		return err
	}
	if err := t.mount(); err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if err := t.fleet.Start(ready); err != nil {
		return err
	}
	if err := t.fleet.AddTenants(ready); err != nil {
		return err
	}
	for _, r := range t.plan.Regions {
		t.ledgers[r.Name] = filepath.Join(t.Dir, "ledger-"+r.Name)
		p := t.fleet.Add("ledger", r.Name, t.Rig, "ledger", "--nats", t.fleet.NatsURLs(r.Name), "--ca", t.fleet.CA(),
			"--creds", t.fleet.Creds(mainTenant), "--file", t.ledgers[r.Name])
		if err := p.Start(); err != nil {
			return err
		}
	}
	t.load, err = newProducers(t)
	return err
}

// mount puts the data of the plan's lazy region on disks that lose what was not synced.
func (t *trial) mount() error {
	t.disks = map[string][]*lazyfs.FS{}
	for _, r := range t.plan.Regions {
		if r.Name != t.plan.Lazy {
			continue
		}
		for server := range r.Servers {
			backing, store := filepath.Join(t.Dir, fmt.Sprintf("disk-%s-%d", r.Name, server)), t.fleet.Store(r.Name, server)
			for _, dir := range []string{backing, store} {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return err
				}
			}
			fs, err := lazyfs.Mount(backing, store, lazyfs.Options{})
			if err != nil {
				return err
			}
			t.disks[r.Name] = append(t.disks[r.Name], fs)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// outages reads from the acknowledgements how long each fault that ended processes kept a region from serving.
func (t *trial) outages() []Outage {
	t.ackMu.Lock()
	defer t.ackMu.Unlock()
	var out []Outage
	for _, f := range t.inject.Struck() {
		acks := t.acks[f.Region]
		i, _ := slices.BinarySearch(acks, f.Undone)
		if i < len(acks) {
			out = append(out, Outage{Kind: f.Kind, Region: f.Region, Total: time.Duration(acks[i] - f.Began)})
		}
	}
	return out
}

func (t *trial) acked(region string, at int64) {
	t.ackMu.Lock()
	defer t.ackMu.Unlock()
	t.acks[region] = append(t.acks[region], at)
}
