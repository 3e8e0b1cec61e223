package consumers_test

import (
	"context"
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

func TestVerified(t *testing.T) {
	key := signature.EventPrivateKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
	signed, err := signature.SignEvent(key, "shop-1", time.Unix(1e9, 0), []byte(`{"event_id":"e-1"}`))
	if err != nil {
		t.Fatal(err)
	}
	keys := func(_ context.Context, m *consumers.Message, kid string) (signature.EventKey, error) {
		if m.Header.Get(header.Source) != "shop" || kid != "shop-1" {
			return signature.EventKey{}, errTest
		}
		return key, nil
	}
	for name, c := range map[string]struct {
		raw    string
		source string
		code   string // of the error, which is permanent
		err    bool
	}{
		"right":           {string(signed), "shop", "", false},
		"another event":   {`{"event_id":"e-2"` + string(signed[len(`{"event_id":"e-1"`):]), "shop", "sig_wrong", true},
		"not signed":      {`{"event_id":"e-1"}`, "shop", "sig_missing", true},
		"another's event": {string(signed), "game", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			h := consumers.Verified(keys, func(context.Context, *consumers.Message) error { called = true; return nil })
			m := &consumers.Message{Raw: []byte(c.raw), Header: map[string][]string{header.Source: {c.source}}}
			err := h(t.Context(), m)
			if (err != nil) != c.err || called == c.err {
				t.Fatalf("%v, called: %v", err, called)
			}
			if c.code != "" && (fault.CodeOf(err) != c.code || retry.Classify(err) != retry.Hopeless) {
				t.Errorf("%v (%s), %s", err, fault.CodeOf(err), retry.Classify(err))
			}
			if c.err && c.code == "" && retry.Classify(err) != retry.Failure {
				t.Errorf("%v is %s: a key may still become known", err, retry.Classify(err))
			}
		})
	}
}
