package token_test

import (
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"github.com/weft-mesh/weft/accounts/token"
)

// BenchmarkStageToken is the hot path's stage that verifies an access token which was good before: whether its
// key is still published, its expiry, its tenant and its certificate. One operation is one request.
func BenchmarkStageToken(b *testing.B) {
	b.Run("remembered", func(b *testing.B) {
		w := newBench(b, nil)
		sum := sha256.Sum256([]byte("certificate"))
		who := token.Bearer{Tenant: "acme", Certificate: &x509.Certificate{Raw: sum[:]}}
		raw := w.good(map[string]any{"cnf": map[string]string{"x5t#S256": token.Thumbprint(who.Certificate)}})
		verify := func() {
			if _, err := w.verifier.Verify(b.Context(), raw, who); err != nil {
				b.Fatal(err)
			}
		}
		verify() // reads the keys and remembers the token
		b.ReportAllocs()
		for b.Loop() {
			verify()
		}
	})
}
