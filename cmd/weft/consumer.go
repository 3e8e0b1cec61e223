package main

import (
	"github.com/spf13/cobra"
)

const consumerLong = `A durable of the tenant's stream remembers how far its consumer has come. The durables of a consumer group (package
consumers/group) have one owner each among the members of the group, in the one region in which it is active.

How groups work, and what to do when: deploy/docs/consumer-groups.md.`

func newConsumerCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "consumer", Short: "Run and look at consumers, and move groups between regions", Long: consumerLong}
	cmd.AddCommand(newConsumerRun(), newConsumerStatus(), newConsumerMembers(), newConsumerPosition(), newConsumerSwitch())
	return cmd
}
