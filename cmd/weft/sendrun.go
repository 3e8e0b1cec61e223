package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	// linger is how long a chunk waits for more lines: `tail -f log | weft send -` must not hold events back.
	linger = 20 * time.Millisecond
	// interruptGrace is how long requests under way may take after the first Ctrl-C.
	interruptGrace = 5 * time.Second
	// chunkBytes bounds the memory of one chunk.
	chunkBytes = 32 << 20
)

// batchSender is client.Client: one result for each event, and an error when sending on makes no sense.
type batchSender interface {
	Send(ctx context.Context, events [][]byte) ([]client.Result, error)
}

// sender moves lines to a relay in chunks of a few batches for each of the client's lanes.
type sender struct {
	client  batchSender
	chunk   int // most lines sent at once
	limiter *rate.Limiter
	now     func() time.Time // nil: occurred_at stays
	report  *sendReport
}

func newSender(c batchSender, o *sendOptions, r *sendReport) *sender {
	s := &sender{client: c, chunk: 2 * o.batch * o.concurrency, report: r}
	if o.rate > 0 {
		// a tenth of a second may be caught up: reading stands still while a chunk is sent
		s.limiter = rate.NewLimiter(rate.Limit(o.rate), max(1, int(o.rate/10)))
	}
	if o.now {
		s.now = time.Now
	}
	return s
}

// run sends everything that input holds. The error says why not all of it is stored.
func (s *sender) run(ctx context.Context, input io.Reader) error {
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	var readErr error
	lines := make(chan inputLine, 256)
	go newLineReader(input, s.now).feed(reading, lines, &readErr)

	sending, done := graceful(ctx, interruptGrace)
	defer done()
	stopProgress := s.report.progress()
	err := s.loop(ctx, sending, lines)
	stopProgress()
	if err != nil {
		return err
	}
	return errors.Join(readErr, s.report.missing()) // lines is closed: the reader has ended
}

// loop sends chunk after chunk until lines is closed.
func (s *sender) loop(ctx, sending context.Context, lines <-chan inputLine) error {
	for {
		chunk, more := s.collect(ctx, lines)
		if ctx.Err() != nil {
			return s.interrupted()
		}
		if err := s.send(sending, chunk); err != nil {
			if ctx.Err() != nil {
				return s.interrupted()
			}
			return err
		}
		if !more {
			if ctx.Err() != nil { // the reader closed lines because it was told to
				return s.interrupted()
			}
			return nil
		}
	}
}

// collect waits for a line, then takes what comes without much waiting. More is false at the end.
func (s *sender) collect(ctx context.Context, lines <-chan inputLine) (chunk []inputLine, more bool) {
	size := 0
	var waited <-chan time.Time // nil, so never, until there is a line
	for len(chunk) < s.chunk && size < chunkBytes {
		select {
		case line, ok := <-lines:
			if !ok {
				return chunk, false
			}
			if s.limiter != nil && s.limiter.Wait(ctx) != nil {
				return chunk, true
			}
			if chunk = append(chunk, line); waited == nil {
				waited = time.After(linger)
			}
			size += len(line.raw)
		case <-waited:
			return chunk, true
		case <-ctx.Done():
			return chunk, true
		}
	}
	return chunk, true
}

func (s *sender) send(ctx context.Context, chunk []inputLine) error {
	events := make([][]byte, 0, len(chunk))
	sent := make([]inputLine, 0, len(chunk))
	for _, line := range chunk {
		if line.refused != nil {
			s.report.refused(line)
			continue
		}
		events, sent = append(events, line.raw), append(sent, line)
	}
	if len(events) == 0 {
		return nil
	}
	results, err := s.client.Send(ctx, events)
	for _, r := range results {
		s.report.result(sent[r.Index], r)
	}
	if err == nil {
		return nil
	}
	return errorWithHint(err, sendHint(err))
}

// sendHint is what the user can do about events that were not sent.
func sendHint(err error) string {
	switch code := fault.CodeOf(err); {
	case code == client.CodeClientCertificate:
		return "it is revoked, has run out, or is not of an authority that this relay takes: issue another with `weft tenant cert issue`, or name it with --cert and --key"
	case code == client.CodeRelayCertificate:
		return "name the mesh's authority with --ca and the host as the relay's certificate does; look at the clock if it is expired or not yet valid"
	case fault.KindOf(err).Retryable():
		return "send again once the relay answers: what is stored already counts as a duplicate"
	}
	return ""
}

func (s *sender) interrupted() error {
	return errorWithHint(fmt.Errorf("interrupted after line %d", s.report.lastLine),
		"send again to go on: what is stored already counts as a duplicate")
}

// graceful is a context that outlives ctx by the grace period.
func graceful(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(grace, cancel)
		context.AfterFunc(out, func() { t.Stop() })
	})
	return out, func() { unhook(); cancel() }
}
