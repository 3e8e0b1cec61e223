package fleet

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
)

func readSecret(file string) (keyring.Secret, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // the fleet's own
	if err != nil {
		return nil, err
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	return keyring.Secret(secret), err
}

// command is Command for which what was printed is the reason of a failure.
func (f *Fleet) command(ctx context.Context, region string, args ...string) error {
	if out, err := f.Command(ctx, region, args...); err != nil {
		return fmt.Errorf("weft %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out))
	}
	return nil
}

// AddKey makes an active key of a tenant.
func (f *Fleet) AddKey(ctx context.Context, region, tenant, kid string) (keyring.Secret, error) {
	file := f.path("conf", kid+".key")
	if err := f.command(ctx, region, "key", "add", "--tenant", tenant, "--kid", kid, "--active", "--out", file); err != nil {
		return nil, err
	}
	return readSecret(file)
}

// RotateKey replaces a key, which stays good for grace, and returns the new one.
func (f *Fleet) RotateKey(ctx context.Context, region, kid string, grace time.Duration) (string, keyring.Secret, error) {
	file := f.path("conf", kid+"-next.key")
	out, err := f.Command(ctx, region, "key", "rotate", kid, "--grace", grace.String(), "--out", file)
	words := strings.Fields(out)
	if err != nil || len(words) < 2 {
		return "", nil, fmt.Errorf("weft key rotate %s: %w: %s", kid, err, strings.TrimSpace(out))
	}
	secret, err := readSecret(file)
	return words[1], secret, err
}

// RevokeKey ends a key.
func (f *Fleet) RevokeKey(ctx context.Context, region, kid string) error {
	return f.command(ctx, region, "key", "revoke", kid, "--yes")
}

// IssueCertificate has the control home, the first region, certify a client of a tenant.
func (f *Fleet) IssueCertificate(ctx context.Context, tenant, name string) (*tls.Config, string, error) {
	dir := f.path("conf", name)
	if err := f.command(ctx, f.Regions[0].Name, "tenant", "cert", "issue", tenant, "--out", dir); err != nil {
		return nil, "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "client.pem")) //nolint:gosec // the fleet's own
	if err != nil {
		return nil, "", err
	}
	leaf, err := pki.ParseCertificate(text)
	if err != nil {
		return nil, "", err
	}
	conf, err := pki.ClientTLS(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem"), f.CA())
	return conf, pki.SerialText(leaf.SerialNumber), err
}

// RevokeCertificate ends a client's certificate.
func (f *Fleet) RevokeCertificate(ctx context.Context, region, tenant, serial string) error {
	return f.command(ctx, region, "tenant", "cert", "revoke", tenant, serial, "--yes")
}

// ShortCertificate is a client's certificate by the mesh's authority that lives for less than the mesh would issue, and
// when it ends.
func (f *Fleet) ShortCertificate(tenant, name string, ttl time.Duration) (*tls.Config, time.Time, error) {
	ca, err := pki.LoadAuthority(f.CA(), filepath.Join(f.Data(), "operator", "ca-key.pem"))
	if err != nil {
		return nil, time.Time{}, err
	}
	who := pki.Principal{Role: pki.RoleTenant, Tenant: tenant, Producer: "default"}
	cert, key, err := ca.Issue(pki.Spec{CommonName: tenant, URIs: []string{who.URI()}, Client: true, TTL: ttl})
	if err != nil {
		return nil, time.Time{}, err
	}
	leaf, err := pki.ParseCertificate(cert)
	if err != nil {
		return nil, time.Time{}, err
	}
	certFile, keyFile := f.path("conf", name+".pem"), f.path("conf", name+"-key.pem")
	for file, text := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, time.Time{}, err
		}
	}
	conf, err := pki.ClientTLS(certFile, keyFile, f.CA())
	return conf, leaf.NotAfter, err
}
