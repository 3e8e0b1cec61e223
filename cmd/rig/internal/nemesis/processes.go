package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
)

func errnoOf(k Kind) syscall.Errno {
	if k == FullDisk {
		return syscall.ENOSPC
	}
	return syscall.EIO
}

// Environment of binaries that are built for the rig.
const (
	EnvClock = "WEFT_RIG_CLOCK" // offset of the clock, a Go duration
	EnvBoot  = "WEFT_RIG_BOOT"  // stands for the operating system's boot id
)

// processes are the faults that end and start processes; the caller holds the region.
func (in *Injector) processes(ctx context.Context, f Fault) error {
	hubs, relays := in.Fleet.Processes("hub", f.Region), in.Fleet.Processes("relay", f.Region)
	switch f.Kind {
	case KillRelay:
		return in.killFor(ctx, relays, f.For)
	case KillHub:
		return in.killFor(ctx, hubs[f.Server:f.Server+1], f.For)
	case KillRegion:
		return in.killFor(ctx, append(hubs, relays...), f.For)
	case KillLedger:
		return in.killFor(ctx, in.Fleet.Processes("ledger", f.Region), f.For)
	case Rolling:
		return in.rolling(ctx, f)
	case Skew:
		return in.skew(ctx, relays, f)
	case StartOrders:
		return in.startOrders(ctx, f)
	case WipeOne:
		kill(hubs[f.Server : f.Server+1])
		if err := emptyDir(in.Fleet.Store(f.Region, f.Server)); err != nil {
			return err
		}
		wait(ctx, f.For)
		return start(hubs)
	case WipeRegion:
		return in.wipeRegion(ctx, f, hubs)
	case RollBack:
		return in.rollBack(ctx, f, hubs)
	case CorruptOne:
		return in.corrupt(ctx, f, hubs[f.Server])
	case PowerCut, PowerLoss:
		return in.power(ctx, f, hubs)
	}
	return fmt.Errorf("nobody inflicts %s", f.Kind)
}

func kill(ps []*fleet.Process) {
	var wg sync.WaitGroup
	for _, p := range ps {
		wg.Go(p.Kill)
	}
	wg.Wait()
}

func start(ps []*fleet.Process) error {
	var errs []error
	for _, p := range ps {
		errs = append(errs, p.Start())
	}
	return errors.Join(errs...)
}

func (in *Injector) killFor(ctx context.Context, ps []*fleet.Process, d time.Duration) error {
	kill(ps)
	wait(ctx, d)
	return start(ps)
}

// rolling replaces every process of a region in turn, as an upgrade does.
func (in *Injector) rolling(ctx context.Context, f Fault) error {
	for _, p := range append(in.Fleet.Processes("hub", f.Region), in.Fleet.Processes("relay", f.Region)...) {
		p.Terminate(12 * time.Second)
		wait(ctx, f.For)
		if err := p.Start(); err != nil {
			return err
		}
		ready, cancel := context.WithTimeout(ctx, 20*time.Second)
		_ = p.AwaitReady(ready) // another fault may keep it from it
		cancel()
	}
	return nil
}

func (in *Injector) skew(ctx context.Context, relays []*fleet.Process, f Fault) error {
	kill(relays)
	for _, p := range relays {
		p.SetEnv(fmt.Sprintf("%s=%ds", EnvClock, f.Amount))
	}
	if err := start(relays); err != nil {
		return err
	}
	wait(ctx, f.For)
	kill(relays)
	for _, p := range relays {
		p.SetEnv()
	}
	return start(relays)
}

// startOrders stops the hubs of all regions and starts those of one region before the others'.
func (in *Injector) startOrders(ctx context.Context, f Fault) error {
	all := in.Fleet.Processes("hub", "")
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() { p.Terminate(12 * time.Second) })
	}
	wg.Wait()
	if err := start(in.Fleet.Processes("hub", f.Region)); err != nil {
		return err
	}
	wait(ctx, f.For)
	return start(all)
}

// wipeRegion is the loss of a region for good: it comes back with nothing.
func (in *Injector) wipeRegion(ctx context.Context, f Fault, hubs []*fleet.Process) error {
	kill(hubs)
	at := in.Clock()
	for _, p := range hubs {
		if err := emptyDir(in.Fleet.Store(f.Region, p.Server)); err != nil {
			return err
		}
	}
	wait(ctx, f.For)
	in.lost(checker.Loss{Region: f.Region, From: math.MinInt64, At: at, Back: in.Clock()})
	return start(hubs)
}

// rollBack restores the copy of a region's data that was made For before.
func (in *Injector) rollBack(ctx context.Context, f Fault, hubs []*fleet.Process) error {
	aside := in.Fleet.Dir + "/aside"
	kill(hubs)
	from := in.Clock()
	for _, p := range hubs {
		if err := os.CopyFS(filepath.Join(aside, fmt.Sprint(p.Server)), os.DirFS(in.Fleet.Store(f.Region, p.Server))); err != nil {
			return err
		}
	}
	if err := start(hubs); err != nil {
		return err
	}
	wait(ctx, f.For)
	kill(hubs)
	at := in.Clock()
	for _, p := range hubs {
		store := in.Fleet.Store(f.Region, p.Server)
		if err := emptyDir(store); err != nil {
			return err
		}
		if err := os.CopyFS(store, os.DirFS(filepath.Join(aside, fmt.Sprint(p.Server)))); err != nil {
			return err
		}
	}
	in.lost(checker.Loss{Region: f.Region, From: from, At: at, Back: in.Clock()})
	return start(hubs)
}

// corrupt flips bytes in the newest whole block of a stream on one server of three.
func (in *Injector) corrupt(ctx context.Context, f Fault, p *fleet.Process) error {
	p.Kill()
	blocks, err := filepath.Glob(filepath.Join(in.Fleet.Store(f.Region, f.Server), "jetstream", "*", "streams", "EVENTS", "msgs", "*.blk"))
	if err != nil {
		return err
	}
	flipped := 0
	for _, b := range blocks {
		raw, err := os.ReadFile(b)
		if err != nil {
			return err
		}
		if len(raw) < 4096 {
			continue
		}
		for range 5 {
			raw[rand.IntN(len(raw))] ^= 0xff //nolint:gosec // which bytes does not matter
		}
		if err := os.WriteFile(b, raw, 0o600); err != nil {
			return err
		}
		flipped++
	}
	in.Log("        %d blocks corrupted", flipped)
	wait(ctx, f.For)
	return p.Start()
}

// power cuts the power of a whole region: what no fsync has covered is gone on all servers.
func (in *Injector) power(ctx context.Context, f Fault, hubs []*fleet.Process) error {
	disks := in.Disks[f.Region]
	if len(disks) == 0 {
		return fmt.Errorf("region %s has no disk that loses what was not synced", f.Region)
	}
	for _, d := range disks {
		d.PowerOff()
	}
	at, unsynced := in.Clock(), fleet.Settle
	for _, p := range hubs { // who did not run could not sync
		unsynced = max(unsynced, p.Unsynced())
	}
	kill(hubs)
	wait(ctx, f.For)
	if f.Kind == PowerLoss {
		in.lost(checker.Loss{Region: f.Region, From: at - unsynced.Nanoseconds(), At: at, Back: in.Clock()})
	}
	for i, d := range disks {
		d.PowerOn()
		hubs[i].SetEnv(fmt.Sprintf("%s=%d", EnvBoot, at))
	}
	return start(hubs)
}

// emptyDir removes what is in a directory, not the directory itself: it may be a mount.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
