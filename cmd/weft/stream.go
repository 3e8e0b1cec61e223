package main

import (
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/hub"
)

func newStreamCommand() *cobra.Command {
	var a adminFlags
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Compare the streams of a region with what they should be",
		Long: `Hubs keep streams as they should be by themselves; plan shows what differs now, and apply makes it so at once. Both
speak of the region whose admin API is asked: the first of mesh.json, or --admin.`,
	}
	a.register(cmd)
	cmd.AddCommand(
		newStreamVerb(&a, "plan", "Show the difference between wanted and present streams", "GET"),
		newStreamVerb(&a, "apply", "Make the streams as they should be", "POST"))
	return cmd
}

func newStreamVerb(a *adminFlags, verb, short, method string) *cobra.Command {
	var tenant, format string
	cmd := &cobra.Command{
		Use:   verb,
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var plans []hub.StreamPlan
			if err := a.do(cmd.Context(), method, "/v1/streams/"+verb+"?tenant="+url.QueryEscape(tenant), nil, &plans); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), plans)
			}
			printPlans(cmd.OutOrStdout(), plans)
			return nil
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "one tenant (default: all, and the mesh's own account, CONTROL)")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return cmd
}

func printPlans(w io.Writer, plans []hub.StreamPlan) {
	for _, p := range plans {
		if len(p.Changes) == 0 {
			fmt.Fprintf(w, "%s: as it should be\n", p.Account)
		}
		for _, c := range p.Changes {
			fmt.Fprintf(w, "%s: %s\n", p.Account, c.String())
		}
	}
}
