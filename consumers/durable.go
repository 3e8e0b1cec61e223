package consumers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// bind finds the durable or creates it, and leaves it in s.durable.
func (s *Subscription) bind(ctx context.Context) error {
	js, err := jetstream.New(s.nc)
	if err != nil {
		return fault.Wrap(opSubscribe, fault.Internal, err)
	}
	s.js = js
	err = s.find(ctx)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		err = s.create(ctx)
	}
	if err != nil {
		return err
	}
	return s.takeOver(ctx, true)
}

func (s *Subscription) create(ctx context.Context) error {
	want := s.opts.consumerConfig()
	cons, err := ask(ctx, s.opts.APITimeout, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.js.CreateConsumer(ctx, s.opts.Stream, want)
	})
	if errors.Is(err, jetstream.ErrConsumerExists) { // another process was faster, with other settings
		return s.find(ctx)
	}
	if err != nil {
		return s.apiFault("create", err)
	}
	s.durable = cons
	s.log.Info("durable created", zap.Strings("filters", s.opts.filters()), zap.Stringer("from", s.opts.From))
	return nil
}

// find looks the durable up and checks that it is what was asked for. Its error wraps
// jetstream.ErrConsumerNotFound when the server says that there is none.
func (s *Subscription) find(ctx context.Context) error {
	cons, err := ask(ctx, s.opts.APITimeout, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.js.Consumer(ctx, s.opts.Stream, s.opts.Durable)
	})
	if errors.Is(err, jetstream.ErrNotPullConsumer) {
		return s.conflict("durable_kind", "is a push consumer: choose another name")
	}
	if err != nil {
		return s.apiFault("look up", err)
	}
	if err := s.check(&cons.CachedInfo().Config); err != nil {
		return err
	}
	if s.opts.Reorder != nil {
		if cons, err = s.widen(ctx, cons); err != nil {
			return err
		}
	}
	s.durable = cons
	return nil
}

// widen gives a durable that exists the room and the time that holding events back takes.
func (s *Subscription) widen(ctx context.Context, cons jetstream.Consumer) (jetstream.Consumer, error) {
	cfg := cons.CachedInfo().Config
	if shortestAckWait(&cfg) > s.opts.Reorder.Window && cfg.MaxAckPending >= s.opts.pending() {
		return cons, nil
	}
	cfg.AckWait, cfg.BackOff = max(cfg.AckWait, s.opts.AckWait), nil
	cfg.MaxAckPending = max(cfg.MaxAckPending, s.opts.pending())
	wide, err := ask(ctx, s.opts.APITimeout, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.js.UpdateConsumer(ctx, s.opts.Stream, cfg)
	})
	if err != nil {
		return nil, s.apiFault("widen", err)
	}
	s.log.Info("durable made wider to reorder", zap.Duration("ack_wait", cfg.AckWait), zap.Int("max_ack_pending", cfg.MaxAckPending))
	return wide, nil
}

// check compares a durable that exists with the one asked for. Where it starts is not compared: that
// was settled when it was created.
func (s *Subscription) check(have *jetstream.ConsumerConfig) error {
	got := slices.Clone(have.FilterSubjects)
	if have.FilterSubject != "" {
		got = append(got, have.FilterSubject)
	}
	slices.Sort(got)
	if slices.Equal(got, []string{subject.Events()}) {
		got = nil // as good as no filter
	}
	want := s.opts.filters()
	switch {
	case !slices.Equal(got, want):
		return s.conflict("durable_filter", "exists with filter %s, asked for was %s: "+
			"choose another name, or delete it to start anew (its position is lost)", showFilters(got), showFilters(want))
	case have.AckPolicy != jetstream.AckExplicitPolicy:
		return s.conflict("durable_kind", "exists with ack policy %s, needed is explicit", have.AckPolicy)
	case have.MaxAckPending < 1 || have.MaxAckPending > maxPending:
		return s.conflict("durable_kind", "exists with max ack pending %d, needed is 1 to %d", have.MaxAckPending, maxPending)
	}
	return s.checkOwner(have)
}

func (s *Subscription) conflict(code, format string, args ...any) error {
	return fault.New(opSubscribe, fault.Conflict, code, "durable %q on %s %s", s.opts.Durable, s.opts.Stream, fmt.Sprintf(format, args...))
}

func showFilters(fs []string) string {
	if len(fs) == 0 {
		return "none (all topics)"
	}
	return strings.Join(fs, ", ")
}

// apiFault turns an answer, or the lack of one, into what the caller can act on. A request that the
// credentials do not allow is never answered: the server tells the connection, not the request.
func (s *Subscription) apiFault(what string, err error) error {
	f := &fault.Error{Op: opSubscribe, Kind: fault.Unavailable, Err: err}
	f.Detail = fmt.Sprintf("%s durable %q on %s", what, s.opts.Durable, s.opts.Stream)
	silent := unanswered(err)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		f.Kind, f.Code = fault.NotFound, "durable_not_found"
	case errors.Is(err, jetstream.ErrStreamNotFound):
		f.Kind, f.Code = fault.NotFound, "stream_not_found"
	case errors.Is(err, jetstream.ErrMaximumConsumersLimit):
		f.Kind, f.Code = fault.Limited, "too_many_durables"
	case silent && errors.Is(s.nc.LastError(), nats.ErrPermissionViolation):
		f.Kind, f.Code, f.Err = fault.Denied, "not_permitted", s.nc.LastError()
	case silent:
		f.Code = "no_answer"
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		f.Code = "jetstream_unavailable"
	default:
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code >= 400 && api.Code < 500 {
			f.Kind, f.Code = fault.Invalid, "refused"
		}
	}
	return f
}

// unanswered says whether a question was given up because no answer came.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout)
}

// tries is how often a question is put: a server that just lost its leadership leaves some unanswered.
const tries = 2

// ask puts an idempotent question, again if no answer came, within the time in total.
func ask[T any](ctx context.Context, total time.Duration, question func(context.Context) (T, error)) (answer T, err error) {
	for range tries {
		attempt, cancel := context.WithTimeout(ctx, total/tries)
		answer, err = question(attempt)
		cancel()
		if err == nil || ctx.Err() != nil || !unanswered(err) {
			return answer, err
		}
	}
	return answer, err
}
