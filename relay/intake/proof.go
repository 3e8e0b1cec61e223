package intake

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/fault"
)

// opened is the secret of a key. It is valid as long as the key's record seals the same.
type opened struct {
	sealed string
	secret keyring.Secret
}

// openTime bounds the wait for a key service.
const openTime = 2 * time.Second

// secret opens the secret of a key once.
func (h *Handler) secret(ctx context.Context, key *keyring.Key) (keyring.Secret, error) {
	if v, ok := h.secrets.Load(key.Kid); ok && v.(*opened).sealed == key.Sealed {
		return v.(*opened).secret, nil
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	s, err := h.o.Sealer.Open(ctx, key.Sealed)
	if err == nil {
		err = keyring.CheckSecret(key.Algorithms, s)
	}
	if err != nil {
		return nil, err
	}
	h.secrets.Store(key.Kid, &opened{sealed: key.Sealed, secret: s})
	return s, nil
}

// nobody is the key that goes the way of one that does not exist, as far as an HMAC. No kid is empty.
func nobody() *keyring.Key {
	return &keyring.Key{Algorithms: []string{keyring.WeftV1, keyring.StandardWebhooks, keyring.Body}, Sealed: "nothing"}
}

// material is the key's secret for the algorithm. Where the key is missing, revoked or not for it, ok is
// false and the secret is a dummy of the algorithm's kind, so that the work is the same, and so that the public key
// of one scheme is never the secret of another.
func (h *Handler) material(ctx context.Context, key *keyring.Key, algorithm string) (s keyring.Secret, ok bool, err error) {
	known := key != nil && key.Sealed != ""
	if !known {
		key = h.nobody
	}
	if key.Allows(algorithm) {
		if s, err = h.secret(ctx, key); err == nil {
			return s, known, nil
		}
	}
	if algorithm == keyring.StandardWebhooksV1a {
		return h.dummyPublic, false, err
	}
	return h.dummy, false, err
}

// prove returns the key that signed the request, nil if none did: the named one, or under Standard Webhooks
// one of the same producer, whose secret may be replaced before or after the kid in the sender's settings.
// Without a signer the work depends on the request alone, not on what is known of the kid. The error says
// that the named key's secret could not be opened.
func (h *Handler) prove(ctx context.Context, x *exchange, named *keyring.Key) (signer *keyring.Key, err error) {
	switch x.form {
	case formWebhook:
		return h.proveWebhook(ctx, x, named)
	case formBody:
		secret, ok, err := h.material(ctx, named, keyring.Body)
		if signature.VerifyBody(secret, x.body, x.mac) && ok {
			return named, nil
		}
		return nil, err
	default:
		secret, ok, err := h.material(ctx, named, keyring.WeftV1)
		if signature.Verify(secret, &x.signed, x.mac) && ok {
			return named, nil
		}
		return nil, err
	}
}

// maxSigners is how many keys may have made one signature of Standard Webhooks.
const maxSigners = 3

func (h *Handler) proveWebhook(ctx context.Context, x *exchange, named *keyring.Key) (*keyring.Key, error) {
	x.content = signature.AppendWebhook(x.content[:0], x.webhookID, x.timestamp, x.body)
	candidates := h.candidates(x, named)
	var failed error
	for i, key := range candidates {
		secret, ok, err := h.material(ctx, key, keyring.StandardWebhooks)
		if signature.VerifyWebhook(secret, x.content, x.mac) && ok {
			return key, nil
		}
		public, okPublic, errPublic := h.material(ctx, key, keyring.StandardWebhooksV1a)
		if signature.VerifyWebhookEd25519(ed25519.PublicKey(public), x.content, x.mac) && okPublic {
			return key, nil
		}
		if i == 0 {
			failed = err
			if err == nil {
				failed = errPublic
			}
		}
	}
	return nil, failed
}

// candidates are the named key and others of its producer that are in use; nil where there are fewer.
func (h *Handler) candidates(x *exchange, named *keyring.Key) (out [maxSigners]*keyring.Key) {
	out[0] = named
	if named == nil {
		named = h.nobody
	}
	n := 1
	for _, kid := range (*h.siblings.Load())[producerOf(named)] {
		key := x.state.Keys[kid]
		if key == nil || kid == named.Kid || producerOf(key) != producerOf(named) || key.Usable(x.now) != nil {
			continue
		}
		if out[n] = key; n == maxSigners-1 {
			break
		}
		n++
	}
	return out
}

func producerOf(k *keyring.Key) producer { return producer{k.Tenant, k.Producer} }

type producer struct{ tenant, name string }

// Follow brings what is kept for keys and tenants in line with the state: it opens the secrets of new keys before a
// request asks for them, and drops what is gone. The relay calls it when the control state changes. Secrets and plans
// do not depend on it; a key signs in place of another of its producer once this has seen both.
func (h *Handler) Follow(state *control.State) {
	ctx, cancel := context.WithTimeout(context.Background(), openTime) // of all: what is left is opened when it is asked for
	defer cancel()
	siblings := map[producer][]string{}
	for kid, key := range state.Keys {
		if key.Sealed == "" {
			continue
		}
		if _, err := h.secret(ctx, key); err != nil {
			h.o.Logger.Warn("the secret of a key cannot be opened", zap.String("kid", kid), zap.Error(err))
		}
		if formWebhook.allows(key) {
			siblings[producerOf(key)] = append(siblings[producerOf(key)], kid)
		}
	}
	for _, kids := range siblings {
		slices.SortFunc(kids, func(a, b string) int { // the newest first
			return cmp.Or(state.Keys[b].CreatedAt.Compare(state.Keys[a].CreatedAt), strings.Compare(a, b))
		})
	}
	h.siblings.Store(&siblings)
	h.secrets.Range(func(kid, v any) bool {
		if k := state.Keys[kid.(string)]; (k == nil || k.Sealed != v.(*opened).sealed) && kid != h.nobody.Kid {
			h.secrets.Delete(kid)
		}
		return true
	})
	h.plans.Range(func(tenant, _ any) bool {
		if _, ok := state.Tenant(tenant.(string)); !ok {
			h.plans.Delete(tenant)
		}
		return true
	})
}

// authenticate finds the key and its tenant and checks the signature.
func (h *Handler) authenticate(x *exchange, r *http.Request) *problem {
	named := x.state.Keys[x.signed.Kid]
	signer, err := h.prove(r.Context(), x, named)
	p := h.judge(x, r, named, signer, err)
	scheme, code := x.form.scheme(), codeOK
	if p != nil {
		code = p.code
	} else if signer.Allows(keyring.StandardWebhooksV1a) {
		scheme = keyring.StandardWebhooksV1a
	}
	h.o.Recorder.Signature(scheme, code)
	return p
}

// judge says what is wrong with key or signature, or sets the caller. Who proves nothing and is of another tenant
// than the key hears the same as for a kid that does not exist.
func (h *Handler) judge(x *exchange, r *http.Request, named, signer *keyring.Key, openErr error) *problem {
	foreign := isForeign(named, r)
	if named == nil || signer == nil && foreign {
		return fail(http.StatusUnauthorized, codeKeyUnknown, "%s names no key that this relay knows", signature.KeyID)
	}
	if err := named.Usable(x.now); err != nil {
		return fail(http.StatusUnauthorized, fault.CodeOf(err), "%s: %s", signature.KeyID, detailOf(err))
	}
	tenant, ok := x.state.Tenant(named.Tenant)
	switch {
	case !ok:
		return fail(http.StatusUnauthorized, codeTenant, "the tenant of this key is not active")
	case !x.form.allows(named):
		return fail(http.StatusUnauthorized, codeAlgorithm, "the key may not be used with %s", x.form.scheme())
	case signer == nil && (openErr != nil || named.Sealed == ""):
		h.o.Logger.Error("the secret of a key cannot be opened", zap.String("kid", named.Kid), zap.Error(openErr))
		return fail(http.StatusServiceUnavailable, codeKeyUnavailable, "this relay cannot open the key's secret")
	case signer == nil:
		return fail(http.StatusUnauthorized, codeSignature,
			"%s is not the %s signature of this request: compare what is signed byte by byte", x.form.signatureHeader(), x.form.scheme())
	}
	x.caller = caller{key: signer, tenant: tenant, producer: signer.Producer}
	x.setGuardKey()
	return nil
}

// isForeign says that the client certificate shows no tenant or another one than the key's.
func isForeign(key *keyring.Key, r *http.Request) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return true
	}
	who, err := pki.FromCertificate(r.TLS.PeerCertificates[0])
	return err != nil || key == nil || who.Role != pki.RoleTenant || who.Tenant != key.Tenant
}
