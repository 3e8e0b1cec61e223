package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/adminclient"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/fault"
)

// openWait bounds how long rejoin and open wait for the region to let clients in.
const openWait = 90 * time.Second

func newHubRejoin() *cobra.Command {
	var a adminFlags
	var region, report string
	var yes bool
	cmd := &cobra.Command{
		Use:   "rejoin --region R",
		Short: "Bring back a region that lost data, under its next epoch",
		Long: `rejoin lets a region that lost acknowledged writes go on under its next epoch (us_1 becomes us_2): every other region
drops what it reads from it, then the region opens, reads back what the others have of it, and the others read
the new origin. Nothing is stored twice. All other regions have to answer, because one that does not know of it
would mix the two lives up.

What no other region has is lost for good: everything acknowledged after the newest event that the report shows, and
the topics that stay in the region. Without --yes it tells what would happen and changes nothing. When it was
interrupted, run it again.`,
		Example: "  weft hub rejoin --region us --report lost.ndjson\n  weft hub rejoin --region us --yes",
		Args:    cobra.NoArgs,
	}
	a.register(cmd)
	cmd.Flags().StringVar(&region, "region", "", "the region that lost data")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().StringVar(&report, "report", "", "write the events that the region lacks to this `file`, one JSON object on each line")
	_ = cmd.MarkFlagRequired("region")
	format := outputFlag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.rejoin(cmd, rejoinCall{region: region, report: report, yes: yes, json: format.value == formatJSON})
	}
	return cmd
}

type rejoinCall struct {
	region, report string
	yes, json      bool
}

func (a *adminFlags) rejoin(cmd *cobra.Command, call rejoinCall) error {
	ctx := cmd.Context()
	servers, err := a.closedOf(ctx, call.region)
	if err != nil {
		return err
	}
	var file *os.File
	if call.report != "" { // before anything is done: what cannot be written cannot be asked for again
		if file, err = os.OpenFile(call.report, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
	}
	c, err := adminclient.New(a.data, []string{servers[0].Admin})
	if err != nil {
		return err
	}
	path := "/v1/rejoin"
	if !call.yes {
		path += "?dry_run=true"
	}
	var r hub.RejoinReport
	if err := c.Do(ctx, "POST", path, nil, &r); err != nil {
		return rejoinHint(err, call.region)
	}
	if file != nil {
		if err := errors.Join(writeLost(file, &r), file.Sync()); err != nil {
			return err
		}
	}
	if call.json {
		err = printJSON(cmd.OutOrStdout(), &r)
	} else {
		err = printRejoin(cmd.OutOrStdout(), &r, call.report)
	}
	if err != nil || !call.yes {
		return err
	}
	progress := cmd.OutOrStdout()
	if call.json {
		progress = cmd.ErrOrStderr()
	}
	if r.Restart {
		fmt.Fprintf(progress, "the hubs of %s end now and have to be started again: a supervisor does, else do it\n", r.Region)
	}
	return a.awaitOpen(ctx, progress, call.region, r.To)
}

// rejoinHint adds what to do next where the hub's own words do not say it.
func rejoinHint(err error, region string) error {
	switch fault.CodeOf(err) {
	case "hub_unreachable":
		return errorWithHint(err, "its outcome is not known: look at `weft hub status`, and run the command again if "+region+" is still closed")
	case "is_open", "nothing_lost":
		return errorWithHint(err, "see `weft hub status`")
	}
	return err
}

// closedOf are the servers of a region that are not open.
func (a *adminFlags) closedOf(ctx context.Context, region string) ([]serverStatus, error) {
	list, err := a.statuses(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	var found, closed []serverStatus
	for _, s := range list {
		if s.Error == "" && !slices.Contains(known, s.Region) {
			known = append(known, s.Region)
		}
		if s.Error == "" && s.Region == region {
			found = append(found, s)
			if !s.Open {
				closed = append(closed, s)
			}
		}
	}
	switch {
	case len(found) == 0 && len(known) == 0:
		return nil, errorWithHint(errors.New("no hub answers"), "start the hubs, or name their addresses with --admin")
	case len(found) == 0:
		return nil, errorWithHint(fmt.Errorf("no server of region %q answers", region), "start its hub or name its address with --admin; regions that answer: "+strings.Join(known, ", "))
	case len(closed) == 0:
		return nil, errorWithHint(fmt.Errorf("region %s is open under %s", region, found[0].Origin), "there is nothing to do; see `weft hub status`")
	}
	return closed, nil
}

// awaitOpen waits until a server of the region is open, under the wanted origin where one is given.
func (a *adminFlags) awaitOpen(ctx context.Context, w io.Writer, region, origin string) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	why := "no server of the region answers"
	for {
		list, err := a.statuses(ctx)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.Error != "" || s.Region != region {
				continue
			}
			if s.Open && (origin == "" || s.Origin == origin) {
				fmt.Fprintf(w, "region %s is open as %s\n", region, s.Origin)
				return nil
			}
			why = s.Why
		}
		select {
		case <-ctx.Done():
			return errorWithHint(fmt.Errorf("region %s is not open yet: %s", region, why), "it goes on by itself; look at `weft hub status`")
		case <-tick.C:
		}
	}
}

