package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// comparison is one round of one tenant: what every peer has and this region may lack, and what came of it.
// Only the loop of repairs uses it.
type comparison struct {
	h      *Hub
	t      sharedTenant
	tr     *tracked
	window digest.Window
	peers  []*compared
	lost   map[digest.Hash]*lost // that were not found in the buckets of the peer's copy
}

// compared is what one peer said.
type compared struct {
	peer     string
	err      error
	skipped  bool                         // it did not answer for another tenant in this round
	listed   map[digest.Key][2]digest.Sum // buckets whose events were listed, with the own sum and the peer's
	groups   map[digest.Key][2]digest.Sum // that differ only in buckets which are settled
	missing  int
	repaired int
	left     map[string]int // why events are still missing
}

// lost is an event that some peers have and this region may lack.
type lost struct {
	copies []copyAt
	why    string // it was not repaired
}

// copyAt is an event in the stream of a peer.
type copyAt struct {
	entry
	peer *compared
}

// compareTenant compares a tenant with every peer and brings back what is lost here.
func (h *Hub) compareTenant(ctx context.Context, t sharedTenant, tr *tracked, down map[string]error) {
	info, err := eventsInfo(ctx, t.session)
	if err != nil {
		h.log.Debug("events not compared", zap.String("tenant", t.name), zap.Error(err))
		return
	}
	c := &comparison{h: h, t: t, tr: tr, lost: map[digest.Hash]*lost{}, window: digest.Window{
		Now: h.opts.Now(), After: h.opts.RepairAfter, MaxAge: info.Config.MaxAge, Width: h.opts.RepairBucket,
	}}
	c.prune()
	for _, peer := range t.peers {
		p := &compared{peer: peer, left: map[string]int{}, listed: map[digest.Key][2]digest.Sum{}, groups: map[digest.Key][2]digest.Sum{}}
		c.peers = append(c.peers, p)
		if p.err = down[peer]; p.err != nil {
			p.skipped = true
			continue
		}
		p.err = c.compare(ctx, p)
		if unanswered(p.err) {
			down[peer] = p.err
		}
	}
	if err := c.resolve(ctx); err != nil && ctx.Err() == nil {
		for _, p := range c.peers {
			p.err = cmp.Or(p.err, err)
		}
	}
	if ctx.Err() == nil {
		c.conclude()
	}
}

// unanswered says that nobody heard the request, so that the peer need not be asked again in this round.
func unanswered(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)
}

// prune forgets what has become too old to compare.
func (c *comparison) prune() {
	c.h.repairs.mu.Lock()
	defer c.h.repairs.mu.Unlock()
	c.tr.index.Prune(c.window)
	for k := range c.tr.settled {
		if !c.window.Kept(digest.Key{TTL: k.key.TTL, Slot: k.key.Slot + k.slots - 1}) {
			delete(c.tr.settled, k)
		}
	}
}

// compare finds the buckets that differ and lists those events of the peer that the same buckets lack here.
func (c *comparison) compare(ctx context.Context, p *compared) error {
	keys, err := c.differing(ctx, p)
	if err != nil || len(keys) == 0 {
		return err
	}
	theirs, err := c.list(ctx, p, keys)
	if err != nil {
		return err
	}
	if err := c.subtractOwn(ctx, theirs, keys); err != nil {
		return err
	}
	full := false
	for hash, e := range theirs {
		l := c.lost[hash]
		if l == nil {
			if len(c.lost) == maxCandidates {
				full = true
				continue
			}
			l = &lost{}
			c.lost[hash] = l
		}
		l.copies = append(l.copies, copyAt{e, p})
	}
	if full {
		clear(p.listed) // what did not fit is looked for again
	}
	return nil
}

// differing are the buckets to list in this round.
func (c *comparison) differing(ctx context.Context, p *compared) ([]digest.Key, error) {
	own := c.fold(groupSlots, nil)
	total := digest.Total(own)
	groups, err := c.sums(ctx, p, repairRequest{Slots: groupSlots, Total: &total})
	if err != nil || groups == nil {
		return nil, err
	}
	cursor := c.tr.cursor[p.peer]
	delete(c.tr.cursor, p.peer)
	left := c.unsettled(p, groupSlots, own, groups)
	left = rotate(left, cursor.Spanned(groupSlots))
	cut := len(left) > groupsPerRound
	if left = left[:min(len(left), groupsPerRound)]; len(left) == 0 {
		return nil, nil
	}
	buckets, err := c.sums(ctx, p, repairRequest{Slots: 1, Groups: left})
	if err != nil {
		return nil, err
	}
	mine := c.fold(1, left)
	keys := c.unsettled(p, 1, mine, buckets)
	for _, g := range left {
		if !slices.ContainsFunc(keys, func(k digest.Key) bool { return k.Spanned(groupSlots) == g }) {
			p.groups[g] = [2]digest.Sum{own[g], groups[g]}
		}
	}
	if len(keys) == 0 {
		if cut {
			c.tr.cursor[p.peer] = afterGroup(left[len(left)-1])
		}
		return nil, nil
	}
	chosen := choose(rotate(keys, cursor), func(k digest.Key) uint64 { return max(mine[k].Count, buckets[k].Count) })
	for _, k := range chosen {
		p.listed[k] = [2]digest.Sum{mine[k], buckets[k]}
	}
	if cut || len(chosen) < len(keys) {
		c.tr.cursor[p.peer] = digest.Key{TTL: chosen[len(chosen)-1].TTL + 1, Slot: chosen[len(chosen)-1].Slot}
	}
	return chosen, nil
}

