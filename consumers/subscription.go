package consumers

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	opSubscribe = "consumers.subscribe"
	opRun       = "consumers.run"
)

// Handler handles one event. Returning nil acknowledges it. With an error or a panic the event and the later ones of
// its key wait, and Options.Retry decides when it is tried again or whether it is given up; package retry has marks
// for errors that tell more. The context ends when Run's does: a handler that stops for that reason returns an error
// and the event comes again at the next Run.
type Handler func(ctx context.Context, m *Message) error

// Subscription is a durable that exists, and the connection to read it by.
type Subscription struct {
	opts Options
	log  *zap.Logger
	nc   *nats.Conn
	owns bool // Subscribe opened nc, so Close closes it
	js   jetstream.JetStream
	ran  atomic.Bool

	metrics *metrics
	breaker *breaker
	order   *order                  // nil: nothing is reordered
	backlog atomic.Pointer[backlog] // of Run
	region  atomic.Pointer[string]  // once it was asked for

	durable jetstream.Consumer // as last bound; Subscribe's, then Run's reader's

	goneAfter time.Duration // how long "no such durable" must hold before Run believes it
	lookAfter time.Duration // how often is looked whether there is something requeued
}

// State is how a subscription is doing.
type State struct {
	Connected  bool
	Connection error // the last trouble of the connection, nil if there was none

	Breaker BreakerState
	Since   time.Time // when the breaker closed, or opened for the first time since it was closed
	Until   time.Time // until when an open breaker stays so at least

	Unsettled   int // events that were fetched and are not acknowledged
	WaitingKeys int // keys whose next event waits for its next try or its turn
	Held        int // events that wait for one before them in their source's count
	HeldKeys    int // users of sources of whom an event is held
}

// State may be asked for at any time and from anywhere.
func (s *Subscription) State() State {
	st := State{Connected: s.nc.IsConnected(), Connection: s.nc.LastError()}
	st.Breaker, st.Since, st.Until, _ = s.breaker.look()
	if b := s.backlog.Load(); b != nil {
		b.count(&st)
	}
	return st
}

// Subscribe connects if need be and makes sure of the durable: it is created where missing, and
// refused (kind Conflict) where it exists for other topics or is of another kind. What an existing one
// has for AckWait and Batch stays in force.
func Subscribe(ctx context.Context, opts Options) (*Subscription, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Subscription{
		opts:      opts,
		log:       opts.Logger.With(zap.String("durable", opts.Durable)),
		nc:        opts.Conn,
		metrics:   newMetrics(opts.Durable),
		goneAfter: 10 * time.Second,
		lookAfter: 30 * time.Second,
	}
	s.breaker = newBreaker(opts.Breaker, s.log, s.metrics)
	if opts.Reorder != nil {
		order, err := newOrder(opts.Reorder, s.metrics)
		if err != nil {
			return nil, err
		}
		s.order = order
	}
	if s.nc == nil {
		if err := s.connect(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.bind(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Connect opens the connection that Subscribe opens where Options have none, for several subscriptions to share: it
// reconnects for ever. Its inbox is that of credentials bound to Options.Durable. The caller closes it.
func Connect(ctx context.Context, opts Options) (*nats.Conn, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Subscription{opts: opts, log: opts.Logger}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s.nc, nil
}

// Close closes the connection that Subscribe opened, and leaves a caller's own alone. Run does it at
// its end, so Close is for a Subscription that was never run. It may be called more than once.
func (s *Subscription) Close() {
	if s.owns {
		s.nc.Close()
	}
}

// connect opens the subscription's own connection. From then on it reconnects for ever: expired
// credentials do not end it either, because their file is read again at each attempt.
func (s *Subscription) connect(ctx context.Context) error {
	opts := []nats.Option{
		nats.Name(s.opts.Name),
		nats.CustomInboxPrefix(grant.ConsumerInbox(s.opts.Durable)), // what credentials bound to one durable allow
		nats.Timeout(s.opts.APITimeout),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.Warn("connection error", zap.Error(err))
		}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() { // closing is no news
				s.log.Warn("disconnected", zap.Error(err))
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { s.log.Info("reconnected", zap.String("server", nc.ConnectedServerName())) }),
	}
	if s.opts.CredsFile != "" {
		if err := checkCredentials(s.opts.CredsFile); err != nil {
			return &fault.Error{Op: opSubscribe, Kind: fault.Invalid, Code: "credentials_file",
				Detail: "cannot read the credentials in " + s.opts.CredsFile, Err: err}
		}
		opts = append(opts, nats.UserCredentials(s.opts.CredsFile))
	}
	if s.opts.TLS != nil {
		opts = append(opts, nats.Secure(s.opts.TLS.Clone()))
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(opSubscribe, fault.Unavailable, err)
	}
	nc, err := nats.Connect(strings.Join(s.opts.URLs, ","), opts...)
	if err != nil {
		return connectFault(s.opts.URLs, err)
	}
	s.nc, s.owns = nc, true
	return nil
}

// connectFault sorts out why no connection came about: what to mend differs.
func connectFault(urls []string, err error) error {
	f := &fault.Error{Op: opSubscribe, Kind: fault.Unavailable, Code: "connect_failed", Detail: "cannot connect to " + hosts(urls), Err: err}
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
		f.Kind, f.Code, f.Detail = fault.Unauthenticated, "credentials_refused", f.Detail+": the server refuses the credentials"
	}
	return f
}

// hosts shows where URLs lead, without the passwords and tokens that they may carry.
func hosts(urls []string) string {
	shown := make([]string, len(urls))
	for i, raw := range urls {
		_, rest, ok := strings.Cut(raw, "://")
		if !ok {
			rest = raw
		}
		shown[i] = rest[strings.LastIndexByte(rest, '@')+1:]
	}
	return strings.Join(shown, ", ")
}

// checkCredentials looks into the file before anything is dialled: the client would report a damaged
// one as trouble with the server.
func checkCredentials(file string) error {
	contents, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	defer clear(contents)
	if _, err := nkeys.ParseDecoratedJWT(contents); err != nil {
		return err
	}
	key, err := nkeys.ParseDecoratedNKey(contents)
	if err != nil {
		return err
	}
	key.Wipe()
	return nil
}
