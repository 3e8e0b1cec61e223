package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/partition"
)

// Client sends to one relay.
type Client struct {
	o        Options
	endpoint string
	http     atomic.Pointer[http.Client]
	drift    atomic.Int64 // nanoseconds
	warned   atomic.Bool  // about the drift
	said     sync.Map     // Warning -> true: those that were passed on
}

// New makes a client. It connects when it first sends; Close it.
func New(o Options) (*Client, error) {
	u, err := o.validate()
	if err != nil {
		return nil, err
	}
	t := &http.Transport{
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: o.Concurrency, IdleConnTimeout: 30 * time.Second,
		TLSHandshakeTimeout: o.Timeout, DisableCompression: true,
	}
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	}
	c := &Client{o: o, endpoint: u.String()}
	c.http.Store(over(t, o.Timeout))
	return c, nil
}

func over(t *http.Transport, timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: t, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.Load().CloseIdleConnections() }

// reconnect makes later requests use connections of their own, whose handshakes present the certificate of the
// present. Of several callers that saw old fail, one does it; requests under way keep their connections.
func (c *Client) reconnect(old *http.Client) {
	t := old.Transport.(*http.Transport)
	c.http.CompareAndSwap(old, over(t.Clone(), old.Timeout))
	old.CloseIdleConnections()
}

// Drift is how far the own clock is ahead of the relay's, from the Date of its last answer: good to about
// half a second and half a round trip. Zero before the first answer.
func (c *Client) Drift() time.Duration { return time.Duration(c.drift.Load()) }

// run is one Send.
type run struct {
	*Client
	events  [][]byte
	results []Result
}

// Send sends the events and returns one result for each, in the order of events. The error says why not
// all were sent: a refusal that concerns every request (key, signature, host), retries used up, or ctx.
// Events without an answer are Unknown then. Rejected events are results, not errors.
func (c *Client) Send(ctx context.Context, events [][]byte) ([]Result, error) {
	r := &run{Client: c, events: events, results: make([]Result, len(events))}
	lanes := make([][]int, c.o.Concurrency)
	for i, raw := range events {
		id, _ := event.Lookup(raw, "/event_id")
		r.results[i] = Result{Index: i, EventID: id, Status: Unknown}
		lane := 0
		if len(lanes) > 1 {
			key, _ := event.Lookup(raw, "/key/user_id")
			lane = partition.Of(key) % len(lanes)
		}
		lanes[lane] = append(lanes[lane], i)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, lane := range lanes {
		wg.Go(func() {
			if err := r.lane(ctx, lane); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return r.results, context.Cause(ctx)
}

// lane sends the events of one lane, one batch after the other.
func (r *run) lane(ctx context.Context, lane []int) error {
	for len(lane) > 0 {
		n := r.cut(lane)
		if err := r.batch(ctx, lane[:n]); err != nil {
			return err
		}
		lane = lane[n:]
	}
	return ctx.Err()
}

// cut is how many events from the front make one batch. An event that holds a line break cannot stand in
// a batch of lines, and its bytes are not ours to change: it goes alone.
func (r *run) cut(lane []int) int {
	size := 0
	for n, i := range lane {
		if !oneLine(r.events[i]) {
			return max(n, 1)
		}
		size += len(r.events[i]) + 1
		if n == r.o.BatchEvents || n > 0 && size > r.o.BatchBytes {
			return n
		}
	}
	return len(lane)
}

func oneLine(raw []byte) bool {
	for _, c := range raw {
		if c == '\n' || c == '\r' {
			return false
		}
	}
	return len(raw) > 0
}

// batch sends the events until each has a final result, or gives up.
func (r *run) batch(ctx context.Context, indexes []int) error {
	if r.o.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.o.Deadline, errDeadline)
		defer cancel()
	}
	open, renewed := indexes, false
	for try := 0; ; try++ {
		used := r.http.Load()
		a := r.attempt(ctx, open)
		open = a.open
		switch {
		case a.stale && !renewed:
			renewed = true
			r.reconnect(used)
		case errors.Is(a.err, errTooLarge) && len(open) > 1:
			half := len(open) / 2
			if err := r.batch(ctx, open[:half]); err != nil {
				return err
			}
			return r.batch(ctx, open[half:])
		case a.err != nil:
			return a.err
		case len(open) == 0:
			if r.o.OnResults != nil {
				r.o.OnResults(r.take(indexes))
			}
			return nil
		case try == r.o.MaxRetries:
			return r.givenUp(open, "the retries are used up")
		}
		if err := r.pause(ctx, try, a.after); err != nil {
			return r.givenUp(open, err.Error())
		}
	}
}

var (
	errDeadline = errors.New("the time for this batch is over")
	errTooLarge = errors.New("the batch is too large for the relay")
)

func (r *run) take(indexes []int) []Result {
	out := make([]Result, len(indexes))
	for n, i := range indexes {
		out[n] = r.results[i]
	}
	return out
}

func (r *run) givenUp(open []int, why string) error {
	last := &r.results[open[0]]
	return fault.New("client.send", fault.Unavailable, "not_stored", "%d events are not known to be stored, %s: last answer %s (%s)",
		len(open), why, last.Code, last.Detail)
}

// pause waits before the next try: full jitter, so that producers that failed together do not come back
// together, and never less than the relay asked for.
func (r *run) pause(ctx context.Context, try int, after time.Duration) error {
	most := r.o.MaxBackoff
	if shifted := r.o.MinBackoff << min(try, 30); shifted > 0 && shifted < most {
		most = shifted
	}
	t := time.NewTimer(max(jitter(most), min(after, r.o.MaxRetryAfter)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// newRequestID is fresh for every attempt: a relay takes each id once.
func newRequestID() string { return rand.Text() }

// refused is the error of an answer that would be the same for every request.
func refused(status int, code, detail string) error {
	kind := fault.Invalid
	switch status {
	case http.StatusUnauthorized:
		kind = fault.Unauthenticated
	case http.StatusForbidden:
		kind = fault.Denied
	case http.StatusNotFound:
		kind = fault.NotFound
	}
	return fault.New("client.send", kind, code, "%s", fmt.Sprintf("the relay answered %d: %s", status, detail))
}
