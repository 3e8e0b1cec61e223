package hub

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// Why an event that a peer has is still missing here.
const (
	leftToSource   = "its source has not come to it yet"
	leftToHistory  = "the source of that epoch's history is still reading"
	leftUnknown    = "its origin is not known here"
	leftGone       = "the peer no longer has it"
	leftDuplicate  = "its id is still in the dedupe window"
	leftExpiring   = "it is about to expire"
	leftNotStored  = "the stream did not take it"
	leftUnanswered = "the peer stopped answering"
)

// standing is what decides whether an event of some origin can be lost: what a source has still to bring is
// not, and a copy of it would be there twice.
type standing struct {
	known   bool
	live    bool   // what another region writes under now
	held    uint64 // of a live origin: everything up to this sequence was brought here once
	reading bool   // a source of an older epoch that has not reached its end
}

// left says why an event of the origin must not be repaired, "" when it must. It is pure.
func (s standing) left(originSeq uint64) string {
	switch {
	case !s.known:
		return leftUnknown
	case s.live && originSeq > s.held:
		return leftToSource
	case s.reading:
		return leftToHistory
	default:
		return ""
	}
}

// standingOf looks up an origin. It must be asked before the own stream is searched: what it calls brought is
// then found by the search.
func (h *Hub) standingOf(ctx context.Context, s *session, info *jetstream.StreamInfo, o subject.Origin) (standing, error) {
	self := h.Origin()
	if o.Region == self.Region {
		return standing{known: o.Epoch <= self.Epoch, reading: reading(info, o)}, nil
	}
	live := h.originOf(o.Region)
	if !h.isPeer(o.Region) || o.Epoch > live.Epoch {
		return standing{}, nil
	}
	if o != live {
		return standing{known: true, reading: reading(info, o)}, nil
	}
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	held, err := heldOf(call, s, subject.EventsStream, subject.Replicated(o))
	st := standing{known: true, live: true}
	if held != nil {
		st.held = held.Seq
	}
	return st, err
}

// reading says that a source of the origin is there and may not have brought everything. One that was never
// heard of tells a lag of 0.
func reading(info *jetstream.StreamInfo, o subject.Origin) bool {
	for _, src := range info.Config.Sources {
		if src.FilterSubject != subject.Replicated(o) {
			continue
		}
		done := slices.ContainsFunc(info.Sources, func(s *jetstream.StreamSourceInfo) bool {
			return s.FilterSubject == src.FilterSubject && s.Active >= 0 && s.Active < time.Minute && s.Lag == 0
		})
		if !done {
			return true
		}
	}
	return false
}

// resolve finds out which of the candidates are lost indeed, and repairs those. The own stream is searched only
// if something may be repaired: while a source is behind, its events would be looked for in every round.
func (c *comparison) resolve(ctx context.Context) error {
	if len(c.lost) == 0 {
		return nil
	}
	info, err := eventsInfo(ctx, c.t.session)
	if err != nil {
		return err
	}
	if err := c.judge(ctx, info); err != nil {
		return err
	}
	for _, l := range c.lost {
		if l.why != "" {
			continue
		}
		if err := c.dropPresent(ctx); err != nil {
			return err
		}
		break
	}
	return c.bringBack(ctx)
}

// judge finds for each candidate a copy that may be taken, or says why there is none.
func (c *comparison) judge(ctx context.Context, info *jetstream.StreamInfo) error {
	known := map[subject.Origin]standing{}
	for _, l := range c.lost {
		for i, at := range l.copies {
			s, ok := known[at.origin]
			if !ok {
				var err error
				if s, err = c.h.standingOf(ctx, c.t.session, info, at.origin); err != nil {
					return err
				}
				known[at.origin] = s
			}
			if l.why = s.left(at.originSeq); l.why == "" {
				l.copies[0], l.copies[i] = l.copies[i], l.copies[0] // the one to take stands first
				break
			}
		}
	}
	return nil
}

// dropPresent searches the whole own stream for the candidates and forgets those that are there, under
// whatever origin and time: an id may have been accepted on both sides of a cut.
func (c *comparison) dropPresent(ctx context.Context) error {
	info, err := eventsInfo(ctx, c.t.session)
	if err != nil {
		return err
	}
	for r := (span{from: info.State.FirstSeq, to: info.State.LastSeq, limit: indexPerRound}); len(c.lost) > 0; {
		next, drained, err := scanHeaders(ctx, c.t.session, r, func(m *stored) {
			if _, err := subject.Parse(m.subject); err == nil {
				delete(c.lost, digest.Of(m.header.Get(header.MsgID)))
			}
		})
		if err != nil {
			return err
		}
		if r.from = next; !drained {
			continue
		}
		if next > r.to {
			return nil
		}
		end, err := endsBefore(ctx, c.t.session, next)
		if err == nil && !end {
			err = fault.New("hub.repair", fault.Unavailable, "behind", "the server that was read is behind the stream's leader")
		}
		return err
	}
	return nil
}

// bringBack takes copies of what is lost from the peers.
func (c *comparison) bringBack(ctx context.Context) error {
	byPeer := map[*compared][]*lost{}
	for _, l := range c.inOrder() {
		for _, at := range l.copies {
			at.peer.missing++
		}
		if l.why != "" {
			l.copies[0].peer.left[l.why]++
			continue
		}
		byPeer[l.copies[0].peer] = append(byPeer[l.copies[0].peer], l)
	}
	for _, p := range c.peers {
		for rest := byPeer[p]; len(rest) > 0; {
			if ctx.Err() != nil || !c.h.leads() {
				return ctx.Err()
			}
			n := min(len(rest), maxFetched)
			done, err := c.bringPage(ctx, p, rest[:n])
			if err != nil {
				p.err = err
				p.left[leftUnanswered] += len(rest) - done
				break
			}
			rest = rest[done:]
		}
	}
	return nil
}

