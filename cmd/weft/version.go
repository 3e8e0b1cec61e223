package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
)

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which weft this is",
		Example: "  weft version\n  weft version -o json",
		Args:    cobra.NoArgs,
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		b := telemetry.BuildInfo()
		if format.value != formatTable {
			return printValue(cmd.OutOrStdout(), format.value, b)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine(b))
		return err
	}
	return cmd
}

func versionLine(b telemetry.Build) string {
	line := "weft " + b.Version
	if b.Revision != "" {
		line += " (" + b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			line += ", modified"
		}
		line += ")"
	}
	return line + " " + b.Go + " " + b.Platform
}
