package token

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// maxKeySet bounds the document that holds a key set.
const maxKeySet = 256 << 10

// loader returns the function that reads the issuer's key set from where it is.
func loader(issuer *Issuer, timeout time.Duration) func(context.Context) ([]byte, error) {
	if issuer.JWKSFile != "" {
		return func(context.Context) ([]byte, error) { return loadFile(issuer.JWKSFile) }
	}
	client := &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: issuer.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true, DisableCompression: true, TLSHandshakeTimeout: timeout, MaxResponseHeaderBytes: 32 << 10,
		},
		// keys come from the configured address or not at all
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context) ([]byte, error) { return loadURL(ctx, client, issuer.JWKSURL) }
}

func loadURL(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	const op = "token.load"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok { // without the address: its query is nobody's business
			err = u.Err
		}
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fault.New(op, fault.Unavailable, "jwks_status", "the issuer answered %d instead of 200 with its keys; redirects are not followed", res.StatusCode)
	}
	return readKeys(res.Body)
}

func loadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap("token.load", fault.Unavailable, err)
	}
	defer func() { _ = f.Close() }()
	return readKeys(f)
}

func readKeys(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxKeySet+1))
	if err != nil {
		return nil, fault.Wrap("token.load", fault.Unavailable, err)
	}
	if len(raw) > maxKeySet {
		return nil, fault.New("token.load", fault.Invalid, "jwks_too_large", "the key set is larger than %d bytes", maxKeySet)
	}
	return raw, nil
}