// bringPage fetches events and stores them, as many from the first on as come in one answer; done is how many
// are dealt with.
func (c *comparison) bringPage(ctx context.Context, p *compared, want []*lost) (done int, err error) {
	seqs := make([]uint64, len(want))
	for i, l := range want {
		seqs[i] = l.copies[0].seq
	}
	a, err := c.ask(ctx, p.peer, repairRequest{Op: opFetch, Seqs: seqs})
	if err != nil {
		return 0, err
	}
	got := map[uint64]part{}
	for _, m := range a.Messages {
		got[m.Seq] = m
		if m.Size > len(m.Data) {
			if got[m.Seq], err = c.rest(ctx, p, m); err != nil {
				return 0, err
			}
		}
	}
	done = answered(seqs, got)
	var copies []*nats.Msg
	for i, l := range want[:done] {
		m, ok := got[seqs[i]]
		if !ok || digest.Of(m.Header.Get(header.MsgID)) != l.copies[0].hash {
			p.left[leftGone]++
			continue
		}
		msg, ok := repairedCopy(c.h.Origin(), l.copies[0], m, c.h.opts.Now())
		if !ok {
			p.left[leftExpiring]++
			continue
		}
		copies = append(copies, msg)
	}
	c.store(ctx, p, copies)
	return done, nil
}

// answered is how many of the sequences an answer deals with: it holds the messages in the order asked for, as
// far as they fit, without those that are gone.
func answered(seqs []uint64, got map[uint64]part) int {
	for i := len(seqs) - 1; i >= 0; i-- {
		if _, ok := got[seqs[i]]; ok {
			return i + 1
		}
	}
	return len(seqs)
}

// rest fetches what is missing of a body that is larger than an answer.
func (c *comparison) rest(ctx context.Context, p *compared, m part) (part, error) {
	for len(m.Data) < m.Size {
		a, err := c.ask(ctx, p.peer, repairRequest{Op: opFetch, Seqs: []uint64{m.Seq}, Offset: len(m.Data)})
		if err != nil {
			return m, err
		}
		if len(a.Messages) != 1 || len(a.Messages[0].Data) == 0 {
			return m, fault.New("hub.repair", fault.Unavailable, "cut_short", "region %s sends only %d of %d bytes of a message", p.peer, len(m.Data), m.Size)
		}
		m.Data = append(m.Data, a.Messages[0].Data...)
	}
	return m, nil
}

// repairedCopy is what is stored here for a message of a peer; false when its time is over. It is pure.
func repairedCopy(self subject.Origin, at copyAt, m part, now time.Time) (*nats.Msg, bool) {
	r := header.Repair{From: at.peer.peer, Subject: m.Subject, Seq: at.originSeq, TTL: at.key.TTL}
	if before, ok := header.ParseRepair(m.Header.Get(header.Repaired)); ok {
		r.Subject = before.Subject
	}
	ev, err := subject.Parse(r.Subject)
	if err != nil {
		return nil, false
	}
	ev.Origin, ev.Scope = self, subject.Regional
	h := maps.Clone(m.Header)
	id := h.Get(header.MsgID)
	header.StripNats(h)
	h.Set(header.MsgID, id)
	h.Set(header.Repaired, r.String())
	if at.key.TTL > 0 {
		accepted, err := time.Parse(time.RFC3339Nano, h.Get(header.IngestedAt))
		left := int64((time.Duration(at.key.TTL)*time.Second - now.Sub(accepted)) / time.Second)
		if err != nil || left < 1 {
			return nil, false
		}
		h.Set(header.TTL, strconv.FormatInt(left, 10))
	}
	return &nats.Msg{Subject: ev.String(), Header: h, Data: m.Data}, true
}

// store publishes copies, a page at a time, and counts what the own stream acknowledged.
func (c *comparison) store(ctx context.Context, p *compared, copies []*nats.Msg) {
	futures := make([]jetstream.PubAckFuture, 0, len(copies))
	for _, m := range copies {
		f, err := c.t.session.js.PublishMsgAsync(m, jetstream.WithExpectStream(subject.EventsStream), jetstream.WithStallWait(apiTimeout))
		if err != nil {
			p.left[leftNotStored]++
			p.err = err
			continue
		}
		futures = append(futures, f)
	}
	call, cancel := context.WithTimeout(ctx, 2*apiTimeout)
	defer cancel()
	for _, f := range futures {
		switch ack, err := await(call, f); {
		case err != nil:
			p.left[leftNotStored]++
			p.err = err
		case ack.Stream != subject.EventsStream || ack.Domain != c.h.opts.Identity.Region:
			p.left[leftNotStored]++
			p.err = fault.New("hub.repair", fault.Internal, "wrong_stream", "a copy was stored by %s@%s", ack.Stream, ack.Domain)
		case ack.Duplicate:
			p.left[leftDuplicate]++
		default:
			p.repaired++
		}
	}
}

func await(ctx context.Context, f jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-f.Ok():
		return ack, nil
	case err := <-f.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
