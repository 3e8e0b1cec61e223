// Command rig is weft's fault rig: it runs meshes of real processes, lets faults strike while producers send, and
// proves from what every region holds afterwards that nothing acknowledged was lost, doubled or invented.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFell  = 1 // a promise was broken
	exitUsage = 2
)

// errFell is the end of a soak in which something fell; the verdict has said what.
var errFell = errors.New("a promise was broken")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errFell):
		os.Exit(exitFell)
	default:
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(exitUsage)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rig",
		Short: "Break a mesh on purpose and prove that it kept its promises",
		Long: `rig starts meshes of real processes on loopback addresses, sends events through their relays while it kills, stops,
cuts off and damages them by a seeded schedule, heals everything, and compares what was acknowledged with what every
region holds: nothing lost, nothing doubled, nothing invented, nothing out of order, no effect twice.

The same seed gives the same schedule. The exact moment at which a process is hit differs from run to run, so a
finding may need several runs of its seed to come back.`,
		Example: `  rig soak --minutes 5                 random seeds for five minutes; exit 0 only if nothing fell
  rig soak --seed 17 --schedules 1     one schedule again, by its seed
  rig plan --seed 17                   what it would do
  rig soak --minutes 1 --plant lose    damage the result: the checker must notice`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(newSoakCommand(), newPlanCommand(), newLedgerCommand())
	return root
}
