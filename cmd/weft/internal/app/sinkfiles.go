package app

import (
	"bytes"
	"cmp"
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/consumers/sink/files"
)

func openFiles(ctx context.Context, c *config.Sink, log *zap.Logger, r prometheus.Registerer) (consumerSink, error) {
	f := &c.Files
	o := files.Options{
		Dir: f.Dir, Batch: f.Batch, Linger: cmp.Or(f.Linger, -1), FileBytes: int(f.FileBytes), Raw: f.Raw, Remember: f.Remember, Horizon: f.Horizon, Timeout: f.Timeout,
		S3:     files.S3{Endpoint: f.S3.Endpoint, Region: f.S3.Region, Bucket: f.S3.Bucket, Prefix: f.S3.Prefix, AccessKey: f.S3.AccessKey, Plain: f.S3.Plain},
		Logger: log, Registerer: r,
	}
	if f.S3.SecretKeyFile != "" {
		secret, err := readSinkFile(f.S3.SecretKeyFile)
		if err != nil {
			return nil, err
		}
		o.S3.SecretKey = keyring.Secret(bytes.TrimSpace(secret))
	}
	if f.S3.CAFile != "" {
		var err error
		if o.S3.RootCAs, err = authorities(f.S3.CAFile); err != nil {
			return nil, err
		}
	}
	return files.Open(ctx, o)
}
