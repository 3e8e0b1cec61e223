package main

import (
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
)

func newHubCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "hub --config FILE",
		Short: "Run one server of a region, or look after regions that lost data",
		Long: `hub runs one server of a region: broker, links to the other regions, control state, admin API. A region has one
server, or three with a hub each. Its keys come from "weft init".

A hub lets clients in once it knows that nothing is missing here that other regions were given. One that stays
closed says why in "weft hub status"; "weft hub rejoin" brings it back.`,
		Example: "  weft hub --config deploy/local/hub-eu.yaml\n  weft hub status\n  weft hub rejoin --region us",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.LoadHub(file, cmd.Flags())
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(c.Log.Level, c.Log.Format, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return app.RunHub(cmd.Context(), c, log)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML `file`; weft config print hub shows what it may say")
	config.HubFlags(cmd.Flags())
	cmd.AddCommand(newHubStatus(), newHubRejoin(), newHubOpen())
	return cmd
}
