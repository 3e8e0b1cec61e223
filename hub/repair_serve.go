package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// repairRequest is what a region asks of a peer about one tenant.
type repairRequest struct {
	Op     string        `json:"op"` // one of the op* constants
	Tenant string        `json:"tenant"`
	Window digest.Window `json:"window"`

	Total   *digest.Sum  `json:"total,omitempty"` // digests: of everything comparable that the asking region has
	Slots   int64        `json:"slots,omitempty"` // digests: that each sum of the answer covers
	Groups  []digest.Key `json:"groups,omitempty"`
	Buckets []digest.Key `json:"buckets,omitempty"` // list
	From    uint64       `json:"from,omitempty"`    // list: where the last answer ended
	Seqs    []uint64     `json:"seqs,omitempty"`    // fetch
	Offset  int          `json:"offset,omitempty"`  // fetch: into the first message, when it is larger than an answer
}

const (
	opDigests = "digests" // sums over spans of slots
	opList    = "list"    // the events of some buckets
	opFetch   = "fetch"   // whole messages
)

// The sizes of an answer: all of them stay well below the megabyte that a server lets through.
const (
	maxSums      = 6000
	listedAtOnce = 5000
	listReads    = 25_000 // messages that are read for one answer
	maxFetched   = 200
	fetchBytes   = 512 << 10
)

type repairAnswer struct {
	Error    string        `json:"error,omitempty"`
	Equal    bool          `json:"equal,omitempty"` // digests: the totals are the same
	Sums     []keySum      `json:"sums,omitempty"`
	Events   []listedEvent `json:"events,omitempty"`
	Next     uint64        `json:"next,omitempty"` // list: where to go on; 0 at the end
	Messages []part        `json:"messages,omitempty"`
}

type keySum struct {
	digest.Key
	digest.Sum
}

// listedEvent is one event of a list.
type listedEvent struct {
	TTL       int64  `json:"t,omitempty"`
	Slot      int64  `json:"b"`
	Hash      []byte `json:"h"`
	Seq       uint64 `json:"s"`
	Origin    string `json:"o"`
	OriginSeq uint64 `json:"n"`
}

// part is a message, or as much of its body as an answer takes.
type part struct {
	Seq     uint64      `json:"seq"`
	Subject string      `json:"subject"`
	Header  nats.Header `json:"header"`
	Data    []byte      `json:"data"`
	Size    int         `json:"size"` // of the whole body
}

// serveRepairs answers peers until ctx ends, one request at a time. Every server of the region hears them and
// the one that leads, which alone has an index, answers: during a change of the leader nobody does, and
// the peer asks again in its next round.
func (h *Hub) serveRepairs(ctx context.Context) {
	requests := make(chan *nats.Msg, 64)
	sub, err := h.control.conn.ChanSubscribe(subject.Repair(h.opts.Identity.Region, "*"), requests)
	if err != nil {
		h.log.Error("peers cannot compare themselves with this region", zap.Error(err))
		return
	}
	defer func() { _ = sub.Unsubscribe() }()
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-requests:
			if !h.leads() {
				continue
			}
			answer, err := h.answerRepair(ctx, m)
			if err != nil {
				answer = &repairAnswer{Error: err.Error()}
			}
			h.respond(m, answer)
		}
	}
}

func (h *Hub) answerRepair(ctx context.Context, m *nats.Msg) (*repairAnswer, error) {
	var req repairRequest
	if err := json.Unmarshal(m.Data, &req); err != nil {
		return nil, err
	}
	who := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	s, err := h.sharedWith(req.Tenant, who)
	if err != nil {
		return nil, err
	}
	if req.Window.Width != h.opts.RepairBucket {
		return nil, fault.New("hub.repair", fault.Conflict, "other_buckets", "region %s compares buckets of %s, not of %s: set repair_bucket alike in all regions",
			h.opts.Identity.Region, h.opts.RepairBucket, req.Window.Width)
	}
	switch req.Op {
	case opDigests:
		return h.repairDigests(req)
	case opList:
		return h.repairList(ctx, s, req)
	case opFetch:
		return repairFetch(ctx, s, req, h.opts.RepairBucket)
	default:
		return nil, fault.New("hub.repair", fault.Invalid, "unknown_op", "%.40q is not asked here", req.Op)
	}
}

// sharedWith is the session of a tenant that both regions have; a peer is told nothing of others.
func (h *Hub) sharedWith(tenant, peer string) (*session, error) {
	t, ok := h.State().Tenants[tenant]
	if !ok || t.State == accounts.Removed || !h.isPeer(peer) || !t.In(peer) || !t.In(h.opts.Identity.Region) {
		return nil, fault.New("hub.repair", fault.NotFound, "not_shared", "tenant %.64q is not in both regions", tenant)
	}
	ten := h.tenancyOf(tenant)
	if ten == nil || ten.openSession() == nil {
		return nil, fault.New("hub.repair", fault.Unavailable, "starting", "tenant %s is not open yet", tenant)
	}
	return ten.openSession(), nil
}

