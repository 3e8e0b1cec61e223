package consumers

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/reorder"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// Reorder puts the events of each source's users into the order of their source_seq before they are handled: an event
// behind a gap is held, with the later ones of the same source and user, until what is missing has come or the window
// is over. Where nothing is missing nothing waits. Zero fields mean their defaults.
//
// What is held is not acknowledged: it counts against MaxAckPending, which is made larger by MaxHeld (twice that with
// ByTime), and comes again when the process dies.
type Reorder struct {
	Window        time.Duration // how long a gap is waited for, up to 10 min; default 60 s
	MaxHeld       int           // events held at once, 1..5000; default 5,000
	MaxHeldPerKey int           // of one source's user; default 1,000
	MaxHeldBytes  int           // of all that is held; default 64 MiB
	MaxKeys       int           // users whose place in the count is remembered while nothing of theirs is held; default 100,000

	// ByTime names topics whose events without source_seq are put into the order of occurred_at. Nothing tells whether
	// an earlier one is still to come, so each of them waits for the window.
	ByTime []string

	// Correct handles events that came after the window: later ones of their count were handled without them, see
	// Message.Order. It is also called with what was handled before and came again, so it needs an idempotency store
	// as much as the handler does. nil: the handler gets them.
	Correct Handler

	// Last tells the last place of a source's user that was handled before this process began, as idempotency.Store
	// does. Without it the first event of a user counts as the place where reading began, unless its number is small.
	Last func(ctx context.Context, source, user string) (last reorder.Position, known bool, err error)
}

const (
	maxHeld = 5000
	// ackMargin is how much longer than the window the server waits, by default, before it delivers again.
	ackMargin = 30 * time.Second
)

func (r Reorder) withDefaults() Reorder {
	r.Window = cmp.Or(r.Window, reorder.DefaultOptions().Window)
	r.MaxHeld = cmp.Or(r.MaxHeld, maxHeld)
	r.MaxHeldBytes = cmp.Or(r.MaxHeldBytes, 64<<20)
	return r
}

func (r *Reorder) validate(ackWait time.Duration) string {
	switch {
	case r.MaxHeld < 1 || r.MaxHeld > maxHeld:
		return fmt.Sprintf("%d events held: 1 to %d", r.MaxHeld, maxHeld)
	case r.MaxHeldBytes < 0:
		return "MaxHeldBytes is negative"
	case ackWait <= r.Window:
		return fmt.Sprintf("ack wait %s is not above the reorder window of %s: what is held would come again", ackWait, r.Window)
	}
	for _, t := range r.ByTime {
		if !subject.ValidTopic(t) && !subject.ValidDerivedTopic(t) {
			return fmt.Sprintf("topic %q: 1 to 64 of a-z 0-9 _ -", t)
		}
	}
	return ""
}

// room is how many events may be held.
func (r *Reorder) room() int {
	if len(r.ByTime) > 0 {
		return 2 * r.MaxHeld
	}
	return r.MaxHeld
}

// Order tells how an event stands to the others of its source's count.
type Order struct {
	Verdict reorder.Verdict
	// Missing is how many events are missing right before a Gap; Early that it was given up before the window's end, for
	// want of room.
	Missing uint64
	Early   bool

	// After is the highest place of the count that was handed on before, if Known.
	After reorder.Position
	Known bool
	// Latest is the same of a topic that is ordered by time: when the event occurred that was handed on last.
	Latest time.Time
	// Ahead are, of a Late event, later ones of its count that were handed on since the gap: in their order, the
	// first of them as far as they are remembered.
	Ahead []Ahead
}

// Ahead is an event that was handed on before one that belongs before it.
type Ahead struct {
	Position  reorder.Position
	EventID   string
	Origin    subject.Origin
	OriginSeq uint64
}

// place is where an event stands in its source's count.
type place struct {
	key reorder.Key
	at  reorder.Position
}

// order holds events back. The backlog's lock guards it; only what learns needs none.
type order struct {
	opts    *Reorder
	counted *reorder.Counted[*item]
	timed   *reorder.Timed[*item]
	ahead   gaps
	bytes   int       // of what is held
	from    time.Time // no gap is given up before
	metrics *metrics
	out     []reorder.Released[*item]
}

func newOrder(r *Reorder, m *metrics) (*order, error) {
	o := reorder.Options{Window: r.Window, MaxHeld: r.MaxHeld, MaxHeldPerKey: r.MaxHeldPerKey, MaxKeys: r.MaxKeys}
	counted, err := reorder.NewCounted[*item](o)
	if err != nil {
		return nil, err
	}
	timed, err := reorder.NewTimed[*item](o)
	if err != nil {
		return nil, err
	}
	return &order{opts: r, counted: counted, timed: timed, metrics: m}, nil
}

// placeOf reads where an event stands; nil where its source does not count.
func placeOf(m *Message) *place {
	e := &event.Event{}
	_ = event.Decode(m.Raw, e) // relays let no such event in
	m.envelope = e
	source := m.Header.Get(header.Source)
	if !e.HasSourceSeq || source == "" || e.UserID == "" {
		return nil
	}
	return &place{reorder.Key{Source: source, User: e.UserID}, reorder.Position{Epoch: e.SourceEpoch, Seq: e.SourceSeq}}
}

