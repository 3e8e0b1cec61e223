package hub

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// Held is the newest message of one origin that a region holds: everything up to it was stored at the origin
// when it was sourced.
type Held struct {
	Seq     uint64    `json:"seq"` // in the stream of the origin
	ID      string    `json:"id,omitempty"`
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`                // when a relay took it, or when it was stored
	Expires bool      `json:"expires,omitempty"` // it has a life of its own, shorter than the stream's
}

// positionRequest asks a region what it holds of an origin.
type positionRequest struct {
	Origin string       `json:"origin"`
	List   *listRequest `json:"list,omitempty"` // lists events instead
}

// positionAnswer is what a region holds of the asking one. A stream that holds nothing of it is left out.
type positionAnswer struct {
	Region  string          `json:"region"`
	Own     int             `json:"own"`     // the epoch of the answering region
	Closed  bool            `json:"closed"`  // it is not open itself
	Epoch   int             `json:"epoch"`   // under which the asking region is known there, 1 when it is not
	Used    bool            `json:"used"`    // something of that epoch is stored there
	Records int             `json:"records"` // of the control state there
	Control *Held           `json:"control,omitempty"`
	Events  map[string]Held `json:"events,omitempty"` // by tenant
	Error   string          `json:"error,omitempty"`
}

// servePositions answers the other regions. It does so also while this region is closed: two of them that
// start together wait for each other's word.
func (h *Hub) servePositions() error {
	_, err := h.control.conn.QueueSubscribe(subject.Position(h.opts.Identity.Region), queue, func(m *nats.Msg) {
		var req positionRequest
		if err := json.Unmarshal(m.Data, &req); err != nil {
			return // no hub sends this
		}
		if req.List != nil {
			h.respond(m, h.listed(req.Origin, *req.List))
			return
		}
		answer, err := h.positions(req.Origin)
		if err != nil {
			answer = &positionAnswer{Error: err.Error()}
		}
		answer.Region = h.opts.Identity.Region
		h.respond(m, answer)
	})
	return err
}

func (h *Hub) positions(origin string) (*positionAnswer, error) {
	o, err := subject.ParseOrigin(origin)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), apiTimeout)
	defer cancel()
	a := &positionAnswer{Events: map[string]Held{}, Own: h.Origin().Epoch, Closed: !h.served(), Epoch: h.originOf(o.Region).Epoch}
	if a.Control, err = heldOf(ctx, h.control, subject.ControlStream, subject.ControlOf(o)); err != nil {
		return nil, err
	}
	live := subject.Origin{Region: o.Region, Epoch: a.Epoch}
	used, err := heldOf(ctx, h.control, subject.ControlStream, subject.ControlOf(live))
	if err != nil {
		return nil, err
	}
	a.Used = used != nil
	a.Records = h.State().Len()
	for _, t := range h.State().ActiveTenants() {
		ten := h.tenancyOf(t.Name)
		if ten == nil || ten.openSession() == nil {
			if t.In(h.opts.Identity.Region) {
				return nil, fault.New("hub.positions", fault.Unavailable, "starting", "tenant %s is not open yet", t.Name)
			}
			continue
		}
		held, err := heldOf(ctx, ten.openSession(), subject.EventsStream, subject.Replicated(o))
		if err != nil {
			return nil, err
		}
		if held != nil {
			a.Events[t.Name] = *held
		}
		if a.Used {
			continue
		}
		if used, err = heldOf(ctx, ten.openSession(), subject.EventsStream, subject.Replicated(live)); err != nil {
			return nil, err
		}
		a.Used = used != nil
	}
	return a, nil
}

// heldOf is the newest message under filter with its sequence at the origin; nil when there is none.
func heldOf(ctx context.Context, s *session, stream, filter string) (*Held, error) {
	msg, err := s.message(ctx, stream, getRequest{Last: filter})
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	held := heldIn(msg)
	if seq, ok := header.SourceSeq(msg.Header.Get(header.StreamSource)); ok {
		held.Seq = seq
	}
	return held, nil
}

func heldIn(msg *jetstream.RawStreamMsg) *Held {
	held := &Held{Seq: msg.Sequence, ID: msg.Header.Get(header.MsgID), Subject: msg.Subject, At: msg.Time.UTC(), Expires: msg.Header.Get(header.TTL) != ""}
	if at, err := time.Parse(time.RFC3339Nano, msg.Header.Get(header.IngestedAt)); err == nil {
		held.At = at
	}
	return held
}

// Loss is one stream of this region that lacks what a peer was given from it.
type Loss struct {
	Tenant string `json:"tenant,omitempty"` // "" for the control state
	Stream string `json:"stream"`
	Peer   string `json:"peer"`
	Kind   string `json:"kind"`              // one of the Loss* constants
	Peers  Held   `json:"peer_has,omitzero"` // the newest that the peer has of this region
	Own    *Held  `json:"own,omitempty"`     // the newest of the own origin that is left here
	Epoch  int    `json:"epoch,omitempty"`   // that the peer was told of, when it is a later one
}

// The kinds of losses.
const (
	LossGone    = "gone"    // the stream is not there
	LossShort   = "short"   // what this region wrote ends before what the peer has
	LossDiffers = "differs" // at that sequence stands another message
	LossEpoch   = "epoch"   // the peer knows this region under a later epoch
)

// lossOf compares one stream with what a peer holds of it; nil when nothing is missing. Limits take messages
// out at the front of EVENTS, a life of its own takes one out anywhere, and newer versions of a record take out
// older ones; the newest message that a region wrote goes by none of the last.
func (h *Hub) lossOf(ctx context.Context, s *session, stream, own string, held Held) (*Loss, error) {
	loss := &Loss{Stream: stream, Peers: held, Kind: LossGone}
	if s == nil {
		return loss, nil
	}
	st, err := s.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return loss, nil
	}
	if err != nil {
		return nil, err
	}
	state := st.CachedInfo().State
	if last, err := s.message(ctx, stream, getRequest{Last: own}); err == nil {
		loss.Own = heldIn(last)
	} else if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, err
	}
	loss.Kind = LossShort
	aged := stream == subject.EventsStream && held.Seq < state.FirstSeq && state.LastSeq >= held.Seq
	reached := loss.Own != nil && loss.Own.Seq >= held.Seq
	switch {
	case aged:
		return nil, nil
	case state.LastSeq < held.Seq:
		return loss, nil
	}
	msg, err := s.message(ctx, stream, getRequest{Seq: held.Seq})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		if reached || held.Expires {
			return nil, nil
		}
		return loss, nil
	}
	if err != nil {
		return nil, err
	}
	if msg.Subject == held.Subject && msg.Header.Get(header.MsgID) == held.ID {
		return nil, nil
	}
	if reached {
		loss.Kind = LossDiffers
	}
	return loss, nil
}

// losses compares everything that a peer holds of this region with what is here.
func (h *Hub) losses(ctx context.Context, a *positionAnswer) ([]Loss, error) {
	var out []Loss
	add := func(tenant string, s *session, stream, own string, held Held) error {
		loss, err := h.lossOf(ctx, s, stream, own, held)
		if loss != nil {
			loss.Tenant, loss.Peer = tenant, a.Region
			out = append(out, *loss)
		}
		return err
	}
	if a.Epoch > h.Origin().Epoch {
		out = append(out, Loss{Stream: subject.ControlStream, Peer: a.Region, Kind: LossEpoch, Epoch: a.Epoch})
	}
	if a.Control != nil {
		if err := add("", h.control, subject.ControlStream, subject.ControlOf(h.Origin()), *a.Control); err != nil {
			return nil, err
		}
	}
	for name, held := range a.Events {
		if t, ok := h.State().Tenants[name]; ok && t.JWT == "" {
			continue // removed: its streams are gone on purpose
		}
		var s *session
		if ten := h.tenancyOf(name); ten != nil {
			s = ten.openSession()
		}
		if err := add(name, s, subject.EventsStream, subject.Replicated(h.Origin()), held); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ask asks one peer what it holds of this region under its present origin.
func (h *Hub) ask(ctx context.Context, peer string) (*positionAnswer, error) {
	return h.askOf(ctx, peer, h.Origin())
}

func (h *Hub) askOf(ctx context.Context, peer string, o subject.Origin) (*positionAnswer, error) {
	raw, err := json.Marshal(positionRequest{Origin: o.String()})
	if err != nil {
		return nil, err
	}
	m, err := h.control.conn.RequestWithContext(ctx, subject.Position(peer), raw)
	if err != nil {
		return nil, err
	}
	a := new(positionAnswer)
	if err := json.Unmarshal(m.Data, a); err != nil {
		return nil, err
	}
	if a.Error != "" {
		h.log.Debug("a peer cannot tell its position yet", zap.String("peer", peer), zap.String("why", a.Error))
		return nil, errors.New(a.Error)
	}
	a.Region = peer // who answers under this subject is decided by the links
	return a, nil
}
