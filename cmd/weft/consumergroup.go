package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/streams/subject"
)

const envStore = "WEFT_STORE"

// storeFlags say where a group keeps its marks, its members and its position.
type storeFlags struct{ url, schema string }

func (f *storeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "store", "", "URL of the group's PostgreSQL database (env "+envStore+", where no other process sees its password)")
	cmd.Flags().StringVar(&f.schema, "schema", "", "schema of the group in it (default: weft_GROUP)")
}

// open opens the store of a group that exists.
func (f *storeFlags) open(ctx context.Context, name string) (*postgres.Store, func(), error) {
	url := cmp.Or(f.url, os.Getenv(envStore))
	switch {
	case url == "":
		return nil, nil, usageErrorf("where the group keeps its position: --store URL, or %s", envStore)
	case !grant.ValidID(name):
		return nil, nil, usageErrorf("%q is no group's name", name)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, nil, usageErrorf("--store is not a PostgreSQL URL") // its error may show the password
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	schema := cmp.Or(f.schema, group.DefaultSchema(name))
	call, cancel := context.WithTimeout(ctx, stepWait)
	defer cancel()
	store, err := postgres.Open(call, postgres.Options{DB: pool, Schema: schema, Existing: true})
	if err != nil {
		pool.Close()
		return nil, nil, errorWithHint(err, "check --store and --schema")
	}
	return store, pool.Close, nil
}

// in opens the store and lets do look at it.
func (f *storeFlags) in(cmd *cobra.Command, name string, do func(context.Context, *postgres.Store, *group.View) error) error {
	store, done, err := f.open(cmd.Context(), name)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(cmd.Context(), stepWait)
	defer cancel()
	v, err := store.Look(ctx)
	if err != nil {
		return err
	}
	return do(ctx, store, &v)
}

// memberLine is one member as it is printed.
type memberLine struct {
	Member   string  `json:"member"`
	Region   string  `json:"region"`
	Active   bool    `json:"active"` // its region is the one in which the group is active
	Lives    bool    `json:"lives"`
	Ago      float64 `json:"seen_seconds_ago"`
	Durables int     `json:"durables"`
}

func newConsumerMembers() *cobra.Command {
	var s storeFlags
	cmd := &cobra.Command{
		Use:     "members GROUP",
		Short:   "Show the members of a group, and in which region it is active",
		Example: "  WEFT_STORE=postgres://ledger@db/ledger weft consumer members ledger",
		Args:    cobra.ExactArgs(1),
	}
	s.register(cmd)
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.in(cmd, args[0], func(_ context.Context, _ *postgres.Store, v *group.View) error {
			lines := membersOf(v)
			if format.value == formatTable {
				return printMembers(cmd.OutOrStdout(), lines)
			}
			return printValue(cmd.OutOrStdout(), format.value, lines)
		})
	}
	return cmd
}

func membersOf(v *group.View) []memberLine {
	lines := []memberLine{}
	for _, p := range v.Members {
		l := memberLine{Member: p.Member, Region: p.Region, Active: p.Region == v.Region, Lives: p.Lives, Ago: p.Ago.Seconds()}
		for _, held := range v.Leases {
			if held.Member == p.Member && held.Left > 0 {
				l.Durables++
			}
		}
		lines = append(lines, l)
	}
	return lines
}

func printMembers(w io.Writer, lines []memberLine) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "MEMBER\tREGION\tSTATE\tDURABLES\tSEEN")
	for _, l := range lines {
		state := "gone"
		switch {
		case l.Lives && l.Active:
			state = "active"
		case l.Lives:
			state = "standby"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s ago\n", l.Member, l.Region, state, l.Durables, secondsAgo(l.Ago))
	}
	return tw.Flush()
}

