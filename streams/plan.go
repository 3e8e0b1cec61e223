package streams

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
)

const (
	callTimeout = 2 * time.Second // of one API call: after a step-down some are never answered
	callTries   = 4
	callPause   = 100 * time.Millisecond // after the first failure; doubles
)

// Plan is the difference between wanted and present streams of one account in one region.
type Plan struct {
	Changes []Change `json:"changes"`
}

// Empty says that everything is as wanted.
func (p Plan) Empty() bool { return len(p.Changes) == 0 }

// Destructive says whether any change may remove stored messages.
func (p Plan) Destructive() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Destructive })
}

// String is one line for each change, or "no changes".
func (p Plan) String() string {
	if p.Empty() {
		return "no changes\n"
	}
	var b strings.Builder
	for _, c := range p.Changes {
		b.WriteString(c.String() + "\n")
	}
	return b.String()
}

// MakePlan compares and changes nothing. Streams that are there and not in want are left out.
func MakePlan(ctx context.Context, js jetstream.JetStream, want []jetstream.StreamConfig) (*Plan, error) {
	plan := &Plan{Changes: []Change{}}
	for i := range want {
		d, _, err := inspect(ctx, js, &want[i])
		if err != nil {
			return nil, err
		}
		plan.Changes = append(plan.Changes, d.changes()...)
	}
	return plan, nil
}

// Apply makes the streams as wanted and returns what it did. It can be repeated at any time, also after an
// error in the middle; done twice, the second plan is empty. For each stream, sources are dropped first, then
// settings changed, then sources added. The links that new sources need have to be up (else the server
// waits some 40 s before it tries again).
func Apply(ctx context.Context, js jetstream.JetStream, want []jetstream.StreamConfig) (*Plan, error) {
	done := &Plan{Changes: []Change{}}
	for i := range want {
		d, have, err := inspect(ctx, js, &want[i])
		if err != nil {
			return done, err
		}
		if err := d.apply(ctx, js, have); err != nil {
			return done, err
		}
		done.Changes = append(done.Changes, d.changes()...)
	}
	return done, nil
}

func inspect(ctx context.Context, js jetstream.JetStream, want *jetstream.StreamConfig) (*delta, *jetstream.StreamConfig, error) {
	have, err := present(ctx, js, want.Name)
	if err != nil {
		return nil, nil, err
	}
	d, err := compare(want, have)
	return d, have, err
}

// present is a stream's configuration, nil when there is no such stream.
func present(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamConfig, error) {
	var have *jetstream.StreamConfig
	err := call(ctx, "streams.info "+name, func(ctx context.Context) error {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			have = nil
			return nil
		}
		if err != nil {
			return err
		}
		c := s.CachedInfo().Config
		have = &c
		return nil
	})
	return have, err
}

func (d *delta) apply(ctx context.Context, js jetstream.JetStream, have *jetstream.StreamConfig) error {
	name := d.want.Name
	if d.create {
		return call(ctx, "streams.create "+name, func(ctx context.Context) error {
			_, err := js.CreateStream(ctx, *d.want)
			return err
		})
	}
	kept := missing(have.Sources, d.drop)
	if len(d.drop) > 0 {
		c := *have
		c.Sources = kept
		if err := update(ctx, js, c); err != nil {
			return err
		}
	}
	if len(d.fields) > 0 {
		if err := update(ctx, js, merged(d.want, have, kept)); err != nil {
			return err
		}
	}
	if len(d.add) > 0 {
		return update(ctx, js, merged(d.want, have, append(slices.Clone(kept), d.add...)))
	}
	return nil
}

func update(ctx context.Context, js jetstream.JetStream, c jetstream.StreamConfig) error {
	return call(ctx, "streams.update "+c.Name, func(ctx context.Context) error {
		_, err := js.UpdateStream(ctx, c)
		return err
	})
}

// call does one API call with a short time limit, again while the answer is missing or says "not now".
// Every call that goes through here means the same when it is done twice.
func call(ctx context.Context, op string, do func(context.Context) error) error {
	pause := callPause
	for try := 1; ; try++ {
		one, cancel := context.WithTimeout(ctx, callTimeout)
		err := do(one)
		cancel()
		if err == nil {
			return nil
		}
		if try == callTries || ctx.Err() != nil || !temporary(err) {
			return apiFault(op, err)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
			pause *= 2
		case <-ctx.Done():
			t.Stop()
			return apiFault(op, err)
		}
	}
}

// temporary says whether the same call may succeed in a moment.
func temporary(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, nats.ErrDisconnected) {
		return true
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && notNow(api)
}

// notNow says that the server would do it, but cannot at present: a cluster without a leader, or one whose
// servers have not all come up.
func notNow(api *jetstream.APIError) bool { return api.Code == 503 || api.ErrorCode == noPeers }

// apiFault gives an API error its kind: what the server refuses for good must not be tried for ever.
func apiFault(op string, err error) error {
	f := &fault.Error{Op: op, Kind: fault.Unavailable, Code: "jetstream_unavailable", Err: err}
	var api *jetstream.APIError
	if !errors.As(err, &api) || notNow(api) {
		return f
	}
	f.Code = "jetstream_refused"
	switch {
	case api.Code == 404:
		f.Kind = fault.NotFound
	case api.Code == 403 || api.Code == 401:
		f.Kind = fault.Denied
	case api.ErrorCode == insufficientStorage || api.ErrorCode == insufficientResources || api.ErrorCode == streamLimit:
		f.Kind, f.Code = fault.Limited, "jetstream_limit"
	case api.Code == 400:
		f.Kind = fault.Invalid
	default:
		f.Kind = fault.Internal
	}
	return f
}

// JetStream error codes: too few servers for the replicas, and an account or store that is full.
const (
	noPeers               jetstream.ErrorCode = 10005
	insufficientResources jetstream.ErrorCode = 10023
	streamLimit           jetstream.ErrorCode = 10027
	insufficientStorage   jetstream.ErrorCode = 10047
)
