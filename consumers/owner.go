package consumers

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// Owner makes a durable one subscription's at a time: the server serves none but the one with the highest epoch.
//
// Whoever subscribes under a higher epoch takes the durable over. What its predecessor had fetched and not acknowledged
// comes again, in order, and the predecessor is refused: its Run ends with kind Conflict and code CodeTakenOver. The epoch
// is the name of the durable's one priority group, which each pull request has to name.
//
// A pull request that the predecessor had sent before is still served, for Options.PullExpiry at most, and what it brings
// stays with the predecessor until its Run has ended. Who takes over therefore knows, as package group does by its leases,
// that the predecessor has been gone, or has not been running, for that long. What no server can hold to an epoch is the
// effect: see idempotency.Fence.
type Owner struct {
	Epoch  uint64            // from 1
	Resume uint64            // sequence to go on from when taking over; 0: after the last event before which all are acknowledged
	Labels map[string]string // shown in the durable's metadata; one with an empty value is removed
}

// CodeTakenOver is the code of the fault with which Run ends, or Subscribe refuses, when another owner has the durable.
const CodeTakenOver = "taken_over"

// ownerPrefix begins the name of the priority group, which has at most 16 characters.
const ownerPrefix = "e"

func (o *Owner) group() string { return ownerPrefix + strconv.FormatUint(o.Epoch, 36) }

// apply writes the owner into the durable's configuration.
func (o *Owner) apply(c *jetstream.ConsumerConfig, expiry time.Duration) {
	// No request of this policy waits for another one's, unless it asks to.
	c.PriorityPolicy, c.PriorityGroups = jetstream.PriorityPolicyOverflow, []string{o.group()}
	c.MaxRequestExpires = expiry
	labels := maps.Clone(c.Metadata)
	if labels == nil {
		labels = make(map[string]string, len(o.Labels))
	}
	maps.Copy(labels, o.Labels)
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	c.Metadata = labels
}

// OwnerEpoch is the epoch under which a durable is owned, false if it is nobody's in particular.
func OwnerEpoch(c *jetstream.ConsumerConfig) (epoch uint64, owned bool) {
	if c.PriorityPolicy != jetstream.PriorityPolicyOverflow || len(c.PriorityGroups) != 1 {
		return 0, false
	}
	digits, ok := strings.CutPrefix(c.PriorityGroups[0], ownerPrefix)
	epoch, err := strconv.ParseUint(digits, 36, 64)
	return epoch, ok && err == nil
}

// checkOwner compares under which epoch a durable is owned with the one asked for. A lower one is no conflict.
func (s *Subscription) checkOwner(have *jetstream.ConsumerConfig) error {
	epoch, owned := OwnerEpoch(have)
	o := s.opts.Owner
	switch {
	case o == nil && owned:
		return s.conflict("durable_owned", "belongs to the members of a consumer group: join it, or choose another name")
	case o == nil && len(have.PriorityGroups) > 0:
		return s.conflict("durable_kind", "exists with priority groups, which are not supported")
	case o != nil && !owned:
		return s.conflict("durable_kind", "exists and is no consumer group's: choose another name, or delete it (its position is lost)")
	case o != nil && epoch > o.Epoch:
		return s.conflict(CodeTakenOver, "is owned under epoch %d, this owner's is %d: stop handling it", epoch, o.Epoch)
	}
	return nil
}

// takeOver makes the durable this owner's, if it is not, and lets what was fetched and not acknowledged come again.
// Where it resumes elsewhere that is done first as well: whoever finds this epoch knows that it was.
func (s *Subscription) takeOver(ctx context.Context, fresh bool) error {
	o := s.opts.Owner
	if o == nil {
		return nil
	}
	have := s.durable.CachedInfo().Config
	epoch, _ := OwnerEpoch(&have)
	if epoch == o.Epoch && !fresh {
		return nil // bound again
	}
	if o.Resume > 0 && fresh {
		if err := s.reset(ctx, o.Resume); err != nil {
			return err
		}
	}
	want := have
	want.FilterSubjects = slices.Clone(have.FilterSubjects)
	o.apply(&want, s.opts.PullExpiry)
	cons, err := ask(ctx, s.opts.APITimeout, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.js.UpdateConsumer(ctx, s.opts.Stream, want)
	})
	if err != nil {
		return s.apiFault("take over", err)
	}
	s.durable = cons
	resume := uint64(0)
	if fresh {
		resume = o.Resume
	}
	s.log.Info("durable taken over", zap.Uint64("epoch", o.Epoch), zap.Uint64("before", epoch), zap.Uint64("resume", resume))
	return s.reset(ctx, resume)
}

// reset lets the durable go on at a sequence, 0 for the first event that is not acknowledged.
func (s *Subscription) reset(ctx context.Context, sequence uint64) error {
	_, err := ask(ctx, s.opts.APITimeout, func(ctx context.Context) (*jetstream.ConsumerResetResponse, error) {
		if sequence == 0 {
			return s.js.ResetConsumer(ctx, s.opts.Stream, s.opts.Durable)
		}
		return s.js.ResetConsumerToSequence(ctx, s.opts.Stream, s.opts.Durable, sequence)
	})
	if err != nil {
		return s.apiFault("reset", err)
	}
	return nil
}

// Tracker is told what becomes of the events of a subscription. Both methods are called at the speed of the stream: they
// are quick and do not block.
type Tracker interface {
	// Arrived is called for each delivery, in their order, before the handler; one whose AckWait ran out arrives again. An event
	// for which it returns false was dealt with before: it is acknowledged, and neither handled nor settled.
	Arrived(m *Message) bool
	// Settled is called after an event was handled or parked, from any worker, before that is acknowledged.
	Settled(m *Message)
}
