package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Groups of verbs in the help text.
const (
	groupRun   = "run"
	groupUse   = "use"
	groupAdmin = "admin"
)

const rootLong = `weft is an event mesh on NATS JetStream. Producers send signed events over HTTPS to the relay nearest to them; the
relay verifies them and stores them in its region; regions replicate to each other; consumers read durable
subscriptions in whichever region they are.

Settings come from a flag, else the environment (WEFT_…), else the --config file, else a default.
Output is for people unless -o says json or yaml; logs go to standard error.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a check found problems.`

const rootExample = `  weft up                                        a whole mesh on this machine: two regions, two tenants
  weft send events.ndjson --now --region eu      sign events and send them into one region
  weft tail --region us                          watch them arrive in the other
  weft tenant add initech                        add a tenant while the mesh runs
  weft config print hub --config hub.yaml        what is in force, and where it came from`

// newRootCommand is the composition root of the command line: every verb is in this list.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "weft",
		Short:         "An event mesh on NATS JetStream with relays at the edge",
		Long:          rootLong,
		Example:       rootExample,
		SilenceErrors: true, // execute prints them, in one line
		SilenceUsage:  true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			if off, err := cmd.Flags().GetBool("no-color"); err == nil && off {
				_ = os.Setenv("NO_COLOR", "1") // one switch for all that colours
			}
		},
	}
	root.PersistentFlags().Bool("no-color", false, "never colour output (NO_COLOR does the same)")
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run a mesh:"},
		&cobra.Group{ID: groupUse, Title: "Send and read events:"},
		&cobra.Group{ID: groupAdmin, Title: "Look after it:"})
	addVerbs(root, groupRun, newUpCommand(), newInitCommand(), newHubCommand(), newRelayCommand())
	addVerbs(root, groupUse, newSendCommand(), newTailCommand(), newRejectCommand(), newDLQCommand(), newConsumerCommand(), newBenchCommand())
	addVerbs(root, groupAdmin, newTenantCommand(), newKeyCommand(), newSchemaCommand(), newFlagCommand(), newKMSCommand(), newStreamCommand(), newPlanCommand(), newConfigCommand())
	addVerbs(root, "", newVersionCommand())
	return root
}

func addVerbs(root *cobra.Command, group string, verbs ...*cobra.Command) {
	for _, v := range verbs {
		v.GroupID = group
		root.AddCommand(v)
	}
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(args...)
	markUsageErrors(root)
	refuseUnknownTopics(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if isUsage(err) {
		err = errorWithHint(&usageError{err}, fmt.Sprintf("see `%s --help`", cmd.CommandPath()))
	}
	fmt.Fprintln(root.ErrOrStderr(), errorLine(cmd.CommandPath(), err))
	return exitCode(err)
}

// markUsageErrors makes wrong flags and arguments of cmd and everything below it usage errors, and gives a
// command that only groups others an answer for a verb that does not exist.
func markUsageErrors(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	if cmd.HasSubCommands() && !cmd.Runnable() {
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, runGroup
	}
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markUsageErrors(sub)
	}
}

// refuseUnknownTopics makes `weft help` answer for a topic that does not exist as weft does for such a verb; cobra's own
// ends with code 0.
func refuseUnknownTopics(root *cobra.Command) {
	help, _, err := root.Find([]string{"help"})
	if err != nil || help == root {
		panic("weft: cobra has no help command")
	}
	show := help.Run
	help.Run, help.RunE = nil, func(cmd *cobra.Command, args []string) error {
		topic, rest, err := root.Find(args)
		if err != nil {
			return &usageError{err}
		}
		if len(rest) > 0 {
			return unknownCommand(topic, rest[0])
		}
		show(cmd, args)
		return nil
	}
}

func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

// unknownCommand is the error of a verb that cmd does not have.
func unknownCommand(cmd *cobra.Command, name string) error {
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usageErrorf("unknown command %q, did you mean %q?", name, near[0])
	}
	return usageErrorf("unknown command %q", name)
}

// isUsage also knows the errors of flag groups and required flags, which cobra makes after all hooks.
func isUsage(err error) bool {
	text := err.Error()
	return exitCode(err) == exitUsage ||
		strings.HasPrefix(text, "required flag(s) ") ||
		strings.HasPrefix(text, "if any flags in the group ") ||
		strings.HasPrefix(text, "at least one of the flags in the group ")
}
