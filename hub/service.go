package hub

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/subject"
)

// relayTTL is the life of a relay's user token. The relay made the key pair itself and asks again at every
// connect, so the token alone is worth nothing to whoever sees it.
const relayTTL = 24 * time.Hour

// queue lets one server of the region answer each request.
const queue = "hub"

// serveCredentials answers relays that ask for a user in a tenant's account. Who may ask is decided by the
// CONTROL account's grants: relay credentials alone may publish to the subject.
func (h *Hub) serveCredentials() error {
	_, err := h.control.conn.QueueSubscribe(subject.Credential(h.Origin().Region), queue, func(m *nats.Msg) {
		var req accounts.CredentialRequest
		var resp accounts.CredentialResponse
		if err := json.Unmarshal(m.Data, &req); err != nil {
			resp.Error = "unreadable request"
		} else if resp, err = h.mintRelay(req); err != nil {
			resp.Error = err.Error()
		}
		h.respond(m, resp)
	})
	return err
}

func (h *Hub) mintRelay(req accounts.CredentialRequest) (accounts.CredentialResponse, error) {
	t := h.tenancyOf(req.Tenant)
	if t == nil || !accounts.ValidName(req.RelayID) {
		return accounts.CredentialResponse{}, errors.New("no such tenant here, or a relay id that is none")
	}
	token, _, err := issuer.User(issuer.UserSpec{
		Name: "relay-" + req.RelayID, Account: t.tenant.Account, SigningSeed: t.signing, UserPublic: req.UserPublic, TTL: relayTTL,
		Permissions: grant.Relay(h.Origin().Region, req.RelayID),
	})
	return accounts.CredentialResponse{JWT: token}, err
}

// serveDigests answers, in a tenant's account, what the content digests of stored events are. A relay whose
// publish was called a duplicate compares; no content leaves the region by this way.
func (h *Hub) serveDigests(s *session) error {
	_, err := s.conn.QueueSubscribe(subject.Digest(h.Origin().Region), queue, func(m *nats.Msg) {
		var req original.Request
		if err := json.Unmarshal(m.Data, &req); err != nil || len(req.Seqs) > original.MaxSeqs {
			return // a relay never sends this; whoever does is not answered
		}
		h.respond(m, h.digests(s, req.Seqs))
	})
	return err
}

func (h *Hub) digests(s *session, seqs []uint64) original.Response {
	ctx, cancel := context.WithTimeout(context.Background(), apiTimeout)
	defer cancel()
	resp := original.Response{Digests: make([]original.Digest, len(seqs))}
	var err error
	for i, seq := range seqs {
		d := original.Digest{Seq: seq}
		var msg *jetstream.RawStreamMsg
		if err == nil {
			msg, err = s.message(ctx, subject.EventsStream, getRequest{Seq: seq})
		}
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			d.Error, err = original.NotFound, nil
		case err != nil:
			d.Error = original.Unavailable
		default:
			d.EventID = msg.Header.Get(header.MsgID)
			d.Origin, d.Sourced = whereFrom(msg)
			sum, derr := event.Digest(msg.Data)
			if d.Digest = hex.EncodeToString(sum[:]); derr != nil {
				d.Digest, d.Error = "", original.Unavailable
			}
		}
		resp.Digests[i] = d
	}
	return resp
}

func (h *Hub) respond(m *nats.Msg, v any) {
	raw, err := json.Marshal(v)
	if err == nil {
		err = m.Respond(raw)
	}
	if err != nil {
		h.log.Warn("service answer not sent", zap.String("subject", m.Subject), zap.Error(err))
	}
}
