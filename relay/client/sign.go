package client

import (
	"bytes"
	"crypto/ed25519"
	"net/http"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/fault"
)

// checkSecret returns nil if the secret can sign under the scheme.
func (o *Options) checkSecret() error {
	const op = "client.new"
	if err := keyring.CheckAlgorithms([]string{o.Scheme}); err != nil {
		return fault.New(op, fault.Invalid, "scheme", "%q is none of the signature schemes", o.Scheme)
	}
	switch n := len(o.Secret); {
	case n == 0:
		return fault.New(op, fault.Invalid, "secret", "the key's secret is missing")
	case o.Scheme == keyring.StandardWebhooksV1a && n != ed25519.SeedSize && n != ed25519.PrivateKeySize:
		return fault.New(op, fault.Invalid, "secret", "%s signs with an Ed25519 private key: %d bytes, or its seed of %d", o.Scheme, ed25519.PrivateKeySize, ed25519.SeedSize)
	}
	return nil
}

// join makes one body of several events. Lines are what a relay reads fastest; a scheme that does not sign the
// content type leaves only JSON to a batch.
func (o *Options) join(events [][]byte) (body []byte, contentType string) {
	const typeJSON = "application/json"
	switch {
	case len(events) == 1:
		return events[0], typeJSON
	case o.Scheme == keyring.WeftV1:
		return append(bytes.Join(events, []byte{'\n'}), '\n'), "application/x-ndjson"
	default:
		return append(append([]byte{'['}, bytes.Join(events, []byte{','})...), ']'), typeJSON
	}
}

// sign signs one attempt under an id that is new for each: a relay takes each once.
func (o *Options) sign(req *http.Request, body []byte) {
	id, now := newRequestID(), o.Now()
	switch secret := o.Secret.Bytes(); o.Scheme {
	case keyring.StandardWebhooks:
		signature.SignHTTPWebhook(func(c []byte) string { return signature.SignWebhook(secret, c) }, req, o.Kid, id, now, body)
	case keyring.StandardWebhooksV1a:
		key := ed25519.PrivateKey(secret)
		if len(secret) == ed25519.SeedSize {
			key = ed25519.NewKeyFromSeed(secret)
		}
		signature.SignHTTPWebhook(func(c []byte) string { return signature.SignWebhookEd25519(key, c) }, req, o.Kid, id, now, body)
	case keyring.Body:
		req.Header.Set(signature.KeyID, o.Kid)
		req.Header.Set(signature.Signature, signature.SignBody(secret, body))
	default:
		signature.SignHTTP(secret, req, o.Kid, id, now, body)
	}
}