func secondsAgo(s float64) time.Duration {
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// positionLine is one position as it is printed.
type positionLine struct {
	Durable string `json:"durable"`
	Origin  string `json:"origin"`
	Scope   string `json:"scope"`
	Seq     uint64 `json:"seq"` // at the origin; 0 where it is not known
	EventID string `json:"event_id"`
}

func newConsumerPosition() *cobra.Command {
	var s storeFlags
	var forget string
	var yes bool
	cmd := &cobra.Command{
		Use:   "position GROUP",
		Short: "Show how far a group has come in the events of each origin",
		Long: `position shows, for each durable of the group and each origin, the last event up to which all are dealt with, by its sequence at the
origin: it means the same in every region. Scope g are the events that replicate, l those that stay in their region.

With --forget the group forgets how far it has come in the events of one origin, and begins with the first one of them that
its region stores when it is started again. What it has handled before is handled a second time, as far as the idempotency index
does not know it: see its horizon. The group must be stopped. Without --yes nothing is done.`,
		Example: "  weft consumer position ledger -o yaml\n  weft consumer position ledger --forget us_1 --yes",
		Args:    cobra.ExactArgs(1),
	}
	s.register(cmd)
	cmd.Flags().StringVar(&forget, "forget", "", "the origin, such as us_1, whose position is to be forgotten")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.in(cmd, args[0], func(ctx context.Context, store *postgres.Store, v *group.View) error {
			lines, err := positionsOf(ctx, store, forget)
			if err != nil {
				return err
			}
			if forget != "" {
				return forgetPosition(ctx, cmd, store, v, lines, yes)
			}
			if format.value == formatTable {
				return printPositions(cmd.OutOrStdout(), lines)
			}
			return printValue(cmd.OutOrStdout(), format.value, lines)
		})
	}
	return cmd
}

// positionsOf lists the positions, of one origin if one is given.
func positionsOf(ctx context.Context, store *postgres.Store, origin string) ([]positionLine, error) {
	if _, err := subject.ParseOrigin(origin); origin != "" && err != nil {
		return nil, usageErrorf("--forget %q is no origin: the second column of `weft consumer position`", origin)
	}
	all, err := store.Reached(ctx)
	lines := []positionLine{}
	for _, p := range all {
		if origin == "" || p.Origin.String() == origin {
			lines = append(lines, positionLine{p.Durable, p.Origin.String(), string(p.Scope), p.Seq, p.EventID})
		}
	}
	slices.SortFunc(lines, func(a, b positionLine) int {
		return cmp.Or(cmp.Compare(a.Durable, b.Durable), cmp.Compare(a.Origin, b.Origin), cmp.Compare(a.Scope, b.Scope))
	})
	return lines, err
}

func printPositions(w io.Writer, lines []positionLine) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "DURABLE\tORIGIN\tSCOPE\tSEQ\tEVENT")
	for _, l := range lines {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\n", l.Durable, l.Origin, l.Scope, l.Seq, cmp.Or(l.EventID, "-"))
	}
	return tw.Flush()
}

func forgetPosition(ctx context.Context, cmd *cobra.Command, store *postgres.Store, v *group.View, lines []positionLine, yes bool) error {
	if i := slices.IndexFunc(v.Leases, func(l group.Lease) bool { return l.Left > 0 }); i >= 0 {
		return errorWithHint(fmt.Errorf("member %s holds %s", v.Leases[i].Member, v.Leases[i].Durable), "stop the group first: it would write its position again")
	}
	if !yes {
		if err := printPositions(cmd.OutOrStdout(), lines); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "would forget %s. Nothing was done; say --yes to do it\n", counted(len(lines), "position"))
		return nil
	}
	for _, l := range lines {
		if err := store.Forget(ctx, l.Durable, l.Origin); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "forgot %s\n", counted(len(lines), "position"))
	return err
}

func newConsumerSwitch() *cobra.Command {
	var s storeFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "switch GROUP REGION",
		Short: "Let a group go on in another region",
		Long: `switch makes another region the one in which the group is active. Its members where it is active now finish what they handle, record how
far they have come and stand by; those in the other region go on from there. Where the region was lost, its members' leases lapse
first. Without --yes it tells what would happen.`,
		Example: "  weft consumer switch ledger us --yes",
		Args:    cobra.ExactArgs(2),
	}
	s.register(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		to := args[1]
		if !subject.ValidRegion(to) {
			return usageErrorf("%q is no region's name", to)
		}
		return s.in(cmd, args[0], func(ctx context.Context, store *postgres.Store, v *group.View) error {
			out := cmd.OutOrStdout()
			if v.Region == to {
				_, err := fmt.Fprintf(out, "group %s is active in %s\n", args[0], to)
				return err
			}
			ready := 0
			for _, m := range membersOf(v) {
				if m.Lives && m.Region == to {
					ready++
				}
			}
			nobody := ""
			if ready == 0 {
				nobody = "; nothing is handled until one runs there"
			}
			if !yes {
				_, err := fmt.Fprintf(out, "group %s is active in %s; %s in %s would take over%s. Nothing was done; say --yes to do it\n", args[0], v.Region, counted(ready, "member"), to, nobody)
				return err
			}
			if err := store.Switch(ctx, to, v.Turn); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "group %s goes on in %s with %s%s\n", args[0], to, counted(ready, "member"), nobody)
			return err
		})
	}
	return cmd
}
