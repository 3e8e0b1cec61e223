// Package load is what a rig sends through a mesh and what it reads back: producers that record every attempt and
// its answer, readers of every region's copy, and the ledgers of idempotent consumers.
//
// cmd/rig's trials use it. A Writer belongs to the goroutine that runs it; what it recorded may be read when
// Run has returned. Readers may be used from one goroutine each.
package load

import (
	"bytes"
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/traffic"
)

// WriterOptions say what one producer does.
type WriterOptions struct {
	Tenant   string
	Region   string // whose relay it prefers
	Name     string // unique; begins every event id and user id
	Seed     uint64
	Clients  map[string]*client.Client // by region
	Batch    int
	PerSec   int     // events per second that are aimed at; 0: as fast as answers come
	Users    int     // keys
	Poison   float64 // share of events that no relay may accept
	Failover bool    // goes to another region while its own does not answer
	Regional func(eventType string) bool
	Clock    func() int64 // nanoseconds of the rig's monotonic clock
	OnAck    func(region string, at int64)
}

// Writer is one producer. It sends batch after batch, each until every event of it has a final answer, and so
// keeps the order of every user.
type Writer struct {
	WriterOptions
	gen    *traffic.Generator
	rnd    *rand.Rand
	order  []string // regions, the preferred one first
	bodies [][]byte // of the batch under way

	Attempts []checker.Attempt
	Odd      map[string]int // codes of answers that were neither an acknowledgement nor awaited
	Acked    atomic.Int64
}

// NewWriter prepares a producer.
func NewWriter(o WriterOptions) *Writer {
	w := &Writer{
		WriterOptions: o, Odd: map[string]int{}, order: []string{o.Region},
		gen: traffic.New(traffic.Options{Seed: o.Seed, Users: o.Users, Prefix: o.Name + "-"}),
		rnd: rand.New(rand.NewPCG(o.Seed, 0x6c6f6164)), //nolint:gosec // repeatable on purpose
	}
	for region := range o.Clients {
		if region != o.Region && o.Failover {
			w.order = append(w.order, region)
		}
	}
	return w
}

// Run sends until ctx ends. What has no answer then stays unknown.
func (w *Writer) Run(ctx context.Context) {
	next := time.Now()
	for ctx.Err() == nil {
		w.deliver(ctx, w.batch())
		if w.PerSec == 0 {
			continue
		}
		next = next.Add(time.Second * time.Duration(w.Batch) / time.Duration(w.PerSec))
		if now := time.Now(); next.Before(now.Add(-time.Second)) {
			next = now // what an outage took is not caught up in a flood
		}
		sleep(ctx, time.Until(next))
	}
}

func sleep(ctx context.Context, d time.Duration) {
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

// batch makes the next events and returns their indexes in Attempts.
func (w *Writer) batch() []int {
	w.bodies = w.bodies[:0]
	var out []int
	for range w.Batch {
		raw := w.gen.Next(time.Now())
		a := checker.Attempt{Tenant: w.Tenant}
		a.ID, _ = event.Lookup(raw, "/event_id")
		a.Key, _ = event.Lookup(raw, "/key/user_id")
		kind, _ := event.Lookup(raw, "/event_type")
		a.Regional = w.Regional != nil && w.Regional(kind)
		if w.rnd.Float64() < w.Poison {
			a.Poison = true
			raw = poison(raw, w.rnd.IntN(len(poisons)))
		}
		a.Body = Hash(raw)
		out = append(out, len(w.Attempts))
		w.Attempts = append(w.Attempts, a)
		w.bodies = append(w.bodies, raw)
	}
	return out
}

// poisons replace a part of an event by what the relay must refuse.
var poisons = [][2]string{
	{`"schema_version":"1.0.0"`, `"schema_version":"one"`},
	{`"event_type":"`, `"event_type":"!`},
	{`"schema_version":"1.0.0"`, `"schema_version":"1.0.0","schema_version":"1.0.0"`},
	{`"key":{`, `"key":{"user_id":"",`},
}

func poison(raw []byte, which int) []byte {
	return bytes.Replace(raw, []byte(poisons[which][0]), []byte(poisons[which][1]), 1)
}

// Hash is how the rig compares bodies.
func Hash(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

// The pauses between two sends of the same events.
const (
	firstPause = 30 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// deliver sends the events of one batch until each has a final answer.
func (w *Writer) deliver(ctx context.Context, open []int) {
	base := open[0]
	pause := firstPause
	for try := 0; len(open) > 0 && ctx.Err() == nil; try++ {
		region := w.order[0]
		if len(w.order) > 1 && try >= 3 { // own relay first, then in turns
			region = w.order[try%len(w.order)]
		}
		now := w.Clock()
		bodies := make([][]byte, len(open))
		for n, i := range open {
			bodies[n] = w.bodies[i-base]
			w.Attempts[i].Sends = append(w.Attempts[i].Sends, checker.Send{At: now, Region: region})
		}
		// A send is not cut short by the end of the run: an answer on its way would be lost for nothing.
		results, err := w.Clients[region].Send(context.WithoutCancel(ctx), bodies)
		open = w.settle(open, results, region)
		if len(open) > 0 {
			if err != nil && try > 0 {
				sleep(ctx, pause/2+rand.N(pause/2)) //nolint:gosec // jitter
			}
			pause = min(2*pause, lastPause)
		}
	}
}

// settle notes the answers and returns what has no final one.
func (w *Writer) settle(sent []int, results []client.Result, region string) []int {
	now := w.Clock()
	var open []int
	acked := 0
	for n, i := range sent {
		a, r := &w.Attempts[i], &results[n]
		if len(a.Sends) > 1 { // what was on its way until now may have been stored until now
			a.Sends = append(a.Sends, checker.Send{At: now, Region: region})
		}
		switch {
		case r.Settled():
			a.Outcome, a.Region, a.AckedAt = checker.Acked, region, now
			if r.Region != "" {
				a.Region = r.Region
			}
			acked++
		case r.Status == client.Rejected && (len(a.Sends) == 1 || a.Poison):
			a.Outcome = checker.Refused
			if !a.Poison {
				w.Odd["rejected: "+r.Code]++
			}
		case r.Status == client.Rejected: // an earlier send may be stored
			w.Odd["rejected late: "+r.Code]++
		default:
			w.Odd[r.Code]++
			open = append(open, i)
		}
	}
	if acked > 0 {
		w.Acked.Add(int64(acked))
		if w.OnAck != nil {
			w.OnAck(region, now)
		}
	}
	return open
}
