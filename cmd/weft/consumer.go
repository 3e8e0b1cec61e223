package main

import (
	"github.com/spf13/cobra"
)

const consumerLong = `A durable of the tenant's stream remembers how far its consumer has come.`

func newConsumerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "consumer", Short: "Run and look at consumers, and move groups between regions", Long: consumerLong}
	cmd.AddCommand(newConsumerRun())
	return cmd
}
