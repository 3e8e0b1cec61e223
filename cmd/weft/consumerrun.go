package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
)

const consumerRunLong = `run writes a tenant's events to where somebody else works with them. It is a durable subscription: every event is
acknowledged after the sink has it, so a process that is stopped or killed goes on where it was, and what was not
acknowledged comes again. What each sink makes of an event that comes twice, and what happens when its target is down,
stands in deploy/docs/sinks.md.

%s
Every setting is in the file; those that all sinks share are flags too, and all are in the environment (WEFT_…). Passwords
and secrets are in files that the settings name. Begin with an example and adapt it:

  weft consumer run --example webhook > crm.yaml`

func newConsumerRun() *cobra.Command {
	var file, example string
	names := strings.Join(config.SinkNames(), ", ")
	var about strings.Builder
	for _, k := range config.SinkKinds() {
		fmt.Fprintf(&about, "  %-10s %s\n", k.Name, k.About)
	}
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Write a tenant's events to somewhere else: " + names,
		Long:  fmt.Sprintf(consumerRunLong, &about),
		Example: `  weft consumer run --example webhook > crm.yaml
  weft config validate consumer --config crm.yaml
  weft consumer run --config crm.yaml
  weft consumer run --config crm.yaml --data weft-data --tenant acme --region us`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("example") {
				return printExample(cmd, example)
			}
			c, err := config.LoadConsumer(file, cmd.Flags())
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(c.Log.Level, c.Log.Format, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return app.RunConsumer(cmd.Context(), c, log)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "YAML `file`; --example shows what it may say")
	cmd.Flags().StringVar(&example, "example", "", "print a configuration with comments for one `kind` of sink: "+names)
	config.ConsumerFlags(cmd.Flags())
	complete := cobra.FixedCompletions(config.SinkNames(), cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc("sink", complete)
	_ = cmd.RegisterFlagCompletionFunc("example", complete)
	return cmd
}

func printExample(cmd *cobra.Command, kind string) error {
	text, ok := config.SinkExample(kind)
	if !ok {
		return usageErrorf("there is no sink %q: %s", kind, strings.Join(config.SinkNames(), ", "))
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s", text)
	return err
}
