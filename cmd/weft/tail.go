package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/subject"
)

const tailLong = `tail reads a tenant's events in any region through a durable subscription, and acknowledges each one after its line
was written: started again, it goes on where it stopped. Two tails of one --durable share the events; give each its
own name to see all of them in both.

-o json   one line per event: {"event": …, "origin", "seq", …}. The event is the producer's own text; line breaks
          between its members, if it has any, become spaces. origin and seq are the same in every region.
-o raw    the producer's bytes, exactly, and a line break.`

const tailExample = `  weft tail                                             tenant and region are the mesh's first
  weft tail --tenant acme --region us --topic bets --from 15m
  weft tail -o json --count 10 --timeout 5s | jq .event.event_type
  weft tail -o raw --durable backup --timeout 2s > events.ndjson
  weft tail --url tls://us.example.com:4222 --creds consumer.creds --ca ca.pem`

// tailOptions are the flags of tail.
type tailOptions struct {
	nats    natsFlags
	durable string
	from    fromFlag
	topics  []string
	count   int
	timeout time.Duration
	format  *choice
}

func newTailCommand() *cobra.Command {
	o := &tailOptions{}
	cmd := &cobra.Command{
		Use:     "tail",
		Short:   "Read events in any region, going on where it stopped",
		Long:    tailLong,
		Example: tailExample,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.count < 0 || o.timeout < 0 {
				return usageErrorf("--count and --timeout cannot be negative")
			}
			return runTail(cmd, o)
		},
	}
	o.nats.register(cmd, "")
	o.format = outputFlag(cmd, formatTable, formatJSON, formatRaw)
	f := cmd.Flags()
	f.StringVar(&o.durable, "durable", "weft-tail", "name of the durable subscription, which holds the position")
	f.Var(&o.from, "from", "where a new durable starts: all, new, an RFC 3339 time, a duration ago (15m, 7d) or seq:N")
	f.StringSliceVar(&o.topics, "topic", nil, "topic to read; repeat for several (default: all)")
	f.IntVar(&o.count, "count", 0, "stop after so many events")
	f.DurationVar(&o.timeout, "timeout", 0, "stop when no event came for so long")
	return cmd
}

// fromFlag is the value of --from; its default is FromAll.
type fromFlag struct {
	from  consumers.From
	given string
}

func (f *fromFlag) String() string { return f.from.String() }
func (f *fromFlag) Type() string   { return "when" }

func (f *fromFlag) Set(s string) (err error) {
	f.given = s
	f.from, err = config.From(s).Parse(time.Now())
	return err
}

func runTail(cmd *cobra.Command, o *tailOptions) error {
	nc, log, err := o.nats.connect(cmd)
	if err != nil {
		return err
	}
	defer nc.Close()
	before := lookUp(cmd.Context(), nc, o.durable)
	sub, err := consumers.Subscribe(cmd.Context(), consumers.Options{
		Conn: nc, Durable: o.durable, Topics: o.topics, From: o.from.from, Logger: log,
	})
	if err != nil {
		return err
	}
	if before != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), resumes(o, before))
	}
	return o.follow(cmd, sub)
}

// lookUp tells whether the durable is there already. It only serves a message, so a failure counts as no:
// Subscribe meets the same one and reports it.
func lookUp(ctx context.Context, nc *nats.Conn, durable string) *jetstream.ConsumerInfo {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := js.Consumer(ctx, subject.EventsStream, durable)
	if err != nil {
		return nil
	}
	return c.CachedInfo()
}

func resumes(o *tailOptions, info *jetstream.ConsumerInfo) string {
	line := fmt.Sprintf("durable %s goes on after sequence %d of this region, %s waiting",
		o.durable, info.AckFloor.Stream, counted(int(info.NumPending)+info.NumAckPending, "event"))
	if o.from.given != "" {
		line += fmt.Sprintf("; --from %s is for a new durable, name one with --durable", o.from.given)
	}
	return line
}

// follow prints events until the count, the timeout or the context ends it.
func (o *tailOptions) follow(cmd *cobra.Command, sub *consumers.Subscription) error {
	signal.Ignore(syscall.SIGPIPE) // `weft tail | head`: the failed write is seen, and what was fetched given back
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	out := newEventPrinter(bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), o.format.value)
	var idle atomic.Bool
	var idleTimer *time.Timer
	if o.timeout > 0 {
		idleTimer = time.AfterFunc(o.timeout, func() { idle.Store(true); stop() })
		defer idleTimer.Stop()
	}
	printed := 0
	var writeErr error
	err := sub.Run(ctx, func(_ context.Context, m *consumers.Message) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if writeErr = out.print(m); writeErr != nil {
			stop()
			return writeErr
		}
		if printed++; printed == o.count {
			stop()
		}
		if idleTimer != nil {
			idleTimer.Reset(o.timeout)
		}
		return nil
	})
	switch {
	case errors.Is(writeErr, syscall.EPIPE):
		return nil // whoever reads has enough
	case writeErr != nil:
		return writeErr
	case err != nil:
		return err
	case printed < o.count && idle.Load():
		return fmt.Errorf("%s of %d came; no other for %s", counted(printed, "event"), o.count, o.timeout)
	case printed < o.count:
		return fmt.Errorf("interrupted after %s of %d", counted(printed, "event"), o.count)
	}
	return nil
}
