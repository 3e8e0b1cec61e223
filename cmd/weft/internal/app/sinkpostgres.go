package app

import (
	"bytes"
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/consumers/sink/postgres"
)

func openPostgres(ctx context.Context, c *config.Sink, log *zap.Logger, r prometheus.Registerer) (consumerSink, error) {
	d := &c.Postgres
	url, err := readSinkFile(d.URLFile)
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, postgres.Options{
		URL: keyring.Secret(bytes.TrimSpace(url)), Schema: d.Schema, Horizon: d.Horizon, Retention: d.Retention,
		Batch: d.Batch, Linger: d.Linger, Workers: d.Workers, Timeout: d.Timeout, Logger: log, Registerer: r,
	})
}
