package webhook

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/consumers/sink"
	"github.com/weft-mesh/weft/streams/fault"
)

// Sink posts events to one endpoint.
type Sink struct {
	opts    Options
	log     *zap.Logger
	url     *url.URL
	client  *http.Client
	secrets atomic.Pointer[[]signature.WebhookKey]
	hold    hold
	gone    *gone
	events  *sink.Metrics
	metrics *metrics
	close   sync.Once
}

// Open checks the options and what is on record of the endpoint. It sends nothing: an endpoint that is down is no reason
// not to start.
func Open(_ context.Context, o Options) (*Sink, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	u, _ := o.endpoint()
	s := &Sink{opts: o, log: o.Logger.With(zap.String("endpoint", name(u))), url: u, hold: hold{most: o.MostTold}}
	s.secrets.Store(&o.Secrets)
	s.client = &http.Client{
		Transport:     o.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var err error
	if s.gone, err = recall(o.StateFile, u, s.log); err != nil {
		return nil, err
	}
	if s.events, err = sink.NewMetrics(o.Registerer, "webhook"); err != nil {
		return nil, err
	}
	if s.metrics, err = newMetrics(o.Registerer, &s.hold, s.gone); err != nil {
		s.events.Close()
		return nil, err
	}
	s.tellKeys(o.Secrets)
	return s, nil
}

// tellKeys logs the public keys of those who sign: the endpoint needs them.
func (s *Sink) tellKeys(secrets []signature.WebhookKey) {
	for _, k := range secrets {
		if public := k.Public(); public != "" {
			s.log.Info("requests are signed by an Ed25519 key", zap.String("public_key", public))
		}
	}
}

// name is the endpoint as logs and errors show it: without path and query, which may be secrets.
func name(u *url.URL) string { return u.Scheme + "://" + u.Host }

// Run hands the subscription's events to the endpoint until ctx ends, then waits for open requests.
func (s *Sink) Run(ctx context.Context, sub *consumers.Subscription) error {
	return sub.Run(ctx, s.Handle)
}

// Close ends idle connections and unregisters the metrics.
func (s *Sink) Close() error {
	s.close.Do(func() {
		s.client.CloseIdleConnections()
		s.metrics.close()
		s.events.Close()
	})
	return nil
}

// Rotate signs with other secrets from the next request on.
func (s *Sink) Rotate(secrets []signature.WebhookKey) error {
	o := s.opts
	o.Secrets = secrets
	if err := o.validate(); err != nil {
		return err
	}
	s.secrets.Store(&secrets)
	s.tellKeys(secrets)
	return nil
}

// Ready is nil while events are sent, and says why not otherwise.
func (s *Sink) Ready() error {
	if why := s.gone.why(); why != "" {
		return fault.New(opWrite, fault.Unavailable, codeGone, "%s", why)
	}
	if left := s.hold.left(); left > 0 {
		return fault.New(opWrite, fault.Unavailable, "endpoint_busy", "%s wants to be left alone for another %s", name(s.url), left.Round(time.Second))
	}
	return nil
}

// Handle posts one event. It waits while the endpoint is gone or wants to be left alone. A request that was begun is
// finished when ctx ends, so that a stop sends nothing twice.
func (s *Sink) Handle(ctx context.Context, m *consumers.Message) error {
	if err := s.gone.wait(ctx); err != nil {
		return err
	}
	if err := s.hold.wait(ctx); err != nil {
		return err
	}
	began := time.Now()
	answer, err := s.post(context.WithoutCancel(ctx), m)
	s.metrics.answered(answer.status)
	v := judge(answer, err)
	if err = v.err(name(s.url), err); err == nil {
		s.events.Wrote(1, len(m.Raw), time.Since(began))
		s.events.Count(sink.Delivered, 1)
		return nil
	}
	s.events.Failed(retry.Classify(err))
	switch {
	case v.gone:
		s.gone.record(m.EventID)
	case v.refused:
		s.events.Count(sink.Refused, 1)
	case v.told > 0:
		if until, news := s.hold.tell(v.told); news {
			s.log.Warn("endpoint wants to be left alone", zap.Error(err), zap.Time("until", until))
		}
	}
	return err
}
