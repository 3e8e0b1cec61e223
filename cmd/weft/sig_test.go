package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// An event that its producer signed can be checked by a consumer in any region, by whatever scheme its request was
// signed and wherever it came in: the mesh has not changed a byte.
func TestEventsOwnSignaturesOutliveTheMesh(t *testing.T) {
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	key := signature.EventPrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	sent := map[string]string{}
	for i, scheme := range []string{keyring.WeftV1, keyring.StandardWebhooks, keyring.StandardWebhooksV1a, keyring.Body} {
		secret := schemeKey(t, dir, scheme)
		for _, region := range []string{"eu", "us"} {
			id := scheme + "-" + region
			raw := fmt.Sprintf(`{ "event_id":%q ,"event_type":"bet.placed", "schema_version":"1.0.0","occurred_at":%q,`+
				`"key":{"user_id":"u\u00e9é%d"},	"payload":{"stake":1.50e2,"path":"a\/b","none":null }  }`, id, time.Now().UTC().Format(time.RFC3339), i)
			signed, err := signature.SignEvent(key, "bets-1", time.Now(), []byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			sent[id] = string(signed)
			file := filepath.Join(dir, id+".ndjson")
			if err := os.WriteFile(file, append(signed, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
			streamtest.Eventually(t, 20*time.Second, func() (bool, string) { // until that region's relay knows the key
				got := run(t.Context(), nil, "send", file, "--data", filepath.Join(dir, "mesh"), "--tenant", "acme", "--region", region,
					"--kid", scheme, "--scheme", scheme, "--secret-file", secret, "--timeout", "5s")
				return got.code == 0, got.stderr
			})
		}
	}
	for _, region := range []string{"eu", "us"} {
		t.Run(region, func(t *testing.T) { verifyAll(t, filepath.Join(dir, "mesh"), region, key, sent) })
	}
}

// schemeKey makes an active key of acme for a scheme, under the scheme's name, and returns the file with its secret.
func schemeKey(t *testing.T, dir, scheme string) string {
	t.Helper()
	args := []string{"key", "add", "--data", "mesh", "--tenant", "acme", "--kid", scheme, "--scheme", scheme, "--active"}
	secret := filepath.Join(dir, "mesh", "tenants", "acme", scheme+".key")
	if scheme == keyring.StandardWebhooksV1a {
		seed := make([]byte, ed25519.SeedSize)
		seed[0] = 1
		public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
		secret = filepath.Join(dir, "v1a.key")
		for file, text := range map[string]string{
			filepath.Join(dir, "v1a.pub"): "whpk_" + base64.StdEncoding.EncodeToString(public), secret: base64.StdEncoding.EncodeToString(seed),
		} {
			if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args = append(args, "--public-key", "v1a.pub")
	}
	runWeft(t, dir, args...)
	return secret
}

// verifyAll consumes in a region what was sent, with its signatures.
func verifyAll(t *testing.T, data, region string, key signature.EventKey, sent map[string]string) {
	nc := ownerOf(t, meshFlags{data: data, tenant: "acme", region: region})
	sub, err := consumers.Subscribe(t.Context(), consumers.Options{Conn: nc, Durable: "sigs"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	keys := func(_ context.Context, _ *consumers.Message, kid string) (signature.EventKey, error) {
		if kid != "bets-1" {
			return signature.EventKey{}, fmt.Errorf("no key %s", kid)
		}
		return key, nil
	}
	left := len(sent)
	err = sub.Run(ctx, consumers.Verified(keys, func(_ context.Context, m *consumers.Message) error {
		if string(m.Raw) != sent[m.EventID] {
			t.Errorf("%s became %s", sent[m.EventID], m.Raw)
		}
		if left--; left == 0 {
			stop()
		}
		return nil
	}))
	if err != nil || left > 0 {
		t.Errorf("%v, %d events did not come or were not right", err, left)
	}
}
