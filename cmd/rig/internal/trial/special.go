package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/load"
	"github.com/weft-mesh/weft/cmd/rig/internal/nemesis"
)

// filler begins the ids of events that only take up room, live for seconds and are not part of the history.
const filler = "filler-"

func isFiller(id string) bool { return strings.HasPrefix(id, filler) }

// event is one envelope of the rig's own.
func event(id, kind string, payload int) []byte {
	return fmt.Appendf(nil, `{"event_id":%q,"event_type":%q,"schema_version":"1.0.0","occurred_at":%q,"key":{"user_id":%q},"payload":{"fill":%q}}`,
		id, kind, time.Now().UTC().Format(time.RFC3339Nano), id, incompressible(payload))
}

// incompressible is text that fills a compressed stream as it fills a plain one.
func incompressible(n int) string {
	var b strings.Builder
	for x := uint64(time.Now().UnixNano()); b.Len() < n; { //nolint:gosec // any bits do
		x = x*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, "%016x", x)
	}
	return b.String()[:n]
}

// Fill is nemesis.Traffic: regional events until the small stream takes no more.
func (p *producers) Fill(ctx context.Context, region string) error {
	c := p.clients[fullTenant][region]
	full := 0
	for n := 0; n < 400 && full < 3 && ctx.Err() == nil; n++ {
		batch := make([][]byte, 20)
		for i := range batch {
			batch[i] = event(fmt.Sprintf("%s%s-%d-%d-%d", filler, region, p.t.clock(), n, i), "filler.block", 4000)
		}
		results, _ := c.Send(ctx, batch) // what failed is told by each result
		for _, r := range results {
			if r.Code == "stream_full" {
				full++
				break
			}
		}
	}
	if full == 0 && ctx.Err() == nil {
		p.t.Log("        the small stream of %s was not filled", region)
	}
	return nil
}

// agedEvents are as many as one page of a source is not.
const agedEvents = 300

// Aged is nemesis.Traffic.
func (p *producers) Aged(ctx context.Context, f nemesis.Fault, cut, heal func()) error {
	c := p.clients[agedTenant][f.Region]
	if err := p.sendAll(ctx, c, "aged-first", 20); err != nil {
		return nil // another fault strikes the region; there is nothing to age
	}
	conn, err := p.t.fleet.Owner(agedTenant, f.Peer)
	if err != nil {
		return nil
	}
	r, err := load.NewReader(agedTenant, f.Peer, conn)
	if err != nil {
		return err
	}
	defer r.Close()
	sleep(ctx, agedFor+2*time.Second)
	cut()
	sent := p.sendAll(ctx, c, "aged-second", agedEvents)
	sleep(ctx, f.For)
	heal()
	if sent != nil {
		return nil
	}
	deadline := time.Now().Add(agedFor - f.For - time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if err := r.Poll(ctx); err == nil && len(r.Copy().Events) >= agedEvents {
			return nil
		}
		sleep(ctx, 100*time.Millisecond)
	}
	if have := len(r.Copy().Events); have < agedEvents {
		return fmt.Errorf("after all older events had aged out and the link was cut, %d of %d acknowledged events reached %s", have, agedEvents, f.Peer)
	}
	return nil
}

// sendAll sends until everything is acknowledged.
func (p *producers) sendAll(ctx context.Context, c sender, prefix string, n int) error {
	batch := make([][]byte, n)
	for i := range batch {
		batch[i] = event(fmt.Sprintf("%s-%d", prefix, i), "aged.event", 100)
	}
	for range 20 {
		results, err := c.Send(ctx, batch)
		open := 0
		for _, r := range results {
			if !r.Settled() {
				open++
			}
		}
		if err == nil && open == 0 {
			return nil
		}
		sleep(ctx, 200*time.Millisecond)
	}
	return errors.New("not stored")
}