// indexed calls use with the index of a tenant, if it is complete.
func (h *Hub) indexed(tenant string, use func(*digest.Index)) error {
	h.repairs.mu.Lock()
	defer h.repairs.mu.Unlock()
	tr := h.repairs.tracked[tenant]
	if tr == nil || !tr.whole {
		return fault.New("hub.repair", fault.Unavailable, "indexing", "region %s has not indexed %s yet", h.opts.Identity.Region, tenant)
	}
	use(tr.index)
	return nil
}

func (h *Hub) repairDigests(req repairRequest) (*repairAnswer, error) {
	if req.Slots < 1 || len(req.Groups) > groupsPerRound {
		return nil, fault.New("hub.repair", fault.Invalid, "bad_request", "%d slots, %d groups", req.Slots, len(req.Groups))
	}
	var sums map[digest.Key]digest.Sum
	if err := h.indexed(req.Tenant, func(x *digest.Index) { sums = x.Fold(req.Window, req.Slots, req.Groups, groupSlots) }); err != nil {
		return nil, err
	}
	if req.Total != nil && digest.Total(sums) == *req.Total {
		return &repairAnswer{Equal: true}, nil
	}
	if len(sums) > maxSums {
		return nil, fault.New("hub.repair", fault.Invalid, "too_many", "%d sums do not fit in an answer: raise repair_bucket", len(sums))
	}
	a := &repairAnswer{Sums: make([]keySum, 0, len(sums))}
	for k, s := range sums {
		a.Sums = append(a.Sums, keySum{k, s})
	}
	return a, nil
}

// repairList lists the events of buckets, from a sequence on, until the answer is full.
func (h *Hub) repairList(ctx context.Context, s *session, req repairRequest) (*repairAnswer, error) {
	var r span
	var some bool
	if err := h.indexed(req.Tenant, func(x *digest.Index) { r.from, r.to, some = x.Range(req.Buckets) }); err != nil {
		return nil, err
	}
	if !some || req.From > r.to {
		return &repairAnswer{}, nil
	}
	r.from, r.limit = max(r.from, req.From), listReads
	a := &repairAnswer{}
	full := uint64(0)
	next, drained, err := scanBuckets(ctx, s, r, h.opts.RepairBucket, req.Buckets, func(e entry) {
		switch {
		case full > 0:
		case len(a.Events) == listedAtOnce:
			full = e.seq
		default:
			a.Events = append(a.Events, listedEvent{TTL: e.key.TTL, Slot: e.key.Slot, Hash: e.hash[:], Seq: e.seq, Origin: e.origin.String(), OriginSeq: e.originSeq})
		}
	})
	switch {
	case err != nil:
		return nil, err
	case full > 0:
		a.Next = full
	case !drained:
		a.Next = next
	}
	return a, nil
}

// scanBuckets hands each the events of a span that are in some of these buckets.
func scanBuckets(ctx context.Context, s *session, r span, width time.Duration, keys []digest.Key, each func(entry)) (uint64, bool, error) {
	wanted := map[digest.Key]bool{}
	for _, k := range keys {
		wanted[k] = true
	}
	return scanHeaders(ctx, s, r, func(m *stored) {
		if e, ok := entryOf(m, width); ok && wanted[e.key] {
			each(e)
		}
	})
}

// repairFetch reads whole messages until the answer is full. One that is gone, or that no other region may see,
// is left out.
func repairFetch(ctx context.Context, s *session, req repairRequest, width time.Duration) (*repairAnswer, error) {
	if len(req.Seqs) == 0 || len(req.Seqs) > maxFetched || req.Offset < 0 {
		return nil, fault.New("hub.repair", fault.Invalid, "bad_request", "%d sequences", len(req.Seqs))
	}
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	st, err := s.js.Stream(call, subject.EventsStream)
	if err != nil {
		return nil, err
	}
	a := &repairAnswer{}
	size := 0
	for i, seq := range req.Seqs {
		msg, err := st.GetMsg(call, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, ok := entryOf(&stored{seq: seq, subject: msg.Subject, header: msg.Header}, width); !ok {
			continue
		}
		p := part{Seq: seq, Subject: msg.Subject, Header: msg.Header, Data: msg.Data, Size: len(msg.Data)}
		if i == 0 && req.Offset > 0 {
			p.Data = p.Data[min(req.Offset, len(p.Data)):]
		}
		p.Data = p.Data[:min(len(p.Data), fetchBytes)]
		if size += len(p.Data); size > fetchBytes && len(a.Messages) > 0 {
			break
		}
		a.Messages = append(a.Messages, p)
	}
	return a, nil
}
