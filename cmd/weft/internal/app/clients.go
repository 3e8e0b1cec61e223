package app

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/revocation"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// relayFiles opens the files of a relay's TLS, with the authorities of others that it is told to let in.
func relayFiles(id *identity.Relay, c config.TLS, log *zap.Logger) (*pki.Files, error) {
	o := pki.FilesOptions{Cert: id.CertFile, Key: id.KeyFile, CA: id.CAFile, Logger: log, Now: clock()}
	for _, entry := range c.ClientCAs {
		tenant, file := config.ClientCA(entry)
		o.Others = append(o.Others, pki.ClientCA{Tenant: tenant, File: file})
	}
	f, err := pki.Open(o)
	return f, fault.Wrap("relay.tls", fault.Invalid, err)
}

// relayClients makes what decides over clients' certificates.
func relayClients(ctx context.Context, files *pki.Files, state func() *control.State, id *identity.Relay, c config.TLS, log *zap.Logger) (*revocation.Checker, error) {
	o := revocation.DefaultOptions()
	o.Trust, o.State, o.Logger, o.Now = files, state, log, clock()
	if c.OCSP != "" { // a mesh on one machine has no settings of this kind
		o.Lists, o.ListRefresh, o.ListStale = c.CRL, c.CRLRefresh, revocation.Policy(c.CRLStale)
		o.OCSP, o.Responder, o.OCSPRefresh, o.OCSPUnreachable = revocation.Mode(c.OCSP), c.OCSPResponder, c.OCSPRefresh, revocation.Policy(c.OCSPUnreachable)
	}
	if len(o.Lists) > 0 {
		o.StateDir = filepath.Join(filepath.Dir(id.CertFile), "crl")
		if err := secretfile.Dir(o.StateDir); err != nil {
			return nil, err
		}
	}
	return revocation.New(ctx, o)
}

// tend looks at the relay's files every second and renews its certificate through the hub when that is due.
func (r *Relay) tend(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var again time.Time
	for retry := renewRetry; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			r.files.Refresh()
			if now.Before(again) {
				continue
			}
			again = now.Add(renewEvery)
			_, err := r.files.Renew(ctx, r.renew)
			if err == nil {
				retry = renewRetry
			} else if ctx.Err() == nil {
				again, retry = now.Add(retry), min(2*retry, maxRenewRetry)
				r.dial.log.Warn("the relay's certificate is not renewed, which is tried again", zap.Time("not_after", r.files.Leaf().NotAfter), zap.Error(err))
			}
		}
	}
}

const (
	renewEvery = 10 * time.Second
	// A renewal that fails is tried again after renewRetry, then after twice that, up to maxRenewRetry.
	renewRetry    = 3 * time.Second
	maxRenewRetry = 10 * time.Minute
	// renewWait is longer than a hub waits for the control home.
	renewWait = 10 * time.Second
)

// renew asks the hub for the next certificate.
func (r *Relay) renew(ctx context.Context, renewal pki.Renewal) ([]byte, error) {
	raw, err := json.Marshal(renewal)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	m, err := r.control.RequestWithContext(ctx, subject.Renewal(r.dial.region, r.dial.region), raw)
	if err != nil {
		return nil, err
	}
	var resp accounts.RenewalResponse
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return nil, err
	}
	if resp.Error != "" {
		return nil, errors.New(resp.Error)
	}
	return []byte(resp.Certificate), nil
}

// watchCertificates exports how long the relay's certificate lives and what is known of revocations.
func (r *Relay) watchCertificates(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_relay_certificate_expires_seconds", Help: "Time until the relay's own certificate runs out; it is renewed at a third of its life.",
	}, func() float64 { return time.Until(r.files.Leaf().NotAfter).Seconds() })
	return errors.Join(reg.Register(expiry), reg.Register(r.clients))
}
