// Package identity is the files of a mesh: its authority, operator, accounts, master key and the
// certificates of its processes. Create makes them, hubs and relays load theirs.
//
//	DIR/pki/ca.pem               the authority's certificate
//	DIR/operator/                what makes the others: the authority's key, the operator's and the accounts'
//	                             keys, the operator's client certificate. Needed to add regions and to use the
//	                             admin API, otherwise best kept elsewhere.
//	DIR/regions/<r>/hub/         a hub's keys; for the control home also hub/home/
//	DIR/regions/<r>/relay/       a relay's keys
//	DIR/regions/<r>/store/       the region's data
//	DIR/tenants/                 what tenants are handed
//
// A region's folder stands alone: copied to the same place below another DIR it serves there. Create may
// run in several processes at once and be killed at any point; a later run completes its work. What the
// Load functions return is not changed afterwards and safe for concurrent use.
package identity

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Mesh describes the mesh that the files are for.
type Mesh struct {
	Name    string   `json:"name"` // empty means "weft"
	Home    string   `json:"home"` // region where tenants are created and removed; empty means the first
	Regions []Region `json:"regions"`
}

// Region describes one region.
type Region struct {
	Name    string   `json:"name"`
	Servers int      `json:"servers"`         // of its cluster: 1, 3 or 5; zero means 1
	Hosts   []string `json:"hosts,omitempty"` // names and addresses that its certificates are for; empty means this machine's loopback
	Weight  float64  `json:"weight"`          // share of the keys that have their home here; zero means 1
}

// Region returns the named region.
func (m Mesh) Region(name string) (Region, bool) {
	i := slices.IndexFunc(m.Regions, func(r Region) bool { return r.Name == name })
	if i < 0 {
		return Region{}, false
	}
	return m.Regions[i], true
}

// loopback is what a region on this machine alone is reached by.
func loopback() []string { return []string{"127.0.0.1", "localhost", "::1"} }

// complete fills in what may be left out and checks the rest.
func (m Mesh) complete() (Mesh, error) {
	if m.Name == "" {
		m.Name = "weft"
	}
	m.Regions = slices.Clone(m.Regions)
	if m.Home == "" && len(m.Regions) > 0 {
		m.Home = m.Regions[0].Name
	}
	invalid := func(format string, args ...any) (Mesh, error) {
		return m, fault.New("identity.create", fault.Invalid, "invalid_mesh", format, args...)
	}
	if !accounts.ValidName(m.Name) {
		return invalid("mesh name %q: want [a-z][a-z0-9-]{0,31}", m.Name)
	}
	for i := range m.Regions {
		r := &m.Regions[i]
		if r.Servers == 0 {
			r.Servers = 1
		}
		if r.Weight == 0 {
			r.Weight = 1
		}
		if len(r.Hosts) == 0 {
			r.Hosts = loopback()
		}
		switch {
		case !subject.ValidRegion(r.Name):
			return invalid("region name %q: want [a-z][a-z0-9-]{0,30}", r.Name)
		case slices.ContainsFunc(m.Regions[:i], func(o Region) bool { return o.Name == r.Name }):
			return invalid("region %q is named twice", r.Name)
		case r.Servers != 1 && r.Servers != 3 && r.Servers != 5:
			return invalid("region %q: %d servers; a cluster has 1, 3 or 5", r.Name, r.Servers)
		case !(r.Weight > 0 && r.Weight <= 1000):
			return invalid("region %q: weight %v; want more than 0 and at most 1000", r.Name, r.Weight)
		}
		for _, h := range r.Hosts {
			if net.ParseIP(h) == nil && !validHost(h) {
				return invalid("region %q: host %q is neither an IP address nor a host name", r.Name, h)
			}
		}
	}
	if _, ok := m.Region(m.Home); !ok {
		return invalid("the control home %q is not one of the mesh's regions", m.Home)
	}
	return m, nil
}

// validHost checks a DNS name of RFC 1123, in any case.
func validHost(h string) bool {
	if len(h) > 253 {
		return false
	}
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-'
		}) {
			return false
		}
	}
	return true
}

// extends checks that m is the mesh that was made before, with regions added or changed but none gone.
func (m Mesh) extends(old Mesh) error {
	const op = "identity.create"
	if m.Name != old.Name {
		return fault.New(op, fault.Conflict, "other_mesh", "the directory holds mesh %q, not %q", old.Name, m.Name)
	}
	if m.Home != old.Home {
		return fault.New(op, fault.Conflict, "other_home", "the mesh's control home is %q; it cannot become %q", old.Home, m.Home)
	}
	for _, r := range old.Regions {
		if _, ok := m.Region(r.Name); !ok {
			return fault.New(op, fault.Conflict, "region_missing",
				"the directory holds region %q as well: name all its regions, or choose another directory", r.Name)
		}
	}
	return nil
}

// meshFile is the name of the mesh's description in every folder that needs it.
const meshFile = "mesh.json"

// readMesh reads a folder's description; found is false if it has none.
func readMesh(folder string) (m Mesh, found bool, err error) {
	file := filepath.Join(folder, meshFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fault.Wrap("identity.read", fault.Denied, err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, false, fault.New("identity.read", fault.Invalid, "mesh_malformed", "%s is damaged: %v", file, err)
	}
	if m, err = m.complete(); err != nil {
		return m, false, fault.New("identity.read", fault.Invalid, "mesh_malformed", "%s is damaged: %v", file, err)
	}
	return m, true, nil
}

func writeMesh(folder string, m Mesh) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fault.Wrap("identity.write", fault.Internal, err)
	}
	return secretfile.Replace(filepath.Join(folder, meshFile), append(text, '\n'))
}
