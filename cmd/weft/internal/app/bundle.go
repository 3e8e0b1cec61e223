package app

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/fault"
)

// WriteBundle writes a tenant's files below DIR/tenants, readable by their owner alone, and returns how
// mesh.json names them. The certificate comes last: a tenant with a certificate has all its files.
func WriteBundle(data string, b *hub.Bundle) (meshfile.Tenant, error) {
	t := entry(b.Tenant, b.Kid)
	if err := os.MkdirAll(filepath.Join(data, "tenants", b.Tenant), 0o700); err != nil {
		return t, fault.Wrap("tenant.files", fault.Unavailable, err)
	}
	for _, f := range []struct{ path, content string }{
		{t.SecretFile, b.Secret + "\n"},
		{t.ConsumerCreds, b.ConsumerCreds},
		{t.ClientKey, b.ClientKey},
		{filepath.Join("tenants", b.Tenant, "kid"), b.Kid + "\n"},
		{t.ClientCert, b.ClientCert},
	} {
		if err := secretfile.Replace(filepath.Join(data, f.path), []byte(f.content)); err != nil {
			return t, fault.Wrap("tenant.files", fault.Unavailable, err)
		}
	}
	return t, nil
}

func entry(tenant, kid string) meshfile.Tenant {
	dir := filepath.Join("tenants", tenant)
	return meshfile.Tenant{
		Name: tenant, Kid: kid, SecretFile: filepath.Join(dir, kid+".key"), ClientCert: filepath.Join(dir, "client.pem"),
		ClientKey: filepath.Join(dir, "client-key.pem"), ConsumerCreds: filepath.Join(dir, "consumer.creds"),
	}
}

// bundleFiles says whether a tenant's files are there and its certificate lives a week longer at least.
func bundleFiles(data, tenant string) (meshfile.Tenant, bool) {
	kid, err := os.ReadFile(filepath.Join(data, "tenants", tenant, "kid"))
	if err != nil || len(kid) < 2 {
		return meshfile.Tenant{}, false
	}
	t := entry(tenant, string(kid[:len(kid)-1]))
	for _, f := range []string{t.SecretFile, t.ConsumerCreds, t.ClientKey} {
		if _, err := os.Stat(filepath.Join(data, f)); err != nil {
			return t, false
		}
	}
	raw, err := os.ReadFile(filepath.Join(data, t.ClientCert))
	if err != nil {
		return t, false
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return t, false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return t, err == nil && time.Until(cert.NotAfter) > 7*24*time.Hour
}

// lockData makes sure that one mesh alone runs on a data directory.
func lockData(dir string) (func(), error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.New("up", fault.Unavailable, "data_unwritable", "cannot make the data directory: %v", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, ".up.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New("up", fault.Unavailable, "data_unwritable", "cannot write to the data directory: %v", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fault.New("up", fault.Conflict, "already_running", "another weft up runs on %s: stop it, or choose another --data and --port-base", dir)
	}
	return func() { _ = f.Close() }, nil
}

// RemoveBundle deletes a removed tenant's files.
func RemoveBundle(data, tenant string) error {
	return fault.Wrap("tenant.files", fault.Unavailable, os.RemoveAll(filepath.Join(data, "tenants", tenant)))
}
