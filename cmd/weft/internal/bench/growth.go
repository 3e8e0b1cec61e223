package bench

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
)

const rateUnit = "events/s"

// growth measures what one event costs while one thing grows and all others stay: with a mesh of its own for each
// number of regions and tenants, and one mesh for everything else.
func growth(b *bench) error {
	b.out.Load = fmt.Sprintf("where nothing else is said: %d-byte events, %s in a request, %d connections at full speed", b.o.EventBytes, plural(b.o.Batch, "event"), b.o.Connections)
	b.out.Baseline = "the first point of each curve"
	for _, grow := range []func() ([]report.Curve, error){b.growBatch, b.growBytes, b.growKeys, b.growStored, b.growRegions, b.growTenants} {
		curves, err := grow()
		if err != nil {
			return err
		}
		for _, c := range curves {
			b.out.Curves = append(b.out.Curves, c)
			b.judge(c)
		}
	}
	for code, n := range b.refusals {
		b.note("%d answers were %s", n, code)
	}
	return nil
}

// judge says how a cost grows: doubling the variable may not more than double it. A rate is no cost.
func (b *bench) judge(c report.Curve) {
	first, last := c.Points[0], c.Points[len(c.Points)-1]
	if first.Y <= 0 || first.X <= 0 {
		return
	}
	b.note("%s: %.1f at %s, %.1f at %s", c.Name, first.Y, short(first.X), last.Y, short(last.X))
	if c.Y != rateUnit && last.Y/first.Y > last.X/first.X {
		b.note("%s grows faster than its variable", c.Name)
	}
}

func short(x float64) string {
	switch {
	case x >= 1e6:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", x/1e6), ".0") + "M"
	case x >= 1e3:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", x/1e3), ".0") + "k"
	}
	return fmt.Sprintf("%.0f", x)
}

// pointTime is how long one point is measured.
func (b *bench) pointTime() time.Duration { return max(b.o.Span/10, time.Second) }

// point measures fresh senders of this shape at full speed and checks what they sent.
func (b *bench) point(m *mesh, keys, size, batch int) (cpu, perSecond float64, err error) {
	at := *b
	o := *b.o
	o.Keys, o.EventBytes = max(keys, 1), size
	at.m, at.o, at.tag = m, &o, b.nextTag()
	connections := min(b.o.Connections, o.Keys)
	senders, err := at.senders(m.file.Regions[0].Name, m.names()[0], connections, batch)
	if err != nil {
		return 0, 0, err
	}
	defer closeAll(senders)
	at.rec.mesh = m
	at.rec.begin("warm-up")
	closed(b.ctx, senders, warmUp/2)
	perSecond, cpu = at.spell("growth", func() { closed(b.ctx, senders, b.pointTime()) })
	closeAll(senders)
	b.refused(senders)
	t, err := m.verify(b.ctx, m.names()[0], at.tag, senders)
	s := &b.out.Summary
	s.Errors, s.Lost, s.Duplicated, s.Reordered = at.rec.failed(), s.Lost+t.lost, s.Duplicated+t.duplicated, s.Reordered+t.reordered
	return cpu, perSecond, err
}

// curve measures a point for each value.
func (b *bench) curve(of, unit string, values []int, point func(v int) (cpu, perSecond float64, err error)) ([]report.Curve, error) {
	cost := report.Curve{Name: "CPU per event over " + of, X: unit, Y: "µs of CPU of the mesh", LogX: true}
	rate := report.Curve{Name: "full speed over " + of, X: unit, Y: rateUnit, LogX: true}
	for _, v := range values {
		cpu, perSecond, err := point(v)
		if err != nil {
			return nil, err
		}
		b.say("%s %s: %.1f µs of CPU per event, %.0f events/s", short(float64(v)), unit, cpu, perSecond)
		cost.Points = append(cost.Points, report.Point{X: float64(v), Y: cpu})
		rate.Points = append(rate.Points, report.Point{X: float64(v), Y: perSecond})
	}
	return []report.Curve{cost, rate}, nil
}

func (b *bench) growBatch() ([]report.Curve, error) {
	return b.curve("events in a request", "events in a request", []int{1, 10, 100, 1000}, func(v int) (float64, float64, error) {
		return b.point(b.m, b.o.Keys, b.o.EventBytes, v)
	})
}

// mostBody keeps requests below what a relay takes.
const mostBody = 512 << 10

func (b *bench) growBytes() ([]report.Curve, error) {
	return b.curve("the size of an event", "bytes of an event", []int{250, 500, 2000, 8000, 32_000}, func(v int) (float64, float64, error) {
		return b.point(b.m, b.o.Keys, v, min(b.o.Batch, max(mostBody/v, 1)))
	})
}

func (b *bench) growKeys() ([]report.Curve, error) {
	return b.curve("keys", "routing keys", []int{1, 1000, 1_000_000}, func(v int) (float64, float64, error) {
		return b.point(b.m, v, b.o.EventBytes, b.o.Batch)
	})
}

