package nemesis

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// Traffic is what some faults ask of the load.
type Traffic interface {
	// Flood lets another tenant send to the region as fast as it can until ctx ends.
	Flood(ctx context.Context, region string) error
	// Fill sends to a small tenant's stream in the region until it takes no more.
	Fill(ctx context.Context, region string) error
	// Aged waits until all events of a quiet tenant aged out, cuts the link with cut, has events stored in region,
	// heals with heal, and insists that peer receives them.
	Aged(ctx context.Context, f Fault, cut, heal func()) error
	// Credentials uses and ends what producers identify themselves with, or misuses it; restart restarts the region's relay.
	Credentials(ctx context.Context, f Fault, restart func() error) error
}

// Injector inflicts a plan's faults.
type Injector struct {
	Fleet   *fleet.Fleet
	Traffic Traffic
	Disks   map[string][]*lazyfs.FS // by region, one for each server; where there are any
	Clock   func() int64
	Log     func(format string, args ...any)

	mu       sync.Mutex
	losses   []checker.Loss
	problems []string
	struck   []Struck
	spans    []checker.Span
	busy     map[string]*sync.Mutex // by region: of what stops and starts processes there, one at a time
}

// Run inflicts every fault of the plan at its time and returns when all are undone.
func (in *Injector) Run(ctx context.Context, p Plan) {
	in.busy = map[string]*sync.Mutex{}
	for _, r := range p.Regions {
		in.busy[r.Name] = new(sync.Mutex)
	}
	began := time.Now()
	var wg sync.WaitGroup
	for _, f := range p.Faults {
		wg.Go(func() {
			wait(ctx, time.Until(began.Add(f.At)))
			if ctx.Err() != nil {
				return
			}
			in.Log("%s", f.String())
			at := in.Clock()
			over := in.disturb(f.Kind, at)
			if err := in.inflict(ctx, f); err != nil {
				in.mu.Lock()
				in.problems = append(in.problems, fmt.Sprintf("%s: %v", f.Kind, err))
				in.mu.Unlock()
			}
			over()
			if slices.Contains(outageKinds, f.Kind) {
				in.mu.Lock()
				if f.Kind == RollBack && len(in.losses) > 0 {
					at = in.losses[len(in.losses)-1].At // what came before was the making of the older copy
				}
				in.struck = append(in.struck, Struck{f, at, in.Clock()})
				in.mu.Unlock()
			}
		})
	}
	wg.Wait()
	in.Fleet.HealLinks()
}

// Losses are the data that faults destroyed on purpose.
func (in *Injector) Losses() []checker.Loss { return in.losses }

// Disturbed is when faults kept relays from hearing of changes, or from knowing the time.
func (in *Injector) Disturbed() []checker.Span { return in.spans }

// DisturbedAt says whether one of them did so between two times.
func (in *Injector) DisturbedAt(from, to int64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.ContainsFunc(in.spans, func(s checker.Span) bool { return s.From <= to && from <= s.To })
}

// disturb notes that a fault begins; what it returns, that it is over.
func (in *Injector) disturb(k Kind, at int64) (over func()) {
	if slices.Contains(harmless, k) {
		return func() {}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	n := len(in.spans)
	in.spans = append(in.spans, checker.Span{From: at, To: checker.Forever})
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.spans[n].To = in.Clock()
	}
}

// Problems are promises that a fault saw broken itself.
func (in *Injector) Problems() []string { return in.problems }

func (in *Injector) lost(l checker.Loss) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.losses = append(in.losses, l)
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (in *Injector) inflict(ctx context.Context, f Fault) error {
	switch f.Kind {
	case Cut, LongCut, BlackHole, OneWay, SlowLink, LateAcks, LostAcks, Isolate:
		in.link(ctx, f)
		return nil
	case PauseRelay, PauseHub, PauseLedger:
		in.pause(ctx, f)
		return nil
	case HotTenant:
		ctx, cancel := context.WithTimeout(ctx, f.For)
		defer cancel()
		return in.Traffic.Flood(ctx, f.Region)
	case StreamFull:
		return in.Traffic.Fill(ctx, f.Region)
	case AgedOut:
		links := in.Fleet.Links(f.Region, f.Peer)
		return in.Traffic.Aged(ctx, f, func() { set(links, streamtest.Shape{Cut: true}) }, func() { set(links, streamtest.Shape{}) })
	case StepDown:
		return in.stepDown(ctx, f)
	case FullDisk, DiskErrors:
		return in.disk(ctx, f)
	case RevokeKey, RevokeCert, ExpireCert, RotateKey, SkewSender, Replay, Forge:
		return in.Traffic.Credentials(ctx, f, func() error {
			m := in.busy[f.Region]
			m.Lock()
			defer m.Unlock()
			return in.killFor(ctx, in.Fleet.Processes("relay", f.Region), 0)
		})
	default:
		m := in.busy[f.Region]
		m.Lock()
		defer m.Unlock()
		return in.processes(ctx, f)
	}
}

func set(links []*streamtest.Cutter, s streamtest.Shape) {
	for _, c := range links {
		c.Set(s)
	}
}

// link shapes the paths that a fault strikes, and lets everything through again.
func (in *Injector) link(ctx context.Context, f Fault) {
	links := in.Fleet.Links(f.Region, f.Peer)
	var s streamtest.Shape
	switch f.Kind {
	case Cut, LongCut:
		s.Cut = true
	case BlackHole:
		s.Freeze = true
	case OneWay: // the region of the larger name dials
		s.DropForward, s.DropBackward = f.Region > f.Peer, f.Region < f.Peer
	case SlowLink:
		s.Delay, s.Jitter = time.Duration(f.Amount)*time.Millisecond, time.Duration(f.Amount)*time.Millisecond
		s.BytesPerSecond = 1 << 20
	case LateAcks, LostAcks:
		links, s.DropBackward = in.Fleet.Feed(f.Region), true
	case Isolate:
		links, s.Cut = in.Fleet.Routes(f.Region, f.Server), true
	}
	set(links, s)
	wait(ctx, f.For)
	if f.Kind == LostAcks {
		set(links, streamtest.Shape{Cut: true})
		wait(ctx, 50*time.Millisecond)
	}
	set(links, streamtest.Shape{})
}

func (in *Injector) pause(ctx context.Context, f Fault) {
	role := map[Kind]string{PauseRelay: "relay", PauseHub: "hub", PauseLedger: "ledger"}[f.Kind]
	for _, p := range in.Fleet.Processes(role, f.Region) {
		if role == "hub" && p.Server != f.Server {
			continue
		}
		p.Pause()
		defer p.Resume()
	}
	wait(ctx, f.For)
}

// disk lets every write of a region fail for a while.
func (in *Injector) disk(ctx context.Context, f Fault) error {
	disks := in.Disks[f.Region]
	if len(disks) == 0 {
		return fmt.Errorf("region %s has no disk that can fail", f.Region)
	}
	for _, d := range disks {
		d.Fail(errnoOf(f.Kind))
	}
	wait(ctx, f.For)
	for _, d := range disks {
		d.Heal()
	}
	return nil
}

// Struck is a fault that kept a region from serving, on the trial's clock.
type Struck struct {
	Fault
	Began, Undone int64
}

// outageKinds are the faults after which a region's service is timed.
var outageKinds = []Kind{KillRelay, KillHub, KillRegion, WipeRegion, RollBack, PowerCut, PowerLoss, FullDisk, DiskErrors, StartOrders}

// Struck lists the faults that ended processes or let writes fail.
func (in *Injector) Struck() []Struck { return in.struck }
