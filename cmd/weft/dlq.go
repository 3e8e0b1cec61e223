package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/subject"
)

const dlqLong = `Consumers put an event that they give up into the tenant's stream DLQ of their region, with why: its handler panicked,
called it hopeless (permanent), or failed too often (failure, delayed). The event stands there byte for byte, and the
consumer went on without it. Relays put events there whose type has no schema (unknown_type), where the tenant's rules say
so, and those that no mapping carries over into the other major version (derivation). Nothing leaves DLQ by itself; when it
is full, consumers keep what they give up.

How to go about it: deploy/docs/dead-letters.md.`

// dlqOptions are the flags of dlq's verbs.
type dlqOptions struct {
	nats            natsFlags
	cause, consumer string
	since           sinceFlag
	yes             bool
	format          *choice
}

func newDLQCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dlq", Short: "Read, requeue and discard the events that consumers gave up", Long: dlqLong}
	cmd.AddCommand(newDLQLs(), newDLQShow(), newDLQRequeue(), newDLQDiscard())
	return cmd
}

func newDLQLs() *cobra.Command {
	o := &dlqOptions{}
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List dead letters, oldest first",
		Example: "  weft dlq ls --tenant acme\n  weft dlq ls --consumer ledger --cause panic --since 1h -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd, func(ctx context.Context, js jetstream.JetStream) error {
				out := newDLQPrinter(cmd.OutOrStdout(), o.format.value)
				states := &dlqStates{js: js, know: map[string]uint64{}}
				err := o.each(ctx, js, func(l *dlqLine) error { return errors.Join(states.mark(ctx, l), out.print(l)) })
				if err != nil {
					return err
				}
				return out.end()
			})
		},
	}
	o.nats.register(cmd, " of the tenant's owner")
	o.filters(cmd)
	o.format = outputFlag(cmd, formatTable, formatJSON, formatYAML)
	return cmd
}

func newDLQShow() *cobra.Command {
	o := &dlqOptions{}
	cmd := &cobra.Command{
		Use:     "show SEQ",
		Short:   "Show one dead letter with its event",
		Example: "  weft dlq show 17\n  weft dlq show 17 -o raw > event.json     the event's bytes, exactly",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, func(ctx context.Context, js jetstream.JetStream) error {
				seqs, err := sequences(args)
				if err != nil {
					return err
				}
				l, err := dlqGet(ctx, js, seqs[0])
				if err != nil {
					return err
				}
				if err := (&dlqStates{js: js, know: map[string]uint64{}}).mark(ctx, l); err != nil {
					return err
				}
				return l.show(cmd.OutOrStdout(), o.format.value)
			})
		},
	}
	o.nats.register(cmd, " of the tenant's owner")
	o.format = outputFlag(cmd, formatYAML, formatJSON, formatRaw)
	return cmd
}

func newDLQDiscard() *cobra.Command {
	o := &dlqOptions{}
	cmd := &cobra.Command{
		Use:   "discard [SEQ...]",
		Short: "Delete dead letters for good",
		Long: `discard deletes the dead letters named by their sequences, or all that --cause, --consumer and --since choose.
Without --yes it lists them and deletes nothing. What was discarded is still in EVENTS, for as long as its topic keeps it.`,
		Example: "  weft dlq discard 17 18 --yes\n  weft dlq discard --consumer ledger --cause panic",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, func(ctx context.Context, js jetstream.JetStream) error { return o.discard(ctx, cmd, js, args) })
		},
	}
	o.nats.register(cmd, " of the tenant's owner")
	o.filters(cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do it")
	return cmd
}

func (o *dlqOptions) filters(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.cause, "cause", "", "only this cause: "+strings.Join(letterCauses(), ", "))
	f.StringVar(&o.consumer, "consumer", "", "only what the consumer with this durable gave up")
	f.Var(&o.since, "since", "only what was given up since an RFC 3339 time, or a duration ago (15m, 7d)")
}

func (o *dlqOptions) filtered() bool {
	return o.cause != "" || o.consumer != "" || !time.Time(o.since).IsZero()
}

// run checks the flags, connects and does it.
func (o *dlqOptions) run(cmd *cobra.Command, do func(context.Context, jetstream.JetStream) error) error {
	switch {
	case o.cause != "" && !slices.Contains(letterCauses(), o.cause):
		return usageErrorf("--cause %q is none of %s", o.cause, strings.Join(letterCauses(), ", "))
	case o.consumer != "" && !grant.ValidID(o.consumer):
		return usageErrorf("--consumer %q is no durable's name", o.consumer)
	}
	nc, _, err := o.nats.connect(cmd)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return do(cmd.Context(), js)
}

// letterCauses are what a dead letter may be there for: a consumer's failures that count, and the mesh's own causes.
func letterCauses() []string {
	var out []string
	for _, c := range retry.Classes() {
		if c.Counts() {
			out = append(out, c.String())
		}
	}
	return append(out, deadletter.UnknownType, deadletter.Derivation, subject.CauseRequeued)
}