// lostLine is one line of the --report file: a stream, or an event of it.
type lostLine struct {
	Kind    string         `json:"kind"` // "stream" or "event"
	Tenant  string         `json:"tenant"`
	Peer    string         `json:"peer"` // that has it
	Missing *uint64        `json:"missing,omitempty"`
	Listed  *int           `json:"listed,omitempty"`
	Newest  *hub.LostEvent `json:"newest,omitempty"`
	Kept    *hub.Held      `json:"kept,omitempty"`
	Problem string         `json:"problem,omitempty"`
	*hub.LostEvent
}

func writeLost(w io.Writer, r *hub.RejoinReport) error {
	buf := bufio.NewWriter(w)
	enc := json.NewEncoder(buf)
	for _, s := range r.Streams {
		listed := len(s.Events)
		if err := enc.Encode(lostLine{Kind: "stream", Tenant: s.Tenant, Peer: s.Peer, Missing: &s.Missing, Listed: &listed, Newest: s.Newest, Kept: s.Kept, Problem: s.Problem}); err != nil {
			return err
		}
		for i := range s.Events {
			if err := enc.Encode(lostLine{Kind: "event", Tenant: s.Tenant, Peer: s.Peer, LostEvent: &s.Events[i]}); err != nil {
				return err
			}
		}
	}
	return buf.Flush()
}

// printRejoin tells a person what a rejoin did or would do.
func printRejoin(w io.Writer, r *hub.RejoinReport, report string) error {
	if r.DryRun {
		fmt.Fprintf(w, "region %s would go on as %s instead of %s\n\n", r.Region, r.To, r.From)
	} else {
		fmt.Fprintf(w, "region %s goes on as %s instead of %s\n\n", r.Region, r.To, r.From)
	}
	fmt.Fprintf(w, "what %s lost, as the others see it:\n", r.Region)
	for _, l := range r.Losses {
		fmt.Fprintf(w, "  %s\n", l.String())
	}
	if err := printLost(w, r.Streams); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nsteps:")
	for i, s := range r.Steps {
		fmt.Fprintf(w, "  %d. %s\n", i+1, s)
	}
	if report != "" {
		fmt.Fprintf(w, "\nthe events are listed in %s\n", report)
	}
	if r.DryRun {
		fmt.Fprintln(w, "\nNothing was done; say --yes to do it.")
	}
	return nil
}

func printLost(w io.Writer, streams []hub.LostStream) error {
	if len(streams) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "TENANT\tTO BRING BACK\tFROM\tNEWEST EVENT THERE\tTAKEN AT\tSEQ")
	for _, s := range streams {
		if s.Newest == nil {
			fmt.Fprintf(tw, "%s\t%d\t%s\t-\t-\t-\n", s.Tenant, s.Missing, s.Peer)
			continue
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t%d\n", s.Tenant, s.Missing, s.Peer, s.Newest.ID, s.Newest.At.Format(time.RFC3339Nano), s.Newest.Seq)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, s := range streams {
		if s.Problem != "" {
			fmt.Fprintf(w, "%s: %s\n", s.Tenant, s.Problem)
		} else if uint64(len(s.Events)) < s.Missing {
			fmt.Fprintf(w, "%s: %d of %d events are listed\n", s.Tenant, len(s.Events), s.Missing)
		}
	}
	fmt.Fprintln(w, "Lost for good: what was acknowledged after the newest event there, and topics that stay in the region.")
	return nil
}

func newHubOpen() *cobra.Command {
	var a adminFlags
	var region string
	var without []string
	var yes bool
	cmd := &cobra.Command{
		Use:   "open --region R --without A,B",
		Short: "Open a region without the word of regions that do not answer",
		Long: `A region that cannot prove by itself that it lost nothing waits until every other region has said what it holds of it.
open lets it go on without the word of some. Only you can know that nothing is missing: if it did lose writes that one
of them holds, what it writes now never reaches that one. The decision is logged with your name.

A region that is known to have lost data cannot be opened this way: see weft hub rejoin.`,
		Example: "  weft hub open --region eu --without us,ap --yes",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(without) == 0 {
				return usageErrorf("name the regions to do without with --without")
			}
			return a.open(cmd, region, without, yes)
		},
	}
	a.register(cmd)
	cmd.Flags().StringVar(&region, "region", "", "the region to open")
	cmd.Flags().StringSliceVar(&without, "without", nil, "regions to do without")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	_ = cmd.MarkFlagRequired("region")
	_ = cmd.MarkFlagRequired("without")
	return cmd
}

func (a *adminFlags) open(cmd *cobra.Command, region string, without []string, yes bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	servers, err := a.closedOf(ctx, region)
	if err != nil {
		return err
	}
	if !yes {
		fmt.Fprintf(out, "would open region %s (%d servers) without the word of %s. Nothing was done; say --yes to do it\n", region, len(servers), strings.Join(without, ", "))
		return nil
	}
	for _, s := range servers { // each server of a region has its own gate
		c, err := adminclient.New(a.data, []string{s.Admin})
		if err != nil {
			return err
		}
		var status hub.Status
		if err := c.Do(ctx, "POST", "/v1/open?"+url.Values{"without": without}.Encode(), nil, &status); err != nil {
			if fault.CodeOf(err) == "peer_answers" {
				err = errorWithHint(err, "see whom it waits for with `weft hub status`")
			}
			return err
		}
	}
	return a.awaitOpen(ctx, out, region, "")
}