// growStored fills the stream on and on, and measures at each power of ten.
func (b *bench) growStored() ([]report.Curve, error) {
	m, end, err := b.another(func(*Options) {})
	if err != nil {
		return nil, err
	}
	defer end()
	stored := 0
	var values []int
	for v := 1000; v <= b.o.MostStored; v *= 10 {
		values = append(values, v)
	}
	return b.curve("stored events", "events in the stream", values, func(v int) (float64, float64, error) {
		if v > stored {
			n, err := b.fill(m, v-stored)
			if err != nil {
				return 0, 0, err
			}
			stored += n
		}
		cpu, perSecond, err := b.point(m, b.o.Keys, b.o.EventBytes, b.o.Batch)
		stored += int(perSecond * b.pointTime().Seconds())
		return cpu, perSecond, err
	})
}

// fill stores at least n events.
func (b *bench) fill(m *mesh, n int) (int, error) {
	at := *b
	at.m, at.tag = m, b.nextTag()
	senders, err := at.senders(m.file.Regions[0].Name, m.names()[0], b.o.Connections, b.o.Batch)
	if err != nil {
		return 0, err
	}
	defer closeAll(senders)
	stored, began := 0, time.Now()
	for stored < n && b.ctx.Err() == nil {
		closed(b.ctx, senders, min(time.Second, time.Duration(float64(n)/100_000*float64(time.Second))+50*time.Millisecond))
		stored = 0
		for _, s := range senders {
			stored += s.settled
		}
	}
	b.refused(senders)
	at.restFor(10*time.Second + time.Since(began)) // the other region may be far behind
	return stored, b.ctx.Err()
}

func (b *bench) growRegions() ([]report.Curve, error) {
	return b.curve("regions", "regions", []int{1, 2, 3}, func(v int) (float64, float64, error) {
		m, end, err := b.another(func(o *Options) { o.Regions = []string{"eu", "us", "ap"}[:v] })
		if err != nil {
			return 0, 0, err
		}
		defer end()
		return b.point(m, b.o.Keys, b.o.EventBytes, b.o.Batch)
	})
}

// growTenants also measures what one more tenant costs in memory.
func (b *bench) growTenants() ([]report.Curve, error) {
	memory := report.Curve{Name: "memory over tenants", X: "tenants", Y: "MB of the mesh, idle", LogX: true}
	var values []int
	for v := 1; v <= b.o.Tenants; v *= 10 {
		values = append(values, v)
	}
	curves, err := b.curve("tenants", "tenants", values, func(v int) (float64, float64, error) {
		m, end, err := b.another(func(o *Options) { o.Tenants = v })
		if err != nil {
			return 0, 0, err
		}
		defer end()
		memory.Points = append(memory.Points, report.Point{X: float64(v), Y: usageOf(m.pid).rss})
		return b.spread(m)
	})
	if n := len(memory.Points); err == nil && n > 1 {
		first, last := memory.Points[0], memory.Points[n-1]
		pairs := len(b.o.Regions) * (len(b.o.Regions) - 1) / 2
		each := (last.Y - first.Y) * 1000 / (last.X - first.X)
		b.note("one more tenant costs %.0f KB of memory in a mesh of %s with %s for each tenant", each, plural(len(b.o.Regions), "region"), plural(pairs, "link"))
	}
	return append(curves, memory), err
}

// spread measures a load over all tenants of a mesh.
func (b *bench) spread(m *mesh) (cpu, perSecond float64, err error) {
	at := *b
	at.m, at.tag = m, b.nextTag()
	senders, err := at.perTenant(m.file.Regions[0].Name, m.names())
	if err != nil {
		return 0, 0, err
	}
	if len(senders) < b.o.Connections {
		if senders, err = at.senders(m.file.Regions[0].Name, m.names()[0], b.o.Connections, b.o.Batch); err != nil {
			return 0, 0, err
		}
	}
	defer closeAll(senders)
	groups := rotate(senders, b.o.Connections)
	at.rec.mesh = m
	at.rec.begin("warm-up")
	closedGroups(b.ctx, groups, warmUp+time.Duration(len(senders))*5*time.Millisecond)
	perSecond, cpu = at.spell("growth", func() { closedGroups(b.ctx, groups, b.pointTime()) })
	closeAll(senders)
	b.refused(senders)
	return cpu, perSecond, nil
}

// another starts a mesh beside the first one, with changed options.
func (b *bench) another(change func(*Options)) (*mesh, func(), error) {
	o := *b.o
	o.Target, o.Tenants, o.Regions = "", 1, slices.Clone(o.Regions)
	change(&o)
	m, err := open(b.ctx, &o, manyTenants(&o))
	if err != nil {
		return nil, nil, err
	}
	return m, func() {
		m.end()
		b.rec.mesh = b.m
	}, nil
}

// refused counts what was answered to senders that have ended, but for acknowledgements.
func (b *bench) refused(senders []*sender) {
	for code, n := range codes(senders) {
		b.refusals[code] += n
	}
}

func (b *bench) nextTag() string {
	b.tags++
	return fmt.Sprintf("%sx%d", b.tag, b.tags)
}
