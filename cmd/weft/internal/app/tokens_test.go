package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
)

func TestIssuersAuthorities(t *testing.T) {
	ca, err := pki.NewAuthority("issuer")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.pem")
	for content, good := range map[string]bool{string(ca.CertPEM()): true, "no PEM": false, string(ca.KeyPEM()): false} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := tokenIssuers([]config.Issuer{{Issuer: "https://idp", CAFile: path}})
		if (err == nil) != good || good && got[0].RootCAs == nil || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%.30q: %v", content, err)
		}
	}
	if _, err := tokenIssuers([]config.Issuer{{CAFile: path + ".missing"}}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file: %v", err)
	}
	if got, err := tokenIssuers([]config.Issuer{{}}); err != nil || got[0].RootCAs != nil {
		t.Errorf("without a file the system's authorities count: %v", err)
	}
}
