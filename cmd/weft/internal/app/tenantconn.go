package app

import (
	"context"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// DialTenant opens a connection into a tenant's account as a relay of the region does, with the region's relay
// identity below data. A benchmark's baseline publishes over it what a relay would. Both connections that this
// takes are closed by the returned function.
func DialTenant(ctx context.Context, data, region, url, tenant string, log *zap.Logger) (*nats.Conn, func(), error) {
	const op = "app.dial_tenant"
	id, err := identity.LoadRelay(data, region)
	if err != nil {
		return nil, nil, err
	}
	files, err := pki.Open(pki.FilesOptions{Cert: id.CertFile, Key: id.KeyFile, CA: id.CAFile, Logger: log})
	if err != nil {
		return nil, nil, fault.Wrap(op, fault.Invalid, err)
	}
	d := dialer{region: region, relayID: "bench", urls: []string{url}, files: files, log: log}
	if d.control, err = d.connect("control", nats.UserCredentials(id.CredsFile)); err != nil {
		return nil, nil, err
	}
	conn, err := d.tenant(ctx, tenant)
	if err != nil {
		d.control.Close()
		return nil, nil, err
	}
	return conn, func() {
		conn.Close()
		d.control.Close()
	}, nil
}
