package nats

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink/recent"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	opOpen  = "sink.nats.open"
	opWrite = "sink.nats.write"
)

// Sink copies events to one stream. HandleBatch may be called from several goroutines; one batch is published at a time.
type Sink struct {
	opts    Options
	log     *zap.Logger
	nc      *client.Conn
	owns    bool // Open connected, so Close closes
	js      jetstream.JetStream
	metrics *metrics

	mu      sync.Mutex
	created time.Time   // when the target was made: another one of the same name is another target
	last    uint64      // its last sequence
	seen    *recent.Set // its last events, up to that one
	unsure  bool        // more may have been stored: look before the next batch
	said    string      // the code of the trouble that was logged last
}

// Open connects, checks the target stream and reads which events came last.
func Open(ctx context.Context, o Options) (*Sink, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Sink{opts: o, log: o.Logger.With(zap.String("sink", "nats")), nc: o.Conn}
	if err := s.open(ctx); err != nil {
		err = trouble(opOpen, s.why(err))
		if s.owns {
			s.nc.Close()
		}
		return nil, err
	}
	s.log.Info("target opened", zap.String("stream", o.Stream), zap.Uint64("last", s.last), zap.Int("events_remembered", s.seen.Len()))
	return s, nil
}

func (s *Sink) open(ctx context.Context) (err error) {
	if s.nc == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	pending := []jetstream.JetStreamOpt{jetstream.WithPublishAsyncMaxPending(s.opts.Batch), jetstream.WithPublishAsyncTimeout(s.opts.Timeout)}
	if s.opts.Domain == "" {
		s.js, err = jetstream.New(s.nc, pending...)
	} else {
		s.js, err = jetstream.NewWithDomain(s.nc, s.opts.Domain, pending...)
	}
	if err != nil {
		return err
	}
	stream, err := s.stream(ctx)
	if err != nil {
		return err
	}
	if err := s.suitable(ctx, &stream.CachedInfo().Config); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	s.metrics, err = newMetrics(s.opts.Registerer)
	return err
}

// connect opens the sink's own connection, which reconnects for ever. Nothing is buffered while it is down: what is
// published late would not be expected any more.
func (s *Sink) connect(ctx context.Context) error {
	opts := []client.Option{
		client.Name(s.opts.Name),
		client.Timeout(s.opts.Timeout),
		client.MaxReconnects(-1),
		client.IgnoreAuthErrorAbort(),
		client.ReconnectWait(500 * time.Millisecond),
		client.ReconnectBufSize(-1),
		client.PingInterval(10 * time.Second),
		client.ErrorHandler(func(_ *client.Conn, _ *client.Subscription, err error) {
			s.log.Warn("connection error", zap.Error(err))
		}),
	}
	if s.opts.CredsFile != "" {
		opts = append(opts, client.UserCredentials(s.opts.CredsFile))
	}
	if s.opts.TLS != nil {
		opts = append(opts, client.Secure(s.opts.TLS.Clone()))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	nc, err := client.Connect(strings.Join(s.opts.URLs, ","), opts...)
	s.nc, s.owns = nc, err == nil
	return err
}

func (s *Sink) stream(ctx context.Context) (jetstream.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return s.js.Stream(ctx, s.opts.Stream)
}

// suitable refuses a target whose end does not tell what it was given.
func (s *Sink) suitable(ctx context.Context, c *jetstream.StreamConfig) error {
	refuse := func(code, format string, args ...any) error {
		return fault.New("", fault.Invalid, code, "stream %s "+format, append([]any{s.opts.Stream}, args...)...)
	}
	switch {
	case c.Retention != jetstream.LimitsPolicy:
		return refuse("target_retention", "forgets what was consumed (retention %s): copy to a stream with retention limits, and let a stream of that kind source it", c.Retention)
	case c.MaxMsgsPerSubject > 0:
		return refuse("target_retention", "keeps %d messages of a subject: copy to a stream without that limit", c.MaxMsgsPerSubject)
	case c.Mirror != nil:
		return refuse("target_mirror", "is a mirror: nobody can publish to it")
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	bound, err := s.js.StreamNameBySubject(ctx, s.opts.subject(subject.Events()))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return refuse("target_subjects", "does not store %s: add it to its subjects, or set another prefix", s.opts.subject(subject.Events()))
	case err == nil && bound != s.opts.Stream:
		return refuse("target_subjects", "does not store %s, %s does: set another prefix", s.opts.subject(subject.Events()), bound)
	default:
		return nil // who may not ask hears it from the first publish
	}
}

// Subscription fills in what this sink needs.
func (s *Sink) Subscription(o consumers.Options) consumers.Options {
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Batch == 0 {
		o.Batch = min(4*s.opts.Batch, mostEvents) // the next events come while a batch is on its way
	}
	return o
}

// Run copies what the subscription delivers until ctx ends.
func (s *Sink) Run(ctx context.Context, sub *consumers.Subscription) error {
	return sub.RunBatches(ctx, consumers.Batching{Most: s.opts.Batch, Linger: s.opts.Linger}, s.HandleBatch)
}

// Close closes the connection that Open made, and releases the metrics.
func (s *Sink) Close() error {
	if s.owns {
		s.nc.Close()
	}
	s.metrics.close()
	return nil
}
