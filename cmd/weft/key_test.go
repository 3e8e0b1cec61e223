package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/hub"
)

func TestWhereASecretIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new.key")
	for _, c := range []struct {
		name, out, secret, where, printed string
	}{
		{"a file", file, "c2VjcmV0", "secret in " + file, ""},
		{"standard output", "-", "c2VjcmV0", "secret on standard output", "c2VjcmV0\n"},
		{"a public key", file, "", "its private key stays with the producer", ""},
	} {
		var printed bytes.Buffer
		cmd := newKeyCommand()
		cmd.SetOut(&printed)
		where, err := (&secretOut{c.out}).write(cmd, t.TempDir(), &hub.IssuedKey{Secret: c.secret})
		if err != nil || where != c.where || printed.String() != c.printed {
			t.Errorf("%s: %q, %v, printed %q", c.name, where, err, &printed)
		}
	}
}

// A public key is taken as Standard Webhooks writes it and as openssl does; of a private key nothing is read.
func TestReadPublicKey(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	want := base64.StdEncoding.EncodeToString(public)
	armored := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for _, text := range []string{want + "\n", "whpk_" + want, armored("PUBLIC KEY", spki)} {
		cmd := newKeyCommand()
		cmd.SetIn(strings.NewReader(text))
		if got, err := readPublicKey(cmd, "-"); err != nil || got != want {
			t.Errorf("%q is read as %q, %v", text, got, err)
		}
	}
	cmd := newKeyCommand()
	cmd.SetIn(strings.NewReader(armored("PRIVATE KEY", pkcs8)))
	if got, err := readPublicKey(cmd, "-"); err == nil || !strings.Contains(err.Error(), "holds no Ed25519 public key") {
		t.Errorf("a private key is read as %q, %v", got, err)
	}
}
