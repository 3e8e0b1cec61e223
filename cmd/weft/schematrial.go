package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/schema"
)

// trialFlags say what a version has to show, where it is other than the tenant's rules say.
type trialFlags struct {
	share       int
	sample      uint64
	maxErrors   float64
	hold, watch string
	byHand      bool
}

func newTrialFlags(cmd *cobra.Command) *trialFlags {
	f := new(trialFlags)
	cmd.Flags().IntVar(&f.share, "share", 0, "percent of keys on whose events a canary is tried (default: the rules', else 10)")
	cmd.Flags().Uint64Var(&f.sample, "sample", 0, "events at least that are checked before anything is said (default: the rules', else 1000)")
	cmd.Flags().Float64Var(&f.maxErrors, "max-errors", 0, "percent of the checked events that may fail (default: the rules', else 1)")
	cmd.Flags().StringVar(&f.hold, "hold", "", "how long a canary stays green before it becomes active (default: the rules', else 15m)")
	cmd.Flags().StringVar(&f.watch, "watch", "", "how long an active version is watched and rolled back when it turns red; 0s: never (default: the rules', else 1h)")
	cmd.Flags().BoolVar(&f.byHand, "by-hand", false, "a canary becomes active when a person says so, and not by itself")
	return f
}

// spec is what was said; nil when nothing was.
func (f *trialFlags) spec(cmd *cobra.Command) (*accounts.TrialSpec, error) {
	var s accounts.TrialSpec
	said := false
	is := func(name string) bool {
		set := cmd.Flags().Changed(name)
		said = said || set
		return set
	}
	if is("share") {
		s.Share = &f.share
	}
	if is("sample") {
		s.Sample = &f.sample
	}
	if is("max-errors") {
		s.MaxErrors = &f.maxErrors
	}
	for name, to := range map[string]struct {
		text string
		into **accounts.Duration
	}{"hold": {f.hold, &s.Hold}, "watch": {f.watch, &s.Watch}} {
		if !is(name) {
			continue
		}
		d, err := accounts.ParseDuration(to.text)
		if err != nil {
			return nil, usageErrorf("--%s: %v", name, err)
		}
		*to.into = &d
	}
	if is("by-hand") {
		s.Promote = accounts.PromoteSelf
		if f.byHand {
			s.Promote = accounts.PromoteByHand
		}
	}
	if !said {
		return nil, nil
	}
	if err := accounts.DefaultTrial().With(&s).Validate(); err != nil {
		return nil, usageErrorf("%s", errorText(err))
	}
	return &s, nil
}

func newSchemaRollback(a *adminFlags) *cobra.Command {
	var spec hub.SchemaRollbackSpec
	var yes bool
	cmd := &cobra.Command{
		Use:   "rollback TENANT SUBJECT VERSION",
		Short: "Take an active version back",
		Long: `rollback makes an active version a canary again, in all regions: events may still name it. A newer active version judges
them, or else the newest one below it, which becomes active again if it was deprecated. A version that was rolled back is promoted by a person alone.
Without --yes it only tells what would happen.`,
		Example: "  weft schema rollback acme bet.placed 1.1.0 --why 'refuses the bets of the old app' --yes",
		Args:    cobra.ExactArgs(3),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().StringVar(&spec.Why, "why", "", "the reason, which stays on record (needed with --yes)")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if yes && spec.Why == "" {
			return usageErrorf("--yes goes with --why: whoever finds the version rolled back has to know")
		}
		path := schemaPath(args) + "/rollback"
		if !yes {
			path += "?dry_run=true"
		}
		var r hub.SchemaStepReport
		if err := a.do(cmd.Context(), "POST", path, spec, &r); err != nil {
			return err
		}
		return printSchemaStep(cmd.OutOrStdout(), format.value, &r)
	}
	return cmd
}

// judgedBy says what becomes of the events of a version that is rolled back.
func judgedBy(r *hub.SchemaStepReport) string {
	if r.Judge == nil {
		return "no other version can judge its events, and none does"
	}
	return r.Judge.String() + " judges its events"
}

// policyText says what a version has to show from now on.
func policyText(status schema.Status, p *accounts.TrialPolicy) string {
	if status == schema.Active {
		if p.Watch == 0 {
			return "it is not watched"
		}
		return fmt.Sprintf("it is watched for %s, and rolled back by itself when more than %g %% of its events, of %d at least, are refused that another version would take", p.Watch, p.MaxErrors, p.Sample)
	}
	who := "becomes active by itself"
	if p.Promote == accounts.PromoteByHand {
		who = "may be promoted by a person"
	}
	return fmt.Sprintf("it is tried on the events of %d %% of the keys, and %s when at most %g %% of %d events fail and that stays so for %s", p.Share, who, p.MaxErrors, p.Sample, p.Hold)
}

// shownText is the state of a trial, with its figures.
func shownText(t *hub.TrialView) string {
	state := string(t.State)
	if state == "" {
		state = "not looked at"
	}
	if t.Since != nil {
		state += " since " + t.Since.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s: %d checked, %d failed (%.3g %%)", state, t.Checked, t.Failed, t.Percent)
}

// printTrial tells how a version on trial does.
func printTrial(w io.Writer, v *hub.SchemaView) {
	t := v.Trial
	fmt.Fprintln(w)
	if t.State != accounts.TrialPassed {
		fmt.Fprintln(w, policyText(v.Status, &t.Policy))
	}
	fmt.Fprintln(w, "  "+shownText(t))
	if t.Waits != "" {
		fmt.Fprintf(w, "  waits for %s\n", t.Waits)
	}
	for _, r := range t.Regions {
		c := r.Shadow
		if v.Status == schema.Active {
			c = r.Active
		}
		fmt.Fprintf(w, "  %-10s  %d checked, %d failed, told at %s\n", r.Region, c.Checked, c.Failed, r.At.UTC().Format(time.RFC3339))
	}
	if len(t.Faults) > 0 {
		fmt.Fprintf(w, "  first failures, by rule and place in the schema:\n")
	}
	for _, f := range t.Faults {
		fmt.Fprintf(w, "    %-20s  %s\n", f.Rule, f.Place)
	}
}
