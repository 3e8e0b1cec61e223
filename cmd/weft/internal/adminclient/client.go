// Package adminclient talks to the admin API of a hub with the operator's certificate.
//
// Used by the verbs of cmd/weft that manage tenants and streams. A Client is safe for concurrent use.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// Client asks the hubs of a mesh, one address after the other.
type Client struct {
	urls []string
	http *http.Client
}

// New makes a client for the admin addresses of a mesh, in the order in which they are to be tried. data is
// the directory that holds the operator's certificate.
func New(data string, urls []string) (*Client, error) {
	ca, cert, key := identity.AdminFiles(data)
	tlsc, err := pki.ClientTLS(cert, key, ca)
	if err != nil {
		return nil, fault.New("admin", fault.Denied, "no_operator_certificate", "the operator's certificate is needed: %v", err)
	}
	return &Client{urls: urls, http: &http.Client{
		Timeout: 40 * time.Second, Transport: &http.Transport{TLSClientConfig: tlsc, ForceAttemptHTTP2: true},
	}}, nil
}

// problem is the body of a refusal.
type problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Do sends a request to the first hub that takes it and decodes the answer into out. A hub that is down, or
// closed, or not the control home, is passed over; the last refusal is returned when none takes it.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var last error
	for _, url := range c.urls {
		done, err := c.once(ctx, method, url+path, in, out)
		if err == nil || done {
			return err
		}
		last = err
	}
	return last
}

// once says with done whether the answer is final.
func (c *Client) once(ctx context.Context, method, url string, in, out any) (done bool, err error) {
	body := []byte(nil)
	if in != nil {
		if body, err = json.Marshal(in); err != nil {
			return true, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return true, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return false, fault.New("admin", fault.Unavailable, "hub_unreachable", "%v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return true, json.NewDecoder(resp.Body).Decode(out)
	}
	var p problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		return true, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	elsewhere := p.Code == "not_control_home" || p.Code == "region_closed"
	return !elsewhere, fault.New("", kindOf(resp.StatusCode), p.Code, "%s", p.Detail)
}

func kindOf(status int) fault.Kind {
	switch status {
	case http.StatusBadRequest:
		return fault.Invalid
	case http.StatusNotFound:
		return fault.NotFound
	case http.StatusConflict:
		return fault.Conflict
	case http.StatusForbidden, http.StatusUnauthorized:
		return fault.Denied
	case http.StatusInsufficientStorage:
		return fault.Limited
	default:
		return fault.Unavailable
	}
}
