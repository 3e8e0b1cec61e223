package intake_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestEveryBitCounts flips every bit of a request of each scheme, as its bytes go over the wire. What is still admitted must be
// the same request by the rules of HTTP (RFC 9110: names of fields and hosts have no case).
func TestEveryBitCounts(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			w := newSchemes(t)
			golden := w.wire(w.signed(scheme, scheme))
			if got := w.handler.Admit(w.parse(golden)); got.Status != 0 {
				t.Fatalf("the golden request: %+v", got)
			}
			admitted := 0
			for i := range 8 * len(golden) {
				flipped := bytes.Clone(golden)
				flipped[i/8] ^= 1 << (i % 8)
				req := w.parse(flipped)
				if req == nil { // net/http answers 400 to what it cannot read
					continue
				}
				if got := w.handler.Admit(req); got.Status == 0 {
					admitted++
					if !sameRequest(w.parse(flipped), w.parse(golden)) {
						t.Errorf("byte %d: %q is admitted as %q", i/8, flipped[max(0, i/8-20):min(len(flipped), i/8+20)], golden[max(0, i/8-20):min(len(golden), i/8+20)])
					}
				}
			}
			t.Logf("%d flips, %d of them the same request in other letters", 8*len(golden), admitted)
			if admitted > len(golden)/3 {
				t.Errorf("%d flips admitted: the comparison looks away", admitted)
			}
		})
	}
}

// wire is the request as HTTP/1.1 bytes.
func (w *world) wire(r *http.Request) []byte {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.Method, r.RequestURI, r.Host, len(body))
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	return append(append(b.Bytes(), "\r\n"...), body...)
}

// parse reads a request as the server does, nil if it is none.
func (w *world) parse(wire []byte) *http.Request {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(wire)))
	if err != nil {
		return nil
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{w.cert}}
	return r
}

func sameRequest(a, b *http.Request) bool {
	delete(a.Header, "Content-Length") // its meaning is the body's end
	delete(b.Header, "Content-Length")
	bodyA, errA := io.ReadAll(a.Body)
	bodyB, errB := io.ReadAll(b.Body)
	return errA == nil && errB == nil && bytes.Equal(bodyA, bodyB) && a.Method == b.Method && a.RequestURI == b.RequestURI &&
		strings.EqualFold(a.Host, b.Host) && reflect.DeepEqual(a.Header, b.Header)
}
