package bench

import (
	"fmt"
	"strings"
	"time"
)

// overloadFactor is how much more than it can take a relay is offered.
const overloadFactor = 3

// overload offers a relay three times what it takes, and looks whether it goes on serving, refuses the rest in a way
// that producers understand, needs no more memory, and is back to normal right after.
func overload(b *bench) error {
	region := b.m.file.Regions[0].Name
	crowd := max(b.o.Connections*8, 128)
	senders, err := b.senders(region, b.measured, crowd, b.o.Batch)
	if err != nil {
		return err
	}
	defer closeAll(senders)
	few := senders[:b.o.Connections]
	full := b.full(few)
	part := time.Duration(float64(b.o.Span) * (1 - openShare) / 4)
	s := &b.out.Summary

	b.rec.begin("before")
	paced(b.ctx, few, full/2, part)
	_, before := b.rec.state()
	rss := usageOf(b.m.pid).rss
	failed := b.rec.failed()

	b.say("offering %.0f events/s over %d connections", overloadFactor*full, crowd)
	b.rec.begin("overload")
	used, began := usageOf(b.m.pid), time.Now()
	paced(b.ctx, senders, overloadFactor*full, 2*part)
	took := time.Since(began)
	acked, during := b.rec.state()
	s.AcceptedPerSecond, s.OfferedPerSecond = float64(acked)/took.Seconds(), overloadFactor*full
	s.CPUPerEvent = perEvent(usageOf(b.m.pid).cpu-used.cpu, acked)
	s.BaselinePerSecond, s.Ratio = full, s.AcceptedPerSecond/full
	s.RatioLow, s.RatioHigh = s.Ratio, s.Ratio
	refused := b.rec.failed() - failed

	b.rec.begin("after")
	paced(b.ctx, few, full/2, part)
	_, after := b.rec.state()
	s.P50, s.P95, s.P99 = quantile(after, 50), quantile(after, 95), quantile(after, 99)
	b.out.Latency = percentiles(after)

	b.out.Load = fmt.Sprintf("%d-byte events, %s in a request, offered at %d times the full speed of %d connections over %d", b.o.EventBytes, plural(b.o.Batch, "event"), overloadFactor, b.o.Connections, crowd)
	b.out.Baseline = "what the same relay took at full speed right before"
	b.note("before: p99 %.1f ms at half speed; during: p50 %.1f ms, p99 %.1f ms of what was accepted; after: p99 %.1f ms at half speed",
		quantile(before, 99), quantile(during, 50), quantile(during, 99), s.P99)
	b.note("memory %.0f MB before, %.0f MB at most", rss, b.rec.most())
	b.note("%d events were not accepted while overloaded", refused)
	if odd := unexpected(senders); odd != "" {
		b.note("answers that an overloaded relay should not give: %s", odd)
	}
	closeAll(senders)
	return b.check(b.measured, senders)
}

// unexpected are the answers that are no success and do not say "later".
func unexpected(senders []*sender) string {
	var odd []string
	for code, n := range codes(senders) {
		if !strings.HasPrefix(code, "503") && !strings.HasPrefix(code, "429") && code != "overloaded" {
			odd = append(odd, fmt.Sprintf("%d × %s", n, code))
		}
	}
	return strings.Join(odd, ", ")
}