// sequences reads the places of dead letters.
func sequences(args []string) ([]uint64, error) {
	out := make([]uint64, len(args))
	for i, a := range args {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil || n == 0 {
			return nil, usageErrorf("%q is no sequence: the first column of `weft dlq ls`", a)
		}
		out[i] = n
	}
	return out, nil
}

func dlqUnreadable(err error) error {
	return errorWithHint(fmt.Errorf("cannot read %s: %s", subject.DeadLettersStream, errorText(err)),
		"only the owner's credentials may, made by a mesh that has this stream")
}

// each visits the dead letters that the flags choose, as they were when it was asked.
func (o *dlqOptions) each(ctx context.Context, js jetstream.JetStream, visit func(*dlqLine) error) error {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if o.cause != "" || o.consumer != "" {
		cfg.FilterSubjects = []string{subject.DeadLettersWith(o.cause, o.consumer)}
	}
	if at := time.Time(o.since); !at.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &at
	}
	call, cancel := context.WithTimeout(ctx, stepWait)
	defer cancel()
	cons, err := js.OrderedConsumer(call, subject.DeadLettersStream, cfg)
	if err != nil {
		return dlqUnreadable(err)
	}
	for range cons.CachedInfo().NumPending {
		m, err := cons.Next(jetstream.FetchMaxWait(stepWait))
		if errors.Is(err, nats.ErrTimeout) {
			return nil // the rest was discarded meanwhile
		}
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		l, err := newDLQLine(meta.Sequence.Stream, m.Subject(), m.Headers(), m.Data())
		if err != nil {
			return err
		}
		if err := visit(l); err != nil {
			return err
		}
	}
	return nil
}

func dlqGet(ctx context.Context, js jetstream.JetStream, seq uint64) (*dlqLine, error) {
	call, cancel := context.WithTimeout(ctx, stepWait)
	defer cancel()
	st, err := js.Stream(call, subject.DeadLettersStream)
	if err != nil {
		return nil, dlqUnreadable(err)
	}
	m, err := st.GetMsg(call, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("there is no dead letter %d in this region", seq)
	}
	if err != nil {
		return nil, dlqUnreadable(err)
	}
	return newDLQLine(seq, m.Subject, m.Header, m.Data)
}

// chosen are the dead letters that the arguments or the flags choose, without their events.
func (o *dlqOptions) chosen(ctx context.Context, js jetstream.JetStream, args []string) (lines []*dlqLine, err error) {
	seqs, err := sequences(args)
	switch {
	case err != nil:
		return nil, err
	case len(seqs) > 0 == o.filtered():
		return nil, usageErrorf("name the dead letters by their sequences, or choose them by --cause, --consumer or --since")
	}
	if o.filtered() {
		err = o.each(ctx, js, func(l *dlqLine) error {
			l.event = nil
			lines = append(lines, l)
			return nil
		})
	}
	for _, seq := range seqs {
		var l *dlqLine
		if l, err = dlqGet(ctx, js, seq); err != nil {
			break
		}
		lines = append(lines, l)
	}
	states := &dlqStates{js: js, know: map[string]uint64{}}
	for _, l := range lines {
		if err == nil {
			err = states.mark(ctx, l)
		}
	}
	return lines, err
}

// preview lists what a verb would do.
func preview(cmd *cobra.Command, verb, after string, lines []*dlqLine) error {
	out := newDLQPrinter(cmd.OutOrStdout(), formatTable)
	for _, l := range lines {
		if err := out.print(l); err != nil {
			return err
		}
	}
	fmt.Fprintf(out.out, "would %s %s. %sNothing was done; say --yes to do it\n", verb, counted(len(lines), "dead letter"), after)
	return out.flush()
}

// discard deletes what the arguments or the flags choose, or tells what it would delete.
func (o *dlqOptions) discard(ctx context.Context, cmd *cobra.Command, js jetstream.JetStream, args []string) error {
	lines, err := o.chosen(ctx, js, args)
	if err != nil {
		return err
	}
	if !o.yes {
		return preview(cmd, "discard", "", lines)
	}
	for i, l := range lines {
		if err := dlqDelete(ctx, js, l.Seq); err != nil {
			return fmt.Errorf("%d of %d discarded, then sequence %d: %s", i, len(lines), l.Seq, errorText(err))
		}
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "discarded %s\n", counted(len(lines), "dead letter"))
	return err
}

func dlqDelete(ctx context.Context, js jetstream.JetStream, seq uint64) error {
	call, cancel := context.WithTimeout(ctx, stepWait)
	defer cancel()
	st, err := js.Stream(call, subject.DeadLettersStream)
	if err != nil {
		return err
	}
	if err = st.DeleteMsg(call, seq); errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // somebody else did
	}
	return err
}
