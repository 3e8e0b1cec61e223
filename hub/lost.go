package hub

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// What a rejoin tells of the losses, event by event. A peer holds an origin's events in the order in which the
// origin stored them, each with its sequence there; what an older copy of a store lacks is what follows the
// last event that both have.

// LostEvent is an event of this region that a peer has and this region lacks.
type LostEvent struct {
	ID    string    `json:"event_id"`
	At    time.Time `json:"at"`  // when a relay took it
	Seq   uint64    `json:"seq"` // in the stream of this region, before the loss
	Topic string    `json:"topic"`
}

// LostStream tells what one stream of a tenant lost, as far as the peer with the most of it can tell.
type LostStream struct {
	Tenant string `json:"tenant"`
	Peer   string `json:"peer"`
	// Newest is the newest event of the old origin that the peer has. Whatever this region acknowledged after
	// it, and every regional event that it acknowledged after Kept, no other region has.
	Newest  *LostEvent  `json:"newest,omitempty"`
	Kept    *Held       `json:"kept,omitempty"` // the newest that is left here and that the peer has too
	Missing uint64      `json:"missing"`        // events that the peer has and this region lacks
	Events  []LostEvent `json:"events"`         // these, or the first of them
	Problem string      `json:"problem,omitempty"`
}

const (
	maxListed = 10_000 // events in one report
	pageSize  = 1000   // events of one answer, at most
	pageBytes = 512 << 10
)

// listRequest asks a region for events of the asking one.
type listRequest struct {
	Tenant string `json:"tenant"`
	After  uint64 `json:"after"` // sequence at the origin
	Limit  int    `json:"limit"`
}

type listAnswer struct {
	Events []LostEvent `json:"events"`
	Total  uint64      `json:"total"` // events after After, those of Events included
	Newest *LostEvent  `json:"newest,omitempty"`
	Error  string      `json:"error,omitempty"`
}

// listed answers a listRequest.
func (h *Hub) listed(origin string, req listRequest) *listAnswer {
	ctx, cancel := context.WithTimeout(context.Background(), 2*apiTimeout)
	defer cancel()
	a, err := h.list(ctx, origin, req)
	if err != nil {
		return &listAnswer{Error: err.Error()}
	}
	return a
}

func (h *Hub) list(ctx context.Context, origin string, req listRequest) (*listAnswer, error) {
	o, err := subject.ParseOrigin(origin)
	if err != nil {
		return nil, err
	}
	ten := h.tenancyOf(req.Tenant)
	if ten == nil || ten.openSession() == nil {
		return nil, fault.New("hub.list", fault.Unavailable, "starting", "tenant %s is not open here", req.Tenant)
	}
	filter := subject.ReplicatedEvents(o)
	a := &listAnswer{Events: []LostEvent{}}
	last, err := ten.openSession().message(ctx, subject.EventsStream, getRequest{Last: filter})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	newest := lostEvent(last.Subject, last.Header, last.Time)
	a.Newest = &newest
	start, err := firstAfter(ctx, ten.openSession(), filter, req.After)
	if err != nil || start == 0 {
		return a, err
	}
	return a, a.read(ctx, ten.openSession(), filter, start, min(max(req.Limit, 1), pageSize))
}

// read takes one page from a stream, beginning at a sequence there.
func (a *listAnswer) read(ctx context.Context, s *session, filter string, start uint64, limit int) error {
	cons, err := s.js.OrderedConsumer(ctx, subject.EventsStream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start, HeadersOnly: true,
	})
	if err != nil {
		return err
	}
	info, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	if a.Total = info.NumPending; a.Total == 0 {
		return nil
	}
	batch, err := cons.Fetch(int(min(a.Total, uint64(limit))), jetstream.FetchMaxWait(apiTimeout))
	if err != nil {
		return err
	}
	size := 0
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		e := lostEvent(m.Subject(), m.Headers(), meta.Timestamp)
		if size += len(e.ID) + len(e.Topic) + 100; size <= pageBytes {
			a.Events = append(a.Events, e)
		}
	}
	return batch.Error()
}

