package identity

import (
	"bytes"
	"os"
	"testing"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
)

// Relays of a mesh that an older weft made are granted what they have to do now.
func TestRelayCredentialsAreBroughtUpToDate(t *testing.T) {
	dir := t.TempDir()
	made(t, dir, "eu")
	r, err := LoadRelay(dir, "eu")
	if err != nil {
		t.Fatal(err)
	}
	h := hub(t, dir, "eu")
	old, seed, err := issuer.User(issuer.UserSpec{
		Name: "relay-eu", Account: h.Control.Public, SigningSeed: h.Control.SigningSeed, Permissions: grant.Permissions{Publish: []string{"a"}, Subscribe: []string{"b"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := issuer.WriteCreds(r.CredsFile, old, seed); err != nil {
		t.Fatal(err)
	}
	made(t, dir, "eu")
	first, err := os.ReadFile(r.CredsFile)
	if err != nil || issuer.Outdated(first, grant.ControlReader("eu")) {
		t.Fatalf("the credentials are still those of an older mesh (%v)", err)
	}
	made(t, dir, "eu")
	if second, _ := os.ReadFile(r.CredsFile); !bytes.Equal(first, second) {
		t.Error("credentials that are up to date were made anew")
	}
}
