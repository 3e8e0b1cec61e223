package main

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
)

// meshFlags name a tenant and a region of the mesh that DIR/mesh.json describes.
type meshFlags struct{ data, tenant, region string }

func (f *meshFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", defaultData(), "data directory of the mesh, with its mesh.json (env WEFT_DATA)")
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "tenant (default: the mesh's first)")
	cmd.Flags().StringVar(&f.region, "region", "", "region (default: the mesh's first)")
}

// place is one tenant in one region, with paths resolved.
type place struct {
	ca     string
	region meshfile.Region
	tenant meshfile.Tenant
}

// find reads mesh.json.
func (f *meshFlags) find() (*place, error) {
	m, err := meshfile.Read(f.data)
	if err != nil {
		return nil, err
	}
	p := &place{ca: m.Path(m.CA)}
	if p.region, err = m.Region(f.region); err != nil {
		return nil, err
	}
	if p.tenant, err = m.Tenant(f.tenant); err != nil {
		return nil, err
	}
	return p, nil
}

// given is a flag that can stand in for something of mesh.json.
type given struct {
	name  string
	value *string
}

// requireAll refuses --url without the flags that then have to say everything.
func requireAll(flags []given) error {
	var missing []string
	for _, g := range flags {
		if *g.value == "" {
			missing = append(missing, "--"+g.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return usageErrorf("with --url, mesh.json is not read: %s missing", strings.Join(missing, ", "))
}

// orElse is the flag's value, or what mesh.json says.
func orElse(flag *string, mesh string) {
	if *flag == "" {
		*flag = mesh
	}
}

// pathCause is a file error without its path, which the caller says.
func pathCause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