// afterGroup is the first key behind a group.
func afterGroup(g digest.Key) digest.Key { return digest.Key{Slot: g.Slot + groupSlots} }

// rotate lets the keys from a cursor on come first, so that no bucket waits for ever behind others.
func rotate(keys []digest.Key, cursor digest.Key) []digest.Key {
	i, _ := slices.BinarySearchFunc(keys, cursor, digest.Key.Compare)
	return slices.Concat(keys[i:], keys[:i])
}

// choose takes as many buckets as one round lists, at least one.
func choose(keys []digest.Key, count func(digest.Key) uint64) []digest.Key {
	sum := uint64(0)
	for i, k := range keys {
		if sum += count(k); i > 0 && sum > listPerRound || i == groupSlots {
			return keys[:i]
		}
	}
	return keys
}

func (c *comparison) fold(slots int64, in []digest.Key) map[digest.Key]digest.Sum {
	c.h.repairs.mu.Lock()
	defer c.h.repairs.mu.Unlock()
	return c.tr.index.Fold(c.window, slots, in, groupSlots)
}

// unsettled are the spans that differ and of which it is not known that nothing is missing.
func (c *comparison) unsettled(p *compared, slots int64, own, theirs map[digest.Key]digest.Sum) []digest.Key {
	return slices.DeleteFunc(digest.Lacking(own, theirs), func(k digest.Key) bool {
		known, ok := c.tr.settled[settledKey{p.peer, slots, k}]
		return ok && known == [2]digest.Sum{own[k], theirs[k]}
	})
}

// sums asks for sums; nil when the peer says that the totals are equal.
func (c *comparison) sums(ctx context.Context, p *compared, req repairRequest) (map[digest.Key]digest.Sum, error) {
	req.Op = opDigests
	a, err := c.ask(ctx, p.peer, req)
	if err != nil || a.Equal {
		return nil, err
	}
	out := make(map[digest.Key]digest.Sum, len(a.Sums))
	for _, s := range a.Sums {
		out[s.Key] = s.Sum
	}
	return out, nil
}

// list asks for the events of buckets.
func (c *comparison) list(ctx context.Context, p *compared, keys []digest.Key) (map[digest.Hash]entry, error) {
	out := map[digest.Hash]entry{}
	req := repairRequest{Op: opList, Buckets: keys}
	for {
		a, err := c.ask(ctx, p.peer, req)
		if err != nil {
			return nil, err
		}
		for _, e := range a.Events {
			o, err := subject.ParseOrigin(e.Origin)
			if err != nil || len(e.Hash) != len(digest.Hash{}) {
				return nil, fault.New("hub.repair", fault.Invalid, "bad_answer", "region %s lists an event that is none", p.peer)
			}
			found := entry{key: digest.Key{TTL: e.TTL, Slot: e.Slot}, hash: digest.Hash(e.Hash), seq: e.Seq, origin: o, originSeq: e.OriginSeq}
			if _, ok := p.listed[found.key]; ok {
				out[found.hash] = found
			}
		}
		if a.Next == 0 {
			return out, nil
		}
		if a.Next <= req.From {
			return nil, fault.New("hub.repair", fault.Invalid, "bad_answer", "region %s does not get on with its list", p.peer)
		}
		req.From = a.Next
	}
}

// subtractOwn takes out what the same buckets have here.
func (c *comparison) subtractOwn(ctx context.Context, theirs map[digest.Hash]entry, keys []digest.Key) error {
	c.h.repairs.mu.Lock()
	first, last, some := c.tr.index.Range(keys)
	c.h.repairs.mu.Unlock()
	for r := (span{from: first, to: last, limit: indexPerRound}); some && len(theirs) > 0; {
		next, drained, err := scanBuckets(ctx, c.t.session, r, c.window.Width, keys, func(e entry) { delete(theirs, e.hash) })
		if err != nil || drained {
			return err
		}
		r.from = next
	}
	return nil
}

// ask sends one request to a peer's hub.
func (c *comparison) ask(ctx context.Context, peer string, req repairRequest) (*repairAnswer, error) {
	req.Tenant, req.Window = c.t.name, c.window
	raw, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, 2*apiTimeout) // the peer makes calls of its own to answer
	defer cancel()
	m, err := c.h.control.conn.RequestWithContext(call, subject.Repair(peer, c.h.opts.Identity.Region), raw)
	if err != nil {
		return nil, err
	}
	a := new(repairAnswer)
	if err := json.Unmarshal(m.Data, a); err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a, nil
}

// timeRange is from when to when some events were accepted.
func (c *comparison) timeRange() (from, to time.Time) {
	for _, l := range c.lost {
		f, t := c.window.Span(l.copies[0].key)
		if from.IsZero() || f.Before(from) {
			from = f
		}
		if t.After(to) {
			to = t
		}
	}
	return from, to
}

// inOrder are the lost events as their regions stored them, so that copies of one key stay in order.
func (c *comparison) inOrder() []*lost {
	out := make([]*lost, 0, len(c.lost))
	for _, l := range c.lost {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *lost) int {
		x, y := a.copies[0], b.copies[0]
		return cmp.Or(cmp.Compare(x.peer.peer, y.peer.peer), cmp.Compare(x.seq, y.seq))
	})
	return out
}
