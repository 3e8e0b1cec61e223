package signature_test

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/weft-mesh/weft/accounts/signature"
)

// BenchmarkStageSignature is the hot path's stage that proves who sent a request: the hash of its body, the
// grammar of what is signed, the MAC and its comparison. One operation is one request, of one event of 500
// bytes or of 100.
func BenchmarkStageSignature(b *testing.B) {
	const event = 500
	for _, request := range []struct {
		name string
		size int
	}{{"event", event}, {"batch100", 100 * (event + 1)}} {
		b.Run(request.name, func(b *testing.B) {
			secret, body := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte("x"), request.size)
			r := signature.Request{
				Kid: "acme-1", Timestamp: "1769903999", RequestID: "8f2c1d7e5b3a4960", Method: "POST", Host: "relay.eu.example:8443",
				Target: "/v1/events", ContentType: "application/x-ndjson", BodySHA256: sha256.Sum256(body),
			}
			header := signature.Sign(secret, &r)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r.BodySHA256 = sha256.Sum256(body)
				if err := r.Validate(); err != nil || !signature.Verify(secret, &r, header) {
					b.Fatal("refused", err)
				}
			}
		})
	}
}
