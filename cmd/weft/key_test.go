package main

import (
	"bytes"
	"path/filepath"
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
