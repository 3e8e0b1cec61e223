package main

import (
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
)

func newRelayCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "relay --config FILE",
		Short: "Run a relay at the edge of a region",
		Long: `relay takes signed events over HTTP and mTLS, verifies and publishes them into the streams of its region. Its keys
come from "weft init". On SIGTERM it finishes the requests that it has, then leaves.`,
		Example: "  weft relay --config deploy/local/relay-eu.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.LoadRelay(file, cmd.Flags())
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(c.Log.Level, c.Log.Format, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return app.RunRelay(cmd.Context(), c, log)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML `file`; weft config print relay shows what it may say")
	config.RelayFlags(cmd.Flags())
	return cmd
}
