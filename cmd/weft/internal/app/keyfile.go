package app

import (
	"path/filepath"
	"slices"

	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// KeyFile is where a key's secret is kept below the data directory.
func KeyFile(tenant, kid string) string { return entry(tenant, kid).SecretFile }

// SwitchKey lets mesh.json and the tenant's files name another key, if they name the old one.
func SwitchKey(data, tenant, from, to string) (bool, error) {
	m, err := meshfile.Read(data)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(m.Tenants, func(t meshfile.Tenant) bool { return t.Name == tenant && t.Kid == from }) {
		return false, nil
	}
	if err := secretfile.Replace(filepath.Join(data, "tenants", tenant, "kid"), []byte(to+"\n")); err != nil {
		return false, fault.Wrap("key.switch", fault.Unavailable, err)
	}
	return true, meshfile.UpsertTenant(data, entry(tenant, to))
}
