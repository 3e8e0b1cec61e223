package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/subject"
)

const dlqRequeueLong = `requeue has dead letters handled again by the consumer that gave them up, and by no other: each is stored in DLQ once more, byte for
byte, with who requeued it and why, for that consumer alone, which must run in this region. Choose them by their sequences, or by
--cause, --consumer and --since. Without --yes it lists them and does nothing.

Order: an event that is requeued is handled after everything of its key that the consumer has handled since it was given up. A consumer
that reorders hands it to its correction handler. Twice: it keeps its event id, so an effect behind an idempotency store happens once.

What became of it is in ls: waiting, then handled. One that fails again is a dead letter again. Discard the handled ones when you no longer need the record.`

// dlqRequeue are the flags of requeue beside the usual ones.
type dlqRequeue struct {
	dlqOptions
	by, why string
	dryRun  bool
}

func newDLQRequeue() *cobra.Command {
	o := &dlqRequeue{}
	cmd := &cobra.Command{
		Use:     "requeue [SEQ...]",
		Short:   "Have dead letters handled again by the consumer that gave them up",
		Long:    dlqRequeueLong,
		Example: "  weft dlq requeue 17 --why 'the ledger knows the currency now' --yes\n  weft dlq requeue --consumer ledger --cause failure --why 'fixed in 2.4.1'     lists, does nothing",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return o.run(cmd, func(ctx context.Context, js jetstream.JetStream) error { return o.requeue(ctx, cmd, js, args) })
		},
	}
	o.nats.register(cmd, " of the tenant's owner")
	o.filters(cmd)
	f := cmd.Flags()
	f.StringVar(&o.why, "why", "", "what has changed since they were given up; kept on the record")
	f.StringVar(&o.by, "by", userName(), "who requeues them; kept on the record")
	f.BoolVar(&o.dryRun, "dry-run", false, "list them and do nothing, which is the default")
	f.BoolVar(&o.yes, "yes", false, "do it")
	return cmd
}

func (o *dlqRequeue) check() error {
	switch {
	case strings.TrimSpace(o.why) == "":
		return usageErrorf("--why is needed: what has changed since the consumer gave them up")
	case strings.TrimSpace(o.by) == "":
		return usageErrorf("--by is needed: who requeues them")
	case o.yes && o.dryRun:
		return usageErrorf("--yes and --dry-run exclude each other")
	}
	return nil
}

// userName is the login name of who runs the program, "" if it has none.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func (o *dlqRequeue) requeue(ctx context.Context, cmd *cobra.Command, js jetstream.JetStream, args []string) error {
	lines, err := o.chosen(ctx, js, args)
	if err != nil {
		return err
	}
	parked := lines[:0]
	for _, l := range lines {
		switch why := l.stays(); {
		case why == "":
			parked = append(parked, l)
		case len(args) > 0:
			return fmt.Errorf("sequence %d %s", l.Seq, why)
		}
	}
	if !o.yes {
		return preview(cmd, "requeue", "Each comes after what its consumer has handled of its key since. ", parked)
	}
	for i, l := range parked {
		if err := o.one(ctx, js, l.Seq); err != nil {
			return fmt.Errorf("%d of %d requeued, then sequence %d: %s", i, len(parked), l.Seq, errorText(err))
		}
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "requeued %s\n", counted(len(parked), "dead letter"))
	return err
}

// stays says why a dead letter cannot be requeued, "" if it can.
func (l *dlqLine) stays() string {
	switch {
	case l.requeued():
		return "is requeued already"
	case l.Consumer == subject.RelayDurable:
		return "was given up by no consumer: a relay put it there, and no consumer has seen it"
	default:
		return ""
	}
}

// one stores the event for its consumer and then takes the letter away: interrupted between the two it leaves both, and
// a second try stores nothing new for as long as the stream compares ids.
func (o *dlqRequeue) one(ctx context.Context, js jetstream.JetStream, seq uint64) error {
	l, err := dlqGet(ctx, js, seq)
	if err != nil {
		return err
	}
	if err := dlqDurable(ctx, js, l.Consumer); err != nil {
		return err
	}
	msg, err := l.Letter.Requeue(deadletter.Requeue{At: time.Now(), By: o.by, Why: o.why}, l.header, l.event)
	if err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, stepWait)
	defer cancel()
	if _, err := js.PublishMsg(call, msg, jetstream.WithExpectStream(subject.DeadLettersStream)); err != nil {
		return err
	}
	return dlqDelete(ctx, js, seq)
}

// dlqDurable makes sure of the durable through which a consumer is given what is requeued.
func dlqDurable(ctx context.Context, js jetstream.JetStream, durable string) error {
	call, cancel := context.WithTimeout(ctx, stepWait)
	defer cancel()
	_, err := js.CreateConsumer(call, subject.DeadLettersStream, jetstream.ConsumerConfig{
		Durable: durable, FilterSubject: subject.Requeued(durable), DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxDeliver: -1, MaxAckPending: deadletter.RequeuedPending,
	})
	return err
}

// dlqStates says which of the requeued events of a consumer are handled.
type dlqStates struct {
	js   jetstream.JetStream
	know map[string]uint64 // up to which sequence, by durable
}

// mark completes the state of a line.
func (s *dlqStates) mark(ctx context.Context, l *dlqLine) error {
	if !l.requeued() {
		return nil
	}
	upTo, known := s.know[l.Consumer]
	if !known {
		call, cancel := context.WithTimeout(ctx, stepWait)
		defer cancel()
		cons, err := s.js.Consumer(call, subject.DeadLettersStream, l.Consumer)
		switch {
		case err == nil:
			upTo = cons.CachedInfo().AckFloor.Stream
		case !errors.Is(err, jetstream.ErrConsumerNotFound):
			return dlqUnreadable(err)
		}
		s.know[l.Consumer] = upTo
	}
	if l.Seq <= upTo {
		l.State = stateHandled
	}
	return nil
}
