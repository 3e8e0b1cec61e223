package fleet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
)

// Tenant is one tenant of the mesh.
type Tenant struct {
	Name    string
	Disk    string // as `weft tenant add --disk` takes it; "" for the default
	Regions []string
	Routes  accounts.Routes
}

// AddTenants makes the tenants of the spec with the command line, as an operator does.
func (f *Fleet) AddTenants(ctx context.Context) error {
	for _, t := range f.Tenants {
		args := []string{"tenant", "add", t.Name}
		if t.Disk != "" {
			args = append(args, "--disk", t.Disk)
		}
		if len(t.Regions) > 0 {
			args = append(args, "--in", strings.Join(t.Regions, ","))
		}
		if len(t.Routes.Topics) > 0 {
			raw, err := json.Marshal(t.Routes)
			if err != nil {
				return err
			}
			file := f.path("conf", t.Name+"-routes.json")
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				return err
			}
			args = append(args, "--routes", file)
		}
		if out, err := f.Command(ctx, f.Regions[0].Name, args...); err != nil {
			return fmt.Errorf("tenant %s: %w: %s", t.Name, err, out)
		}
	}
	return nil
}

// Command runs a verb of weft against the admin API of one region and returns what it printed.
func (f *Fleet) Command(ctx context.Context, region string, args ...string) (string, error) {
	args = append(args, "--data", f.Data(), "--admin", strings.Join(f.AdminURLs(region), ","))
	cmd := exec.CommandContext(ctx, f.Weft, args...) //nolint:gosec // our own binary
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Credentials are what a producer of a tenant signs and identifies itself with.
type Credentials struct {
	Kid    string
	Secret keyring.Secret
	TLS    *tls.Config
}

// Producer reads a tenant's credentials from the files that it was handed.
func (f *Fleet) Producer(tenant string) (*Credentials, error) {
	dir := filepath.Join(f.Data(), "tenants", tenant)
	c := &Credentials{Kid: tenant + "-1"}
	var err error
	if c.Secret, err = readSecret(filepath.Join(dir, c.Kid+".key")); err != nil {
		return nil, err
	}
	c.TLS, err = pki.ClientTLS(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem"), f.CA())
	return c, err
}

// CA is the file of the mesh's authority.
func (f *Fleet) CA() string { return filepath.Join(f.Data(), "pki", "ca.pem") }

// Creds is the file of a tenant owner's NATS credentials.
func (f *Fleet) Creds(tenant string) string {
	return filepath.Join(f.Data(), "tenants", tenant, "consumer.creds")
}

// Owner connects to a region as a tenant's owner, which may read everything of it.
func (f *Fleet) Owner(tenant, region string) (*nats.Conn, error) {
	return nats.Connect(f.NatsURLs(region), nats.RootCAs(f.CA()), nats.UserCredentials(f.Creds(tenant)), nats.MaxReconnects(-1))
}
