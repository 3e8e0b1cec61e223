package group

import (
	"context"
	"errors"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

const opStart = "group.start"

// CodePositionUnknown is the code of the fault with which an owner refuses to guess where to go on.
const CodePositionUnknown = "position_unknown"

// stored is an event as a region stores it.
type stored struct {
	seq, originSeq uint64
	id             string
}

// events are those that a region stores, as finding one's place in them needs them.
type events interface {
	// bounds are the first and the last sequence; last is first-1 where nothing is stored.
	bounds(ctx context.Context) (first, last uint64, err error)
	// next is the first event from a sequence on that a filter matches; false when there is none.
	next(ctx context.Context, filter string, from uint64) (stored, bool, error)
	// latest is the last event that a filter matches; false when there is none.
	latest(ctx context.Context, filter string) (stored, bool, error)
	// find looks through all events that a filter matches for one id; false when it is not there.
	find(ctx context.Context, filter, id string) (stored, bool, error)
}

// start is where a durable goes on in a region.
type start struct {
	resume uint64            // the sequence of its first event that may not be dealt with
	first  map[stream]uint64 // in each stream; what comes before is dealt with
}

// filterOf matches a stream's events, and no marker.
func filterOf(s stream) string {
	if s.scope == subject.Regional {
		return subject.RegionalOf(s.origin)
	}
	return subject.ReplicatedEvents(s.origin)
}

// streamsIn are the streams that a region may hold: of each origin that it knows, and of all epochs before.
func streamsIn(home subject.Origin, peers []subject.Origin, at []Position) []stream {
	newest := map[string]int{home.Region: home.Epoch}
	for _, o := range peers {
		newest[o.Region] = max(newest[o.Region], o.Epoch)
	}
	for _, p := range at {
		newest[p.Origin.Region] = max(newest[p.Origin.Region], p.Origin.Epoch)
	}
	var all []stream
	for region, epoch := range newest {
		for e := 1; e <= epoch; e++ {
			o := subject.Origin{Region: region, Epoch: e}
			all = append(all, stream{o, subject.Global})
			if region == home.Region {
				all = append(all, stream{o, subject.Regional})
			}
		}
	}
	return all
}

// locate finds where a durable that has come to these positions, wherever that was, goes on in this region. All that it has not
// dealt with is at or after resume, and of what comes there in addition first tells it apart, to the event. Streams of which the
// durable has dealt with nothing begin with their first event.
func locate(ctx context.Context, ev events, home subject.Origin, in []stream, at []Position) (*start, error) {
	first, last, err := ev.bounds(ctx)
	if err != nil {
		return nil, err
	}
	known := make(map[stream]Position, len(at))
	for _, p := range at {
		known[stream{p.Origin, p.Scope}] = p
	}
	s := &start{resume: last + 1, first: make(map[stream]uint64, len(in))}
	for _, of := range in {
		from := first
		if p, ok := known[of]; ok {
			if from, err = after(ctx, ev, home, of, p); err != nil {
				return nil, err
			}
		}
		e, ok, err := ev.next(ctx, filterOf(of), max(from, first))
		if err != nil {
			return nil, err
		}
		s.first[of] = from
		if ok {
			s.resume = min(s.resume, e.seq)
		}
	}
	s.resume = max(s.resume, 1)
	return s, nil
}

// after is a sequence behind which, in this region, everything of a stream comes after a position, and nothing before.
func after(ctx context.Context, ev events, home subject.Origin, of stream, p Position) (uint64, error) {
	switch {
	case p.Seq == 0 && p.EventID == "":
		return 0, nil
	case of.origin == home && p.Seq > 0:
		return p.Seq + 1, nil
	case p.Seq > 0 && !recopied(home, of.origin):
		return search(ctx, ev, filterOf(of), p.Seq)
	}
	e, ok, err := ev.find(ctx, filterOf(of), p.EventID)
	switch {
	case err != nil:
		return 0, err
	case ok:
		return e.seq + 1, nil
	}
	if _, some, err := ev.next(ctx, filterOf(of), 1); err != nil || !some {
		return 0, err
	}
	return 0, fault.New(opStart, fault.Conflict, CodePositionUnknown,
		"durable %q had come to event %s of origin %s, which this region does not hold: say where it goes on with `weft consumer position`", p.Durable, p.EventID, of.origin)
}

// search is the sequence after the last event of a stream up to a sequence at its origin: origins' events are stored in
// their order, with gaps.
func search(ctx context.Context, ev events, filter string, upTo uint64) (uint64, error) {
	first, last, err := ev.bounds(ctx)
	if err != nil {
		return 0, err
	}
	n := sort.Search(int(last+1-first), func(i int) bool { //nolint:gosec // as many as a stream holds
		if err != nil {
			return true
		}
		var e stored
		var ok bool
		e, ok, err = ev.next(ctx, filter, first+uint64(i)) //nolint:gosec // from zero
		return !ok || e.originSeq > upTo
	})
	return first + uint64(n), err //nolint:gosec // from zero
}

// seed makes the positions of a durable that starts at a sequence of this region: all before is dealt with. A position without an
// event is that before the first one.
func seed(ctx context.Context, ev events, durable string, in []stream, from uint64) ([]Position, error) {
	var ps []Position
	for _, of := range in {
		p := Position{Durable: durable, Origin: of.origin, Scope: of.scope}
		e, ok, err := ev.next(ctx, filterOf(of), from)
		switch {
		case err != nil:
			return nil, err
		case ok:
			p.Seq = e.originSeq - 1
		default:
			if e, _, err = ev.latest(ctx, filterOf(of)); err != nil {
				return nil, err
			}
			p.Seq, p.EventID = e.originSeq, e.id
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// region is the stream that a member reads, and what its configuration tells.
type region struct {
	js    jetstream.JetStream
	st    jetstream.Stream
	home  subject.Origin
	peers []subject.Origin
	wait  time.Duration // for each question

	partitions []int // of the durable whose place is looked for
}

// lookAt reads a stream's configuration.
func lookAt(ctx context.Context, js jetstream.JetStream, name string, wait time.Duration) (*region, error) {
	call, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	st, err := js.Stream(call, name)
	if err != nil {
		return nil, fault.Wrap(opStart, fault.Unavailable, err)
	}
	r := &region{js: js, st: st, wait: wait}
	config := st.CachedInfo().Config
	for _, s := range config.Subjects {
		if o, ok := subject.OriginOf(s); ok {
			r.home = o
		}
	}
	for _, src := range config.Sources {
		if o, ok := subject.OriginOf(src.FilterSubject); ok {
			r.peers = append(r.peers, o)
		}
	}
	if r.home == (subject.Origin{}) {
		return nil, fault.New(opStart, fault.Invalid, "no_region", "stream %s stores no region's events", name)
	}
	return r, nil
}

func (r *region) bounds(ctx context.Context) (first, last uint64, err error) {
	call, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	info, err := r.st.Info(call)
	if err != nil {
		return 0, 0, fault.Wrap(opStart, fault.Unavailable, err)
	}
	return max(info.State.FirstSeq, 1), info.State.LastSeq, nil
}

func (r *region) next(ctx context.Context, filter string, from uint64) (stored, bool, error) {
	call, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	m, err := r.st.GetMsg(call, max(from, 1), jetstream.WithGetMsgSubject(filter))
	return found(m, err)
}

func (r *region) latest(ctx context.Context, filter string) (stored, bool, error) {
	call, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	m, err := r.st.GetLastMsgForSubject(call, filter)
	return found(m, err)
}

func found(m *jetstream.RawStreamMsg, err error) (stored, bool, error) {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return stored{}, false, nil
	}
	if err != nil {
		return stored{}, false, fault.Wrap(opStart, fault.Unavailable, err)
	}
	return stored{m.Sequence, consumers.OriginSequence(m.Header, m.Sequence), m.Header.Get(header.MsgID)}, true, nil
}

// find reads the headers of the durable's own events: of the others none can be the one.
func (r *region) find(ctx context.Context, filter, id string) (stored, bool, error) {
	cons, err := r.st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: r.own(filter), HeadersOnly: true})
	if err != nil {
		return stored{}, false, fault.Wrap(opStart, fault.Unavailable, err)
	}
	left := cons.CachedInfo().NumPending
	it, err := cons.Messages()
	if err != nil {
		return stored{}, false, fault.Wrap(opStart, fault.Unavailable, err)
	}
	defer it.Stop()
	for ; left > 0; left-- {
		m, err := it.Next(jetstream.NextMaxWait(r.wait))
		if err != nil {
			return stored{}, false, fault.New(opStart, fault.Unavailable, "", "event %s not found in time, %d events were not looked at: %v", id, left, err)
		}
		if m.Headers().Get(header.MsgID) != id {
			continue
		}
		meta, err := m.Metadata()
		if err != nil {
			return stored{}, false, fault.Wrap(opStart, fault.Internal, err)
		}
		return stored{seq: meta.Sequence.Stream, id: id}, true, nil
	}
	return stored{}, false, nil
}

// own narrows a filter to the partitions of the durable.
func (r *region) own(filter string) []string {
	if len(r.partitions) == partition.Count {
		return []string{filter}
	}
	var own []string
	for _, p := range r.partitions {
		if f, ok := subject.InPartition(filter, p); ok {
			own = append(own, f)
		}
	}
	return own
}
