package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
)

// Request is one signed request as it goes over the wire: it can be sent again, elsewhere, and be tampered with.
type Request struct {
	Host   string
	Body   []byte
	Header http.Header
}

// Sign makes the request of one event, signed for host at now.
func Sign(kid string, secret keyring.Secret, host, requestID string, now time.Time, body []byte) (*Request, error) {
	req, err := http.NewRequest(http.MethodPost, "https://"+host+"/v1/events", http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	signature.SignHTTP(secret, req, kid, requestID, now, body)
	return &Request{Host: host, Body: body, Header: req.Header}, nil
}

// NewSender is an HTTP client that presents a certificate. Its connections stay open.
func NewSender(conf *tls.Config) *http.Client {
	return &http.Client{
		Transport: &http.Transport{TLSClientConfig: conf.Clone(), ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: 4 * time.Second},
		Timeout:   6 * time.Second,
	}
}

// Reply is what a relay answered.
type Reply struct {
	Answer checker.Answer
	Code   string
	Skew   *int64 // seconds, as the relay sees the sender's clock
	Region string // that has the event
}

// Send sends the request to a relay.
func (r *Request) Send(ctx context.Context, c *http.Client, relay string) Reply {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, relay+"/v1/events", bytes.NewReader(r.Body))
	if err != nil {
		return Reply{Code: err.Error()}
	}
	req.Host, req.Header = r.Host, r.Header.Clone()
	res, err := c.Do(req)
	if err != nil {
		return Reply{Code: "no_answer"}
	}
	defer func() { _ = res.Body.Close() }()
	var a struct {
		Status any    `json:"status"`
		Code   string `json:"code"`
		Skew   *int64 `json:"skew_s"`
		Region string `json:"region"`
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil {
		err = json.Unmarshal(raw, &a)
	}
	out := Reply{Code: a.Code, Skew: a.Skew, Region: a.Region}
	switch {
	case err != nil:
		out.Code = "no_answer"
	case res.StatusCode == http.StatusAccepted && a.Status == "duplicate":
		out.Answer = checker.Known
	case res.StatusCode == http.StatusAccepted:
		out.Answer = checker.Accepted
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		out.Answer = checker.Barred
	}
	return out
}
