package group

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
)

// The labels of a durable that tell, in its metadata, who owns it.
const (
	LabelGroup = "weft-group"
	LabelOwner = "weft-owner"
	LabelSince = "weft-since"
	LabelStore = "weft-store"
)

// storeName tells where the marks are: in the store of all members, or in the one of a solo group, which has a name if it is
// embedded.
func (m *Member) storeName() string {
	if !m.opts.Solo {
		return m.view.Store
	}
	if named, ok := m.opts.Store.(interface{ Name() string }); ok {
		return named.Name()
	}
	return "solo"
}

// begin claims a durable and owns it, beside the caller.
func (m *Member) begin(ctx context.Context, durable string) {
	m.mu.Lock()
	m.busy[durable] = true
	m.mu.Unlock()
	store := m.storeName()
	m.work.Go(func() {
		defer func() {
			m.mu.Lock()
			delete(m.busy, durable)
			m.mu.Unlock()
			m.nudge()
		}()
		err := m.own(ctx, durable, store)
		switch {
		case err == nil || ctx.Err() != nil:
			return
		case fault.CodeOf(err) == CodeHeld, fault.CodeOf(err) == consumers.CodeTakenOver:
			m.log.Debug("durable is another's", zap.String("durable", durable), zap.Error(err))
		default:
			m.log.Warn("durable not owned, it is tried again", zap.String("durable", durable), zap.Error(err))
		}
		select { // not at once
		case <-time.After(m.opts.TTL / 4):
		case <-ctx.Done():
		}
	})
}

// own claims a durable and handles its events until the claim ends.
func (m *Member) own(ctx context.Context, durable, store string) error {
	begun := time.Now()
	call, cancel := context.WithTimeout(ctx, m.opts.TTL/2)
	lease, err := m.registry.Claim(call, Claiming{Durable: durable, Member: m.opts.Member, Region: m.region.home.Region, TTL: m.opts.TTL})
	cancel()
	if err != nil {
		return err
	}
	c := m.claimed(ctx, lease, begun)
	defer m.ends(c)
	r, err := lookAt(c.ctx, m.region.js, m.opts.Subscription.Stream, m.opts.Subscription.APITimeout) // epochs may have risen
	if err != nil {
		return err
	}
	c.track.home, r.partitions = r.home, c.partitions
	resume, err := m.place(c, r, store)
	if err != nil {
		return err
	}
	sub, err := consumers.Subscribe(c.ctx, m.subscription(c, resume, store))
	if err != nil {
		return err
	}
	c.log.Info("durable owned", zap.Uint64("epoch", lease.Epoch), zap.Uint64("resume", resume), zap.Duration("after", time.Since(begun)))
	err = m.handle(c.ctx, c, sub)
	m.unlabel(c, r)
	return err
}

// unlabel takes the owner's name off a durable that is given back, for whoever looks at it. Nobody else can have it yet.
func (m *Member) unlabel(c *Claim, r *region) {
	if c.lost() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), m.opts.TTL/4)
	defer cancel()
	cons, err := r.js.Consumer(ctx, m.opts.Subscription.Stream, c.durable)
	if err == nil {
		config := cons.CachedInfo().Config
		if epoch, _ := consumers.OwnerEpoch(&config); epoch != c.lease.Epoch {
			return
		}
		delete(config.Metadata, LabelOwner)
		_, err = r.js.UpdateConsumer(ctx, m.opts.Subscription.Stream, config)
	}
	if err != nil {
		c.log.Debug("label not taken off", zap.Error(err))
	}
}

func (m *Member) claimed(ctx context.Context, lease Lease, begun time.Time) *Claim {
	ctx, end := context.WithCancel(ctx)
	c := &Claim{
		durable: lease.Durable, lease: lease, ctx: ctx, end: end, log: m.log.With(zap.String("durable", lease.Durable)),
		partitions: Partitions(m.opts.Width, slices.Index(m.durables, lease.Durable)),
		track:      newTracker(lease.Durable, m.region.home),
	}
	c.extend(begun.Add(m.opts.TTL / 2))
	m.mu.Lock()
	m.claims[c.durable] = c
	m.mu.Unlock()
	m.metrics.claims.Inc()
	return c
}

// ends gives a durable back in the next beat, with how far it has come. Where another owner has it, that says nothing.
func (m *Member) ends(c *Claim) {
	c.over()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.claims, c.durable)
	m.ended = append(m.ended, Held{Durable: c.durable, Epoch: c.lease.Epoch, Moved: c.track.take(), Release: true})
}

