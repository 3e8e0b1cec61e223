package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/consumers/sink/nats"
)

func openStream(ctx context.Context, c *config.Sink, log *zap.Logger, r prometheus.Registerer) (consumerSink, error) {
	s := &c.NATS
	o := nats.Options{
		URLs: s.URLs, CredsFile: s.Creds, Domain: s.Domain, Stream: s.Stream, Prefix: s.Prefix,
		Batch: s.Batch, Linger: s.Linger, Remember: s.Remember, Timeout: s.Timeout, Logger: log, Registerer: r,
	}
	if s.CA != "" {
		var err error
		if o.TLS, err = pki.ClientTLS("", "", s.CA); err != nil {
			return nil, err
		}
	}
	return nats.Open(ctx, o)
}
