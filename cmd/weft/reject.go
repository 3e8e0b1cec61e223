package main

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/subject"
)

const rejectLong = `Relays write every refusal that names the tenant credibly into the tenant's stream REJECTS of their region: why,
which key, producer, request and event it was, and never what was in it. A refusal names the tenant by a valid
signature, or by one of its keys on a connection with its certificate. Records are kept for 7 days, and the oldest go
first when there are too many; where more is refused than is recorded, a record says how many it stands for (N).

What each code means and what to do about it: deploy/docs/refusals.md.`

// rejectOptions are the flags of reject's verbs.
type rejectOptions struct {
	nats        natsFlags
	code, cause string
	since       sinceFlag
	count       int
	timeout     time.Duration
	format      *choice
}

func newRejectCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "reject", Short: "Read why a tenant's requests and events were refused", Long: rejectLong}
	cmd.AddCommand(newRejectLs(), newRejectTail())
	return cmd
}

func newRejectLs() *cobra.Command {
	o := &rejectOptions{}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List what was refused, one line for each record, oldest first",
		Example: `  weft reject ls --tenant acme --since 1h
  weft reject ls --cause signature
  weft reject ls --code timestamp_skew --region us -o json | jq .skew_s`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd, false) },
	}
	o.register(cmd)
	cmd.Flags().IntVar(&o.count, "last", 0, "only the newest so many (0: all)")
	return cmd
}

func newRejectTail() *cobra.Command {
	o := &rejectOptions{}
	cmd := &cobra.Command{
		Use:     "tail",
		Short:   "Show refusals as they happen",
		Example: "  weft reject tail --tenant acme\n  weft reject tail --code signature_invalid --since 15m",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd, true) },
	}
	o.register(cmd)
	cmd.Flags().IntVar(&o.count, "count", 0, "stop after so many")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "stop when none came for so long")
	return cmd
}

func (o *rejectOptions) register(cmd *cobra.Command) {
	o.nats.register(cmd, " of the tenant's owner")
	o.format = outputFlag(cmd, formatTable, formatJSON, formatYAML)
	f := cmd.Flags()
	f.StringVar(&o.code, "code", "", "only this code, such as signature_invalid")
	f.StringVar(&o.cause, "cause", "", "only this cause: "+deadletter.Causes())
	f.Var(&o.since, "since", "only what was refused since an RFC 3339 time, or a duration ago (15m, 7d); without it ls shows all, tail what comes")
	cmd.MarkFlagsMutuallyExclusive("code", "cause")
}

// sinceFlag is the value of --since; zero when it is not given.
type sinceFlag time.Time

func (f *sinceFlag) String() string {
	if t := time.Time(*f); !t.IsZero() {
		return t.Format(time.RFC3339)
	}
	return ""
}

func (f *sinceFlag) Type() string { return "when" }

func (f *sinceFlag) Set(s string) error {
	t, err := config.ParseWhen(s, time.Now())
	*f = sinceFlag(t)
	return err
}

func (o *rejectOptions) validate() error {
	switch {
	case o.count < 0 || o.timeout < 0:
		return usageErrorf("numbers and durations cannot be negative")
	case o.code != "" && !subject.ValidCode(o.code):
		return usageErrorf("--code %q is no code: lower-case letters, digits and '_'", o.code)
	case o.cause != "" && !deadletter.IsCause(o.cause):
		return usageErrorf("--cause %q is none of %s", o.cause, deadletter.Causes())
	}
	return nil
}

func (o *rejectOptions) run(cmd *cobra.Command, follow bool) error {
	if err := o.validate(); err != nil {
		return err
	}
	nc, _, err := o.nats.connect(cmd)
	if err != nil {
		return err
	}
	defer nc.Close()
	signal.Ignore(syscall.SIGPIPE) // `weft reject tail | head`: the failed write is seen
	r, err := o.open(cmd.Context(), nc, follow)
	if err != nil {
		return err
	}
	out := newRejectPrinter(cmd.OutOrStdout(), o.format.value)
	if follow {
		err = o.follow(cmd.Context(), r, out)
	} else {
		err = o.list(cmd.Context(), r, out)
	}
	if errors.Is(err, syscall.EPIPE) {
		return nil // whoever reads has enough
	}
	return err
}

// reader reads records one after the other.
type rejectReader struct {
	cons jetstream.Consumer
	left uint64 // that were there when it was made
}

// stepWait bounds each call of a reader.
const stepWait = 5 * time.Second

func (o *rejectOptions) open(ctx context.Context, nc *nats.Conn, follow bool) (*rejectReader, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	switch {
	case o.code != "":
		cfg.FilterSubjects = []string{subject.RejectsWithCode(o.code)}
	case o.cause != "":
		cfg.FilterSubjects = []string{subject.RejectsWithCause(o.cause)}
	}
	if at := time.Time(o.since); !at.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &at
	} else if follow {
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	call, cancel := context.WithTimeout(ctx, stepWait)
	defer cancel()
	cons, err := js.OrderedConsumer(call, subject.RejectsStream, cfg)
	if err != nil {
		return nil, errorWithHint(fmt.Errorf("cannot read %s: %s", subject.RejectsStream, errorText(err)),
			"only the owner's credentials may, made by a mesh that has this stream")
	}
	return &rejectReader{cons: cons, left: cons.CachedInfo().NumPending}, nil
}

// next waits for a record; ok is false when none came in time.
func (r *rejectReader) next(ctx context.Context, wait time.Duration) (rec *rejectLine, ok bool, err error) {
	call, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := r.cons.Next(jetstream.FetchContext(call))
	if err != nil {
		if errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return nil, false, nil
		}
		return nil, false, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, false, err
	}
	record, err := deadletter.Decode(m.Data())
	if err != nil {
		return nil, false, err
	}
	return &rejectLine{Seq: meta.Sequence.Stream, Record: record}, true, nil
}

// list prints what was there when it was asked.
func (o *rejectOptions) list(ctx context.Context, r *rejectReader, out *rejectPrinter) error {
	var lines []*rejectLine
	for range r.left {
		line, ok, err := r.next(ctx, stepWait)
		if err != nil {
			return err
		}
		if !ok {
			break // the rest was dropped meanwhile
		}
		if lines = append(lines, line); o.count > 0 && len(lines) > 2*o.count {
			lines = slices.Delete(lines, 0, len(lines)-o.count)
		}
	}
	if o.count > 0 && len(lines) > o.count {
		lines = lines[len(lines)-o.count:]
	}
	for _, line := range lines {
		if err := out.print(line); err != nil {
			return err
		}
	}
	return out.end()
}

// follow prints refusals as they come.
func (o *rejectOptions) follow(ctx context.Context, r *rejectReader, out *rejectPrinter) error {
	wait := o.timeout
	if wait == 0 {
		wait = stepWait
	}
	for printed := 0; o.count == 0 || printed < o.count; {
		line, ok, err := r.next(ctx, wait)
		switch {
		case err != nil:
			return err
		case ok:
			if err := errors.Join(out.print(line), out.flush()); err != nil {
				return err
			}
			printed++
		case ctx.Err() == nil && o.timeout == 0:
		case o.count == 0:
			return nil
		default:
			return fmt.Errorf("%s of %d came", counted(printed, "refusal"), o.count)
		}
	}
	return nil
}
