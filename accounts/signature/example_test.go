package signature_test

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
)

// A producer signs a request right before it sends it.
func ExampleSignHTTP() {
	secret := []byte("0123456789abcdef0123456789abcdef")
	body := `{"event_id":"e-1"}`
	req, err := http.NewRequest(http.MethodPost, "https://relay.eu.example.com/v1/events", strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	signature.SignHTTP(secret, req, "acme-1", "req-0", time.Unix(1767323045, 0), []byte(body))
	fmt.Println(req.Header.Get(signature.Signature))
	// Output: v1=ed1dda160f6f2ebe17b89b61cc808bd0ca78c0e287debf893721785b4e18effd
}