// locate reads where an event stands, and asks what was handled before it where that is not known yet.
func (s *Subscription) locate(b *backlog, m *Message) *place {
	at, last := placeOf(m), s.opts.Reorder.Last
	if at == nil || last == nil || m.Requeued != nil || b.knows(at) {
		return at
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.APITimeout)
	defer cancel()
	switch was, known, err := last(ctx, at.key.Source, at.key.User); {
	case err != nil:
		s.metrics.unknown.Inc()
		s.log.Warn("last place not known, the count begins anew", zap.String("event_id", m.EventID), zap.Error(err))
	case known:
		b.learn(at, was)
	}
	return at
}

// add takes an event in and appends to queue what may be handled.
func (o *order) add(now time.Time, it *item, queue []*item) []*item {
	switch o.out = o.out[:0]; {
	case it.m.Requeued != nil: // out of its order by definition: it must not move the count
		it.m.Order = &Order{Verdict: reorder.Late}
		o.metrics.late.Inc()
		return append(queue, it)
	case it.place != nil:
		o.out = o.counted.Add(now, it.place.key, it.place.at, it, o.out)
	case slices.Contains(o.opts.ByTime, it.m.Subject.Topic):
		o.out = o.timed.Add(now, it.m.envelope.UserID, it.m.envelope.OccurredAt, it, o.out)
	default:
		return append(queue, it)
	}
	o.bytes += len(it.m.Raw)
	queue = o.release(queue)
	for o.bytes > o.opts.MaxHeldBytes && o.held() > 0 {
		o.shed()
		queue = o.release(queue)
	}
	return queue
}

// shed gives up what has waited longest.
func (o *order) shed() {
	o.out = o.out[:0]
	counted, ok := o.counted.Next()
	timed, timedOK := o.timed.Next()
	if ok && (!timedOK || !timed.Before(counted)) {
		o.out = o.counted.Shed(o.out)
		return
	}
	o.out = o.timed.Shed(o.out)
}

// expire appends to queue what has been held for the window.
func (o *order) expire(now time.Time, queue []*item) []*item {
	if now.Before(o.from) {
		return queue
	}
	o.out = o.timed.Expire(now, o.counted.Expire(now, o.out[:0]))
	return o.release(queue)
}

// next is when expire has something to do.
func (o *order) next() (time.Time, bool) {
	at, ok := o.counted.Next()
	if other, more := o.timed.Next(); more && (!ok || other.Before(at)) {
		at, ok = other, true
	}
	if ok && at.Before(o.from) {
		at = o.from
	}
	return at, ok
}

func (o *order) held() int { return o.counted.Held() + o.timed.Held() }

func (o *order) heldKeys() int { return o.counted.HeldKeys() + o.timed.HeldKeys() }

// release hands on what was released, and writes down what there is to tell of it.
func (o *order) release(queue []*item) []*item {
	for _, r := range o.out {
		it := r.Item
		o.bytes -= len(it.m.Raw)
		if r.Verdict != reorder.InOrder || r.Early {
			it.m.Order = &Order{Verdict: r.Verdict, Missing: r.Missing, Early: r.Early, After: r.After, Known: !r.First, Latest: r.Latest}
		}
		switch {
		case it.place == nil:
		case r.Verdict == reorder.Gap:
			o.metrics.gap(r.Early)
			o.ahead.open(it.place.key)
			o.ahead.note(it)
		case r.Verdict == reorder.InOrder:
			o.ahead.note(it)
		case r.Verdict == reorder.Late:
			it.m.Order.Ahead = o.ahead.after(it.place)
		}
		if r.Verdict == reorder.Late {
			o.metrics.late.Inc()
		}
		queue = append(queue, it)
	}
	clear(o.out)
	return queue
}

// gaps remembers, of the keys that had a gap lately, which events were handed on since.
type gaps struct {
	of    map[reorder.Key][]Ahead
	queue []reorder.Key // in the order in which their gap came
}

const (
	maxGaps  = 1000 // keys
	maxAhead = 32   // events of a key
)

// open begins to remember a key.
func (g *gaps) open(k reorder.Key) {
	if g.of == nil {
		g.of = map[reorder.Key][]Ahead{}
	}
	if list, known := g.of[k]; known {
		if len(list) == maxAhead {
			g.of[k] = nil // of two gaps the newer one is asked for
		}
		return
	}
	if len(g.queue) == maxGaps {
		delete(g.of, g.queue[0])
		g.queue = g.queue[1:]
	}
	g.of[k] = nil
	g.queue = append(g.queue, k)
}

// note remembers an event of a key that is open.
func (g *gaps) note(it *item) {
	if len(g.of) == 0 {
		return
	}
	list, open := g.of[it.place.key]
	if !open || len(list) == maxAhead {
		return
	}
	g.of[it.place.key] = append(list, Ahead{Position: it.place.at, EventID: it.m.EventID, Origin: it.m.Origin, OriginSeq: it.m.OriginSeq})
}

// after lists what was handed on and belongs after p.
func (g *gaps) after(p *place) (later []Ahead) {
	for _, a := range g.of[p.key] {
		if a.Position.Compare(p.at) > 0 {
			later = append(later, a)
		}
	}
	return later
}