func lostEvent(to string, headers map[string][]string, stored time.Time) LostEvent {
	get := func(name string) string {
		if v := headers[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	e := LostEvent{ID: get(header.MsgID), At: stored.UTC()}
	e.Seq, _ = header.SourceSeq(get(header.StreamSource))
	if at, err := time.Parse(time.RFC3339Nano, get(header.IngestedAt)); err == nil {
		e.At = at
	}
	if ev, err := subject.Parse(to); err == nil {
		e.Topic = ev.Topic
	}
	return e
}

// firstAfter finds where in a stream the first message under filter stands that its origin stored after a
// sequence of its own; 0 when there is none. Both orders are the same, so it can halve.
func firstAfter(ctx context.Context, s *session, filter string, after uint64) (uint64, error) {
	st, err := s.js.Stream(ctx, subject.EventsStream)
	if err != nil {
		return 0, err
	}
	state := st.CachedInfo().State
	found := uint64(0)
	for low, high := max(1, state.FirstSeq), state.LastSeq; low <= high; {
		mid := low + (high-low)/2
		msg, err := s.message(ctx, subject.EventsStream, getRequest{Seq: mid, Next: filter})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			high = mid - 1
			continue
		}
		if err != nil {
			return 0, err
		}
		if seq, _ := header.SourceSeq(msg.Header.Get(header.StreamSource)); seq > after {
			found, high = msg.Sequence, mid-1
		} else {
			low = msg.Sequence + 1
		}
	}
	return found, nil
}

// lostStreams lists what the losses mean for each tenant. What cannot be told is said in Problem: it keeps no
// region from rejoining.
func (h *Hub) lostStreams(ctx context.Context, losses []Loss) []LostStream {
	most := map[string]Loss{} // by tenant: of the peer that has the most
	for _, l := range losses {
		if have, ok := most[l.Tenant]; l.Tenant != "" && (!ok || l.Peers.Seq > have.Peers.Seq) {
			most[l.Tenant] = l
		}
	}
	out := []LostStream{}
	left := maxListed
	for _, l := range losses {
		if l.Tenant == "" || most[l.Tenant].Peer != l.Peer {
			continue
		}
		s := LostStream{Tenant: l.Tenant, Peer: l.Peer, Events: []LostEvent{}}
		if err := h.fill(ctx, &s, l, left); err != nil {
			s.Problem = "not all could be listed: " + err.Error()
		}
		left -= len(s.Events)
		out = append(out, s)
	}
	return out
}

// fill asks the peer for the events after the last one that both have.
func (h *Hub) fill(ctx context.Context, s *LostStream, l Loss, limit int) error {
	after, err := h.common(ctx, l)
	if err != nil {
		return err
	}
	if after > 0 {
		s.Kept = l.Own
	}
	first := true
	for from := after; ; {
		a, err := h.askList(ctx, s.Peer, listRequest{Tenant: s.Tenant, After: from, Limit: min(pageSize, max(limit-len(s.Events), 1))})
		if err != nil {
			return err
		}
		if first {
			s.Missing, s.Newest, first = a.Total, a.Newest, false
		}
		room := max(limit-len(s.Events), 0)
		s.Events = append(s.Events, a.Events[:min(room, len(a.Events))]...)
		if len(a.Events) == 0 || uint64(len(a.Events)) >= a.Total || len(s.Events) >= limit {
			return nil
		}
		next := a.Events[len(a.Events)-1].Seq
		if next <= from {
			return errors.New("the peer's list does not go on")
		}
		from = next
	}
}

func (h *Hub) askList(ctx context.Context, peer string, req listRequest) (*listAnswer, error) {
	raw, err := json.Marshal(positionRequest{Origin: h.Origin().String(), List: &req})
	if err != nil {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, 3*apiTimeout)
	defer cancel()
	m, err := h.control.conn.RequestWithContext(call, subject.Position(peer), raw)
	if err != nil {
		return nil, err
	}
	a := new(listAnswer)
	if err := json.Unmarshal(m.Data, a); err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a, nil
}

// common is the sequence up to which the store here and the peer have the same. A store that ends early is the
// beginning of the same history; one that differs at the peer's newest went its own way somewhere, and where is
// found by halving.
func (h *Hub) common(ctx context.Context, l Loss) (uint64, error) {
	switch {
	case l.Kind == LossGone || l.Own == nil:
		return 0, nil
	case l.Own.Seq < l.Peers.Seq:
		return l.Own.Seq, nil
	}
	ten := h.tenancyOf(l.Tenant)
	if ten == nil || ten.openSession() == nil {
		return 0, nil
	}
	st, err := ten.openSession().js.Stream(ctx, subject.EventsStream)
	if err != nil {
		return 0, err
	}
	agreed := uint64(0)
	for low, high := max(1, st.CachedInfo().State.FirstSeq), l.Peers.Seq; low <= high; {
		mid := low + (high-low)/2
		a, err := h.askList(ctx, l.Peer, listRequest{Tenant: l.Tenant, After: mid - 1, Limit: 1})
		if err != nil {
			return 0, err
		}
		if len(a.Events) == 0 { // nothing but markers from there on
			high = mid - 1
			continue
		}
		theirs := a.Events[0]
		ours, err := ten.openSession().message(ctx, subject.EventsStream, getRequest{Seq: theirs.Seq})
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, err
		}
		if err == nil && ours.Header.Get(header.MsgID) == theirs.ID {
			agreed, low = theirs.Seq, theirs.Seq+1
		} else {
			high = mid - 1
		}
	}
	return agreed, nil
}
