package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/hub"
)

func newFlagCommand() *cobra.Command {
	var a adminFlags
	cmd := &cobra.Command{
		Use:   "flag",
		Short: "Turn features of a tenant on, off, or on for a share of keys",
		Long: `A flag is on for a share of a tenant's keys, such as user ids: the same ones in every region, and whoever is in stays in
while the percentage grows. Any region takes these commands; all relays and hubs know the result within two seconds,
those that are cut off when they are back. A flag that was never set is off. See deploy/docs/flags.md.`,
	}
	a.register(cmd)
	cmd.AddCommand(newFlagSet(&a), newFlagList(&a))
	return cmd
}

func flagsPath(tenant string) string { return "/v1/tenants/" + url.PathEscape(tenant) + "/flags" }

func newFlagSet(a *adminFlags) *cobra.Command {
	var spec hub.FlagSpec
	cmd := &cobra.Command{
		Use:     "set TENANT NAME on|off|PERCENT",
		Short:   "Set a flag for all keys, none, or a share",
		Example: "  weft flag set acme new-ledger 5 --why 'first 5 %'\n  weft flag set acme new-ledger off",
		Args:    cobra.ExactArgs(3),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if spec.Percent, err = parsePercent(args[2]); err != nil {
				return err
			}
			var f flag.Flag
			if err := a.do(cmd.Context(), "PUT", flagsPath(args[0])+"/"+url.PathEscape(args[1]), spec, &f); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "flag %s of %s is %s\n", f.Name, f.Tenant, percentWord(f.Percent))
			return nil
		},
	}
	cmd.Flags().StringVar(&spec.Why, "why", "", "a word for those who look later")
	return cmd
}

func parsePercent(s string) (int, error) {
	switch s {
	case "on":
		return 100, nil
	case "off":
		return 0, nil
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
	if err != nil || n < 0 || n > 100 {
		return 0, usageErrorf("%q is none of on, off and a percentage from 0 to 100", s)
	}
	return n, nil
}

func percentWord(n int) string {
	switch n {
	case 0:
		return "off"
	case 100:
		return "on"
	}
	return fmt.Sprintf("on for %d%%", n)
}

func newFlagList(a *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls TENANT",
		Short: "List a tenant's flags, who set them and why",
		Args:  cobra.ExactArgs(1),
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var list []flag.Flag
		if err := a.do(cmd.Context(), "GET", flagsPath(args[0]), nil, &list); err != nil {
			return err
		}
		if format.value != formatTable {
			return printValue(cmd.OutOrStdout(), format.value, list)
		}
		tw := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "NAME\tSTATE\tSINCE\tBY\tWHY")
		for _, f := range list {
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", f.Name, percentWord(f.Percent), f.At.UTC().Format(time.RFC3339), f.By, f.Why)
		}
		return tw.Flush()
	}
	return cmd
}
