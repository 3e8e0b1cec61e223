package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	renewEvery = 10 * time.Second
	// A renewal that fails is tried again after renewRetry, then after twice that, up to maxRenewRetry.
	renewRetry    = 3 * time.Second
	maxRenewRetry = 10 * time.Minute
	// renewWait bounds the wait for the control home.
	renewWait = 5 * time.Second
)

// serveRenewals renews certificates of relays and hubs. The control home alone has the authority's key: other regions
// pass on what their own relays ask.
func (h *Hub) serveRenewals() error {
	self := h.opts.Identity.Region
	_, err := h.control.conn.QueueSubscribe(subject.Renewal(self, "*"), queue, func(m *nats.Msg) {
		who := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		if h.opts.Identity.Home == nil && who != self {
			return // this is not the region that can help
		}
		var resp accounts.RenewalResponse
		var r pki.Renewal
		if err := json.Unmarshal(m.Data, &r); err != nil {
			resp.Error = "unreadable request"
		} else if text, err := h.renew(context.Background(), r, who); err != nil {
			resp.Error = err.Error()
		} else {
			resp.Certificate = string(text)
		}
		h.respond(m, resp)
	})
	return err
}

// renew signs a renewal that region who asks for, or has the control home sign it.
func (h *Hub) renew(ctx context.Context, r pki.Renewal, who string) ([]byte, error) {
	const op = "certificate.renew"
	home := h.opts.Identity.Home
	if home == nil {
		return h.renewAtHome(ctx, r)
	}
	principal, life, err := home.CA.Renewing(r)
	if err != nil {
		return nil, err
	}
	region, ok := h.opts.Identity.Mesh.Region(who)
	if !ok || principal.Region != who {
		return nil, fault.New(op, fault.Denied, "renewal_refused", "region %q asks for a certificate of region %q", who, principal.Region)
	}
	text, err := home.CA.Sign([]byte(r.Request), identity.ServerSpec(principal.Role, region, life))
	if err != nil {
		return nil, err
	}
	h.log.Info("a certificate was renewed", zap.String("principal", principal.URI()), zap.Duration("life", life))
	return text, nil
}

func (h *Hub) renewAtHome(ctx context.Context, r pki.Renewal) ([]byte, error) {
	const op = "certificate.renew"
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	ctx, cancel := context.WithTimeout(ctx, renewWait)
	defer cancel()
	m, err := h.control.conn.RequestWithContext(ctx, subject.Renewal(h.opts.Identity.Mesh.Home, h.opts.Identity.Region), raw)
	if err != nil {
		return nil, &fault.Error{Op: op, Kind: fault.Unavailable, Code: "home_unreachable", Detail: "the control home " + h.opts.Identity.Mesh.Home + " does not answer", Err: err}
	}
	var resp accounts.RenewalResponse
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	if resp.Error != "" {
		return nil, errors.New(resp.Error)
	}
	return []byte(resp.Certificate), nil
}

// renewLoop renews this hub's own certificate at two thirds of its life.
func (h *Hub) renewLoop(ctx context.Context) {
	for retry := renewRetry; ; {
		h.files.Refresh()
		_, err := h.files.Renew(ctx, func(ctx context.Context, r pki.Renewal) ([]byte, error) {
			return h.renew(ctx, r, h.opts.Identity.Region)
		})
		if err != nil && ctx.Err() == nil {
			h.log.Warn("the hub's certificate is not renewed, which is tried again", zap.Time("not_after", h.files.Leaf().NotAfter), zap.Error(err))
		}
		wait := renewEvery
		if err != nil {
			wait, retry = retry, min(2*retry, maxRenewRetry)
		} else {
			retry = renewRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
