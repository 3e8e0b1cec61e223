package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/load"
	"github.com/weft-mesh/weft/relay/client"
)

// sender is a client of a relay.
type sender interface {
	Send(ctx context.Context, events [][]byte) ([]client.Result, error)
}

const (
	recoverWithin  = 120 * time.Second
	convergeWithin = 90 * time.Second
)

// recover waits until every process serves. A region that stays closed because its data were lost is let
// rejoin, as its operator would do after reading why.
func (t *trial) recover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverWithin)
	defer cancel()
	for _, p := range t.fleet.Processes("", "") {
		p.Resume()
		if err := p.Start(); err != nil {
			return err
		}
	}
	said := ""
	for {
		var down []error
		for _, r := range t.plan.Regions {
			for _, p := range t.fleet.Processes("", r.Name) {
				if err := p.Ready(); err != nil {
					down = append(down, err)
				}
			}
		}
		if len(down) == 0 {
			t.Log("        every process serves")
			return t.resumed(ctx)
		}
		why := errors.Join(down...).Error()
		if why != said {
			said = why
			t.Log("        %s", why)
		}
		for _, r := range t.plan.Regions {
			t.operate(ctx, r.Name, why)
		}
		sleep(ctx, 200*time.Millisecond)
		if ctx.Err() != nil {
			return errors.Join(down...)
		}
	}
}

// resumed waits until every region acknowledges again.
func (t *trial) resumed(ctx context.Context) error {
	from := t.clock()
	for {
		t.ackMu.Lock()
		silent := ""
		for _, r := range t.plan.Regions {
			if acks := t.acks[r.Name]; len(acks) == 0 || acks[len(acks)-1] < from {
				silent = r.Name
			}
		}
		t.ackMu.Unlock()
		if silent == "" {
			return nil
		}
		sleep(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return fmt.Errorf("region %s says that it is ready and acknowledges nothing", silent)
		}
	}
}

// operate does what the text of a region that is not ready asks for.
func (t *trial) operate(ctx context.Context, region, why string) {
	if !strings.Contains(why, "weft hub rejoin --region "+region) {
		return
	}
	out, err := t.fleet.Command(ctx, region, "hub", "rejoin", "--region", region, "--yes")
	if err != nil {
		t.Log("        rejoin %s: %s", region, strings.TrimSpace(out))
		return
	}
	t.Log("        rejoin %s: done", region)
}

// readers opens one for every tenant that is judged and every region.
func (t *trial) readers() ([]*load.Reader, error) {
	var out []*load.Reader
	for _, tenant := range t.fleet.Tenants {
		if tenant.Name == agedTenant {
			continue // judges itself
		}
		for _, r := range t.plan.Regions {
			conn, err := t.fleet.Owner(tenant.Name, r.Name)
			if err != nil {
				return out, err
			}
			rd, err := load.NewReader(tenant.Name, r.Name, conn)
			if err != nil {
				return out, err
			}
			out = append(out, rd)
		}
	}
	return out, nil
}

// converge waits until all regions hold the same replicated events, and then until the consumers have done the
// effect of each. It says when the first was so.
func (t *trial) converge(ctx context.Context) (equal time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, convergeWithin)
	defer cancel()
	readers, err := t.readers()
	defer func() {
		for _, r := range readers {
			r.Close()
		}
	}()
	if err != nil {
		return equal, err
	}
	if err := t.poll(ctx, func() error { return t.equal(ctx, readers) }); err != nil {
		return equal, err
	}
	equal = time.Now()
	return equal, t.poll(ctx, func() error { return t.effects(readers) })
}

// poll asks until there is no error or ctx ends, and tells once a second what is still missing.
func (t *trial) poll(ctx context.Context, ask func() error) error {
	said := time.Now()
	for {
		err := ask()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if time.Since(said) > time.Second {
			said = time.Now()
			t.Log("        %v", err)
		}
		sleep(ctx, 150*time.Millisecond)
	}
}

func (t *trial) equal(ctx context.Context, readers []*load.Reader) error {
	sets := map[string]map[string]bool{} // by tenant: of the first region
	for _, r := range readers {
		call, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := r.Poll(call)
		cancel()
		if err != nil {
			return fmt.Errorf("%s of %s: %w", r.Tenant, r.Region, err)
		}
		c := r.Copy()
		ids := replicated(&c)
		if first, ok := sets[r.Tenant]; !ok {
			sets[r.Tenant] = ids
		} else if missing, more := difference(first, ids); missing+more > 0 {
			return fmt.Errorf("%s of %s lacks %d events of another region and has %d more", r.Tenant, r.Region, missing, more)
		}
	}
	return nil
}

func replicated(c *checker.Copy) map[string]bool {
	ids := make(map[string]bool, len(c.Events))
	for i := range c.Events {
		if !c.Events[i].Regional {
			ids[c.Events[i].ID] = true
		}
	}
	return ids
}

func difference(a, b map[string]bool) (onlyA, onlyB int) {
	for id := range a {
		if !b[id] {
			onlyA++
		}
	}
	for id := range b {
		if !a[id] {
			onlyB++
		}
	}
	return onlyA, onlyB
}

// effects compares what each consumer did with its region's copy.
func (t *trial) effects(readers []*load.Reader) error {
	for _, r := range readers {
		if r.Tenant != mainTenant {
			continue
		}
		done, err := load.Effects(t.ledgers[r.Region])
		if err != nil {
			return err
		}
		have := make(map[string]bool, len(done))
		for _, id := range done {
			have[id] = true
		}
		for _, e := range r.Copy().Events {
			if !have[e.ID] {
				return fmt.Errorf("the consumer of %s has not handled %s and maybe others, %d are done", r.Region, e.ID, len(done))
			}
		}
	}
	return nil
}

// history collects what the checker judges, every copy read anew from its beginning.
func (t *trial) history(ctx context.Context) (*checker.History, error) {
	h := &checker.History{
		Attempts: t.load.attempts(), Losses: t.inject.Losses(), Probes: t.load.senders.told(), Disturbed: t.inject.Disturbed(),
		Window: t.plan.Window, Regions: map[string][]string{},
	}
	readers, err := t.readers()
	defer func() {
		for _, r := range readers {
			r.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, convergeWithin)
	defer cancel()
	for _, r := range readers {
		for err := r.Poll(ctx); err != nil; err = r.Poll(ctx) {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("read %s of %s: %w", r.Tenant, r.Region, err)
			}
			r.Forget()
			sleep(ctx, 200*time.Millisecond)
		}
		c := r.Copy()
		c.Events = withoutFiller(c.Events)
		h.Copies = append(h.Copies, c)
		h.Regions[r.Tenant] = append(h.Regions[r.Tenant], r.Region)
	}
	for region, file := range t.ledgers {
		done, err := load.Effects(file)
		if err != nil {
			return nil, err
		}
		h.Ledgers = append(h.Ledgers, checker.Ledger{Tenant: mainTenant, Region: region, Group: "ledger", Effects: done})
	}
	return h, nil
}

func withoutFiller(events []checker.Stored) []checker.Stored {
	out := events[:0:0]
	for _, e := range events {
		if !isFiller(e.ID) {
			out = append(out, e)
		}
	}
	return out
}
