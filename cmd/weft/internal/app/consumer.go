package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

// consumerSink is a sink as a process runs it.
type consumerSink interface {
	Subscription(o consumers.Options) consumers.Options
	Run(ctx context.Context, sub *consumers.Subscription) error
	Close() error
}

// sinkOpener opens one kind of sink.
type sinkOpener func(ctx context.Context, c *config.Sink, log *zap.Logger, r prometheus.Registerer) (consumerSink, error)

// sinkOpeners are all kinds, by name.
func sinkOpeners() map[string]sinkOpener {
	return map[string]sinkOpener{
		"files":    openFiles,
		"nats":     openStream,
		"postgres": openPostgres,
		"webhook":  openWebhook,
	}
}

// RunConsumer runs one sink as a durable consumer until ctx ends.
func RunConsumer(ctx context.Context, c *config.Consumer, log *zap.Logger) error {
	defer TuneRuntime()()
	tel, err := telemetry.New(c.Listen.Metrics, log)
	if err != nil {
		return err
	}
	var running atomic.Pointer[func() error]
	tel.Check("consumer", func() error {
		if ready := running.Load(); ready != nil {
			return (*ready)()
		}
		return errors.New("starting: the sink or the region has not answered yet")
	})
	if err := tel.Start(); err != nil {
		return err
	}
	defer stopTelemetry(tel)
	open := sinkOpeners()[c.Sink.Kind]
	if open == nil {
		return fault.New("consumer.run", fault.Internal, "sink_unknown", "there is no sink %q", c.Sink.Kind)
	}
	o, err := consumerOptions(c, log, tel.Registry)
	if err != nil {
		return err
	}
	sink, err := insist(ctx, log, func() (consumerSink, error) { return open(ctx, &c.Sink, log, tel.Registry) })
	if err != nil {
		return err
	}
	defer func() { _ = sink.Close() }()
	if c.Group.Width > 0 {
		return runMember(ctx, c, sink, sink.Subscription(o), &running)
	}
	sub, err := insist(ctx, log, func() (*consumers.Subscription, error) { return consumers.Subscribe(ctx, sink.Subscription(o)) })
	if err != nil {
		return err
	}
	ready := func() error { return consumerReady(sub, sink) }
	running.Store(&ready)
	log.Info("consumer ready", zap.String("durable", c.Durable), zap.String("sink", c.Sink.Kind))
	err = sink.Run(ctx, sub)
	log.Info("consumer stopped", zap.Error(err))
	return err
}

// consumerOptions are the subscription's, before the sink has its say.
func consumerOptions(c *config.Consumer, log *zap.Logger, r prometheus.Registerer) (consumers.Options, error) {
	from, err := c.From.Parse(time.Now())
	if err != nil {
		return consumers.Options{}, err
	}
	nats := c.NATS
	if len(nats.URLs) == 0 {
		if nats, err = localAccount(c); err != nil {
			return consumers.Options{}, err
		}
	}
	o := consumers.Options{
		URLs: nats.URLs, CredsFile: nats.Creds, Name: "weft-consumer-" + c.Sink.Kind, Durable: c.Durable, Topics: c.Topics, From: from,
		AckWait: c.AckWait, Retry: retry.Policy{First: c.Retry.First, Most: c.Retry.Most, Attempts: c.Retry.Attempts},
		Breaker: consumers.Breaker{Failures: c.Breaker.Failures, First: c.Breaker.First, Most: c.Breaker.Most, OptionalAfter: c.Breaker.OptionalAfter},
		Logger:  log, Registerer: r,
	}
	if c.Reorder > 0 {
		o.Reorder = &consumers.Reorder{Window: c.Reorder}
	}
	if nats.CA != "" {
		o.TLS, err = pki.ClientTLS("", "", nats.CA)
	}
	return o, err
}

// localAccount is what mesh.json says, where the configuration leaves it open.
func localAccount(c *config.Consumer) (config.ConsumerNATS, error) {
	m, err := meshfile.Read(c.Data)
	if err != nil {
		return config.ConsumerNATS{}, err
	}
	region, err := m.Region(c.Region)
	if err != nil {
		return config.ConsumerNATS{}, err
	}
	tenant, err := m.Tenant(c.Tenant)
	if err != nil {
		return config.ConsumerNATS{}, err
	}
	n := config.ConsumerNATS{URLs: []string{region.NATS}, Creds: c.NATS.Creds, CA: c.NATS.CA}
	if n.Creds == "" {
		n.Creds = tenant.ConsumerCreds
	}
	if n.CA == "" {
		n.CA = m.Path(m.CA)
	}
	return n, nil
}

// consumerReady is nil while events are read and written, as far as is known.
func consumerReady(sub *consumers.Subscription, sink consumerSink) error {
	st := sub.State()
	switch {
	case !st.Connected && st.Connection != nil:
		return fmt.Errorf("not connected to the region: %w", st.Connection)
	case !st.Connected:
		return errors.New("not connected to the region")
	case st.Breaker != consumers.BreakerClosed:
		return fmt.Errorf("the sink fails since %s, the next try is at %s: see the log", st.Since.UTC().Format(time.RFC3339), st.Until.UTC().Format(time.RFC3339))
	}
	if s, ok := sink.(interface{ Ready() error }); ok {
		return s.Ready()
	}
	return nil
}

// insist waits for what does not answer yet, up to connectWait: a sink's target, the region and this process may be
// started in any order.
func insist[T any](ctx context.Context, log *zap.Logger, try func() (T, error)) (T, error) {
	for end := time.Now().Add(connectWait); ; {
		v, err := try()
		if err == nil || ctx.Err() != nil || fault.KindOf(err) != fault.Unavailable || time.Now().After(end) {
			return v, err
		}
		log.Warn("not ready yet", zap.Error(err))
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
