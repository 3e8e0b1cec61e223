package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/token/issuertest"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// What a relay's configuration says of tokens holds: an issuer, a hub and a relay, each a process of its own.
func TestTokensFromTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	issuer, err := issuertest.Start(t.TempDir(), "RS256")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(issuer.Kill)
	base := streamtest.Ports(t).Base()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("idp.pem", string(issuer.CAPEM()))
	write("hub.yaml", fmt.Sprintf("region: eu\ndata: mesh\ndurability: relaxed\nlisten: {nats: '127.0.0.1:%d', leaf: '127.0.0.1:%d', admin: '127.0.0.1:%d', metrics: '127.0.0.1:%d'}\n",
		base+1, base+2, base+3, base+4))
	write("relay.yaml", fmt.Sprintf("region: eu\nid: r1\ndata: mesh\nhub: ['tls://127.0.0.1:%d']\nlisten: {https: '127.0.0.1:%d', metrics: '127.0.0.1:%d'}\n", base+1, base+5, base+6)+
		fmt.Sprintf("tokens:\n  issuers:\n  - {issuer: %[1]q, jwks_url: '%[1]s/jwks', ca_file: idp.pem, audience: weft, algorithms: [RS256], tenants: [acme], required_for: [acme], require_binding: true}\n", issuer.URL()))
	runWeft(t, dir, "init", "--data", "mesh", "--regions", "eu")
	for i, role := range []string{"hub", "relay"} {
		p := &process{t: t, name: role, dir: dir, args: []string{role, "--config", role + ".yaml"}, ready: fmt.Sprintf("http://127.0.0.1:%d/readyz", base+[]int{4, 6}[i])}
		p.start()
		t.Cleanup(p.kill)
		p.awaitReady()
	}
	runWeft(t, dir, "tenant", "add", "acme", "--data", "mesh", "--admin", fmt.Sprintf("https://127.0.0.1:%d", base+3))

	of := func(name string) string { return filepath.Join(dir, "mesh", "tenants", "acme", name) }
	pair, err := tls.LoadX509KeyPair(of("client.pem"), of("client-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	send := func(args ...string) result {
		return run(t.Context(), strings.NewReader(testEvents(3)), append([]string{"send", "-", "--now", "--url", fmt.Sprintf("https://127.0.0.1:%d", base+5), "--kid", "acme-1",
			"--secret-file", of("acme-1.key"), "--cert", of("client.pem"), "--key", of("client-key.pem"), "--ca", filepath.Join(dir, "mesh", "pki", "ca.pem")}, args...)...)
	}
	fetch := func(scope string, cert *tls.Certificate) string {
		t.Helper()
		raw, err := issuer.Token(t.Context(), "acme", scope, cert, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		write("token", raw)
		return filepath.Join(dir, "token")
	}
	send("--token-file", fetch("events:write:*", &pair)).expect(t, 0, "3 sent: 3 stored")
	if r := send(); r.code == 0 || !strings.Contains(r.stderr, "need an access token") {
		t.Errorf("without a token: %d %s", r.code, r.stderr)
	}
	if r := send("--token-file", fetch("events:write:*", nil)); r.code == 0 || !strings.Contains(r.stderr, "not bound") {
		t.Errorf("with a token that is not bound: %d %s", r.code, r.stderr)
	}
	if r := send("--token-file", fetch("events:write:other", &pair)); r.code == 0 || !strings.Contains(r.stderr, "scope_missing") {
		t.Errorf("with another scope: %d %s", r.code, r.stderr)
	}
}
