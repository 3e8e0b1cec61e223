// Package meshfile reads and writes mesh.json: the one file by which the command line finds a mesh that
// `weft up` runs on this machine, its regions, and the files of its demo tenants.
//
// `weft up` writes it when the mesh is ready and removes it at shutdown; `weft tenant` adds and removes
// tenants; `weft send`, `weft tail` and every other verb with --data read it. Functions are safe for
// concurrent use, also by several processes: writers take a lock file beside mesh.json, and the file is
// replaced in one rename, so a reader sees the old one or the new one.
package meshfile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
)

// FileName is the file's name within the data directory.
const FileName = "mesh.json"

// Mesh is the content of mesh.json. Paths in it are relative to the data directory.
type Mesh struct {
	CA      string   `json:"ca"`
	Regions []Region `json:"regions"`
	Tenants []Tenant `json:"tenants"`

	dir string // where it was read from; paths resolve against it
}

// Region is where one region of the mesh listens.
type Region struct {
	Name   string `json:"name"`
	Origin string `json:"origin"` // the live origin, such as "eu_1"
	Relay  string `json:"relay"`  // https://host:port
	NATS   string `json:"nats"`   // tls://host:port
	Admin  string `json:"admin"`  // https://host:port
	// Admins are the admin APIs of all servers of the region; absent in files of older versions.
	Admins  []string `json:"admins,omitempty"`
	Metrics string   `json:"metrics"` // http://host:port
}

// Tenant is a tenant of whom this machine holds producer and consumer credentials.
type Tenant struct {
	Name          string `json:"name"`
	Kid           string `json:"kid"`
	SecretFile    string `json:"secret_file"` // the secret's bytes in base64, one line
	ClientCert    string `json:"client_cert"`
	ClientKey     string `json:"client_key"`
	ConsumerCreds string `json:"consumer_creds"`
}

// Error is a failure with the one thing the user can do about it.
type Error struct {
	Err  *fault.Error
	Next string // what to do, a phrase in the imperative
}

// Error renders the failure without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the failure.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what the user can do about it.
func (e *Error) Hint() string { return e.Next }

// Dir is the data directory that the mesh was read from.
func (m *Mesh) Dir() string { return m.dir }

// Path resolves a path of mesh.json against the data directory; "" stays "".
func (m *Mesh) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(m.dir, filepath.FromSlash(p))
}

// Region finds a region by name; "" is the first one.
func (m *Mesh) Region(name string) (Region, error) {
	if name == "" && len(m.Regions) > 0 {
		return m.Regions[0], nil
	}
	names := make([]string, len(m.Regions))
	for i, r := range m.Regions {
		if names[i] = r.Name; r.Name == name {
			return r, nil
		}
	}
	return Region{}, m.unknown("region", name, names)
}

// Tenant finds a tenant by name, with its paths resolved; "" is the first one.
func (m *Mesh) Tenant(name string) (Tenant, error) {
	names := make([]string, len(m.Tenants))
	for i, t := range m.Tenants {
		names[i] = t.Name
		if t.Name == name || name == "" {
			return m.resolved(t), nil
		}
	}
	return Tenant{}, m.unknown("tenant", name, names)
}

func (m *Mesh) resolved(t Tenant) Tenant {
	for _, p := range []*string{&t.SecretFile, &t.ClientCert, &t.ClientKey, &t.ConsumerCreds} {
		*p = m.Path(*p)
	}
	return t
}

func (m *Mesh) unknown(what, name string, have []string) error {
	if len(have) == 0 {
		return &Error{
			Err:  fault.New("meshfile."+what, fault.NotFound, "no_"+what, "the mesh at %s has no %s", m.dir, what),
			Next: fmt.Sprintf("add one with `weft %s add NAME --data %s`", what, m.dir),
		}
	}
	have = slices.Clone(have)
	slices.Sort(have)
	return &Error{
		Err:  fault.New("meshfile."+what, fault.NotFound, "unknown_"+what, "no %s %q in the mesh at %s", what, name, m.dir),
		Next: "it has " + strings.Join(have, ", "),
	}
}

// problem is the first thing that keeps the mesh from being used, or "".
func (m *Mesh) problem() string {
	if m.CA == "" {
		return "\"ca\" is missing"
	}
	if len(m.Regions) == 0 {
		return "\"regions\" is missing or empty"
	}
	seen := map[string]bool{}
	for i, r := range m.Regions {
		switch {
		case r.Name == "":
			return fmt.Sprintf("region %d has no \"name\"", i+1)
		case seen["region "+r.Name]:
			return fmt.Sprintf("region %q is listed twice", r.Name)
		case r.Relay == "" || r.NATS == "":
			return fmt.Sprintf("region %q has no \"relay\" or no \"nats\"", r.Name)
		}
		seen["region "+r.Name] = true
	}
	for i, t := range m.Tenants {
		switch {
		case t.Name == "":
			return fmt.Sprintf("tenant %d has no \"name\"", i+1)
		case seen["tenant "+t.Name]:
			return fmt.Sprintf("tenant %q is listed twice", t.Name)
		}
		seen["tenant "+t.Name] = true
	}
	return ""
}
