package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts/identity"
)

func newInitCommand() *cobra.Command {
	var data string
	var regions, hosts []string
	var servers int
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the keys and certificates of a mesh",
		Long: `init makes what hubs and relays need before they can start: the operator's keys, a certificate authority, and for
each region a folder DIR/regions/NAME that can be copied to that region's machines. It never overwrites a secret, and
run again with more regions it adds them. DIR/operator is the mesh's root of trust: keep it where the control home
region's hub alone can read it.`,
		Example: "  weft init --data ./weft-local --regions eu,us\n  weft init --data ./mesh --regions eu,us --hosts eu.example.com,us.example.com",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m := identity.Mesh{Name: "weft", Home: regions[0]}
			for _, r := range regions {
				m.Regions = append(m.Regions, identity.Region{Name: r, Servers: servers, Weight: 1, Hosts: hosts})
			}
			if err := identity.Create(data, m); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "keys and certificates of regions %v are in %s; the control home is %s\n", regions, data, m.Home)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", defaultData(), "directory to write to (env WEFT_DATA)")
	f.StringSliceVar(&regions, "regions", []string{"eu", "us"}, "regions; the first is the control home")
	f.StringSliceVar(&hosts, "hosts", nil, "names and addresses in the servers' certificates (default: this machine's loopback)")
	f.IntVar(&servers, "servers", 1, "servers in each region: 1 or 3")
	return cmd
}
