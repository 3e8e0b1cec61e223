package main

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/weft-mesh/weft/accounts"
)

func newSchemaRules(a *adminFlags) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "rules TENANT [FILE|-]",
		Short: "Show what a tenant asks of all its events, or replace it",
		Long: `rules prints a tenant's rules; with FILE, YAML, it replaces them. They say which fields no event may have and which ones
each must have, how versions of schemas are compared, and what becomes of events whose type has no schema:

  compatibility: {enforce: true, mode: backward_transitive}
  blocked_fields: [payload.ssn, payload.**.card_number]
  required_fields: [payload.amount]
  unknown_types: accept                # or refuse, dead-letter
  types: {bet.placed: {required_fields: [payload.legs.odds]}}
  canary: {share: 10, sample: 1000, max_errors: 1, hold: 15m, watch: 1h, promote: auto}   # or manual

Paths go from the event's root and through arrays; in blocked fields * is any one member and ** any depth.`,
		Example: "  weft schema rules acme -o yaml\n  weft schema rules acme rules.yaml --dry-run",
		Args:    cobra.RangeArgs(1, 2),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "judge FILE, and change nothing")
	format := outputFlag(cmd, formatYAML, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		method, body := "GET", any(nil)
		path := "/v1/tenants/" + url.PathEscape(args[0]) + "/rules"
		if len(args) == 2 {
			raw, err := readInput(cmd.InOrStdin(), args[1])
			if err != nil {
				return err
			}
			rules := map[string]any{}
			if err := yaml.Unmarshal(raw, &rules); err != nil {
				return fmt.Errorf("%s is no YAML: %w", args[1], err)
			}
			if method, body = "PUT", rules; dryRun {
				path += "?dry_run=true"
			}
		} else if dryRun {
			return usageErrorf("--dry-run goes with a FILE")
		}
		var r accounts.Rules
		if err := a.do(cmd.Context(), method, path, body, &r); err != nil {
			return err
		}
		return printValue(cmd.OutOrStdout(), format.value, r)
	}
	return cmd
}