// subscription is how a claimed durable is read. Whatever a process that was stopped had asked the server for is over when its
// lease is: pull requests wait for half the TTL.
func (m *Member) subscription(c *Claim, resume uint64, store string) consumers.Options {
	o := m.opts.Subscription
	o.Conn, o.URLs, o.CredsFile, o.TLS = m.nc, nil, "", nil
	o.Durable, o.From, o.Track = c.durable, consumers.FromAll(), c.track
	o.PullExpiry = max(m.opts.TTL/2, time.Second)
	if m.opts.Width > 1 {
		o.Partitions = c.partitions
	}
	o.Owner = &consumers.Owner{Epoch: c.lease.Epoch, Resume: resume, Labels: map[string]string{
		LabelGroup: m.opts.Group, LabelOwner: m.opts.Member, LabelStore: store, LabelSince: time.Now().UTC().Format(time.RFC3339),
	}}
	return o
}

// place finds where a claimed durable goes on, zero for where the owner before it stopped, and what of its events is dealt with.
func (m *Member) place(c *Claim, r *region, store string) (resume uint64, err error) {
	call, cancel := context.WithTimeout(c.ctx, m.opts.TTL/2)
	all, err := m.registry.Reached(call)
	cancel()
	if err != nil {
		return 0, err
	}
	at := slices.DeleteFunc(all, func(p Position) bool { return p.Durable != c.durable })
	goesOn, err := m.goesOn(c, r, store)
	switch {
	case err != nil:
		return 0, err
	case goesOn:
		c.track.dealt = beforePositions(r, at)
		return 0, nil
	case len(at) == 0:
		return m.found(c, r)
	}
	s, err := locate(c.ctx, r, r.home, streamsIn(r.home, r.peers, at), at)
	if err != nil {
		return 0, err
	}
	c.track.dealt = func(msg *consumers.Message) bool {
		return msg.Sequence < s.first[stream{msg.Origin, msg.Subject.Scope}]
	}
	c.log.Info("position found in this region", zap.Uint64("resume", s.resume), zap.Int("streams", len(at)))
	return s.resume, nil
}

// goesOn says whether the durable in this region is the one that the owner before this one used: then it knows best where it
// stopped. One that belongs to another group, or to one whose marks are elsewhere, is refused.
func (m *Member) goesOn(c *Claim, r *region, store string) (bool, error) {
	call, cancel := context.WithTimeout(c.ctx, r.wait)
	defer cancel()
	cons, err := r.js.Consumer(call, m.opts.Subscription.Stream, c.durable)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fault.Wrap(opStart, fault.Unavailable, err)
	}
	config := &cons.CachedInfo().Config
	if have := config.Metadata[LabelStore]; have != "" && have != store {
		return false, fault.New(opStart, fault.Conflict, "another_store",
			"durable %q belongs to a group whose marks are in store %s, this one's are in %s: give all members the same store, or delete the durable to found the group anew",
			c.durable, have, store)
	}
	epoch, owned := consumers.OwnerEpoch(config)
	if m.opts.Solo {
		return owned, nil // there is no other owner, and no other region
	}
	before := c.lease.Before
	return before != nil && before.Region == r.home.Region && before.Epoch == epoch, nil
}

// beforePositions says of an event whether a position has passed it.
func beforePositions(r *region, at []Position) func(*consumers.Message) bool {
	known := make(map[stream]uint64, len(at))
	for _, p := range at {
		if !recopied(r.home, p.Origin) {
			known[stream{p.Origin, p.Scope}] = p.Seq
		}
	}
	return func(m *consumers.Message) bool {
		return !m.Repaired && !recopied(r.home, m.Origin) && m.OriginSeq <= known[stream{m.Origin, m.Subject.Scope}]
	}
}

// found begins a durable of a new group where Options.Subscription.From says, and records that as its position.
func (m *Member) found(c *Claim, r *region) (uint64, error) {
	call, cancel := context.WithTimeout(c.ctx, r.wait)
	defer cancel()
	from, err := m.opts.Subscription.From.Sequence(call, r.js, m.opts.Subscription.Stream)
	if err != nil {
		return 0, err
	}
	ps, err := seed(c.ctx, r, c.durable, streamsIn(r.home, r.peers, nil), from)
	if err != nil {
		return 0, err
	}
	c.track.giveBack(ps)
	return max(from, 1), nil
}
