package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/cmd/weft/internal/bench"
	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
)

const benchLong = `bench measures a mesh as its producers and consumers see it, side by side with a baseline in the same run, and reads
back what it sent: every acknowledged event once from each region, in order for each key.

It starts a mesh of its own in a second process, or measures one that runs (--target). Rates come from requests that
follow each other as fast as answers come; latencies from requests that begin at fixed times, counted from then.
The load generator runs on the same machine: compare ratios, not rates.`

func newBenchCommand() *cobra.Command {
	o := bench.DefaultOptions()
	var seconds float64
	var asJSON bool
	var html string
	var names []string
	long := benchLong + "\n\nScenarios:"
	for _, s := range bench.Scenarios() {
		names = append(names, s.Name)
		long += fmt.Sprintf("\n  %-10s %s", s.Name, s.What)
	}
	cmd := &cobra.Command{
		Use:   "bench SCENARIO",
		Short: "Measure a mesh, with its baseline beside it",
		Long:  long,
		Example: `  weft bench ingest                              a relay's batches against raw publishes
  weft bench ingest --seconds 20 --json          the figures, and nothing else, on standard output
  weft bench single --html single.html           one event in each request, with plots
  weft bench ingest --target ./weft-data/mesh.json         a mesh that runs already`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Scenario, o.Span = args[0], time.Duration(seconds*float64(time.Second))
			o.Say = cmd.ErrOrStderr()
			log, err := telemetry.NewLogger("warn", "auto", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			o.Logger = log
			return runBench(cmd.Context(), o, asJSON, html, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.Float64Var(&seconds, "seconds", o.Span.Seconds(), "seconds of load, start and verification not included")
	f.IntVar(&o.Rounds, "rounds", o.Rounds, "rounds of weft and its baseline in alternation, at least 3")
	f.StringVar(&o.Target, "target", "", "mesh.json of a running mesh, or its directory (default: start a mesh)")
	f.StringVar(&o.Dir, "dir", "", "where the own mesh keeps its data while it runs (default: the system's directory for temporary files)")
	f.StringSliceVar(&o.Regions, "regions", o.Regions, "regions of the own mesh")
	f.IntVar(&o.Servers, "servers", o.Servers, "servers in each region of the own mesh: 1 or 3")
	f.StringVar(&o.Sync, "sync", o.Sync, "of the own mesh: interval or always")
	f.IntVar(&o.Batch, "batch", o.Batch, "events in one request")
	f.IntVar(&o.Connections, "connections", o.Connections, "connections of the load generator")
	f.IntVar(&o.EventBytes, "event-bytes", o.EventBytes, "bytes of one event")
	f.IntVar(&o.Keys, "keys", o.Keys, "routing keys")
	f.Float64Var(&o.Rate, "rate", 0, "events per second at which latencies are taken (default: half of the full speed)")
	f.IntVar(&o.Tenants, "tenants", o.Tenants, "tenants of bench tenants, and the most of bench growth")
	f.IntVar(&o.MostStored, "most-stored", o.MostStored, "events that bench growth stores at most")
	f.BoolVar(&asJSON, "json", false, "print the figures as one line of JSON, and nothing else")
	f.StringVar(&html, "html", "", "also write a self-contained page with plots to this file")
	return cmd
}

func runBench(ctx context.Context, o bench.Options, asJSON bool, html string, out io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Binary = self
	defer app.ShareCores()() // as the mesh does
	r, err := bench.Run(ctx, o)
	if err != nil {
		return err
	}
	r.Commit = telemetry.BuildInfo().Revision
	if html != "" {
		if err := writePage(html, r); err != nil {
			return err
		}
	}
	write := r.WriteText
	if asJSON {
		write = r.WriteJSON
	}
	if err := write(out); err != nil {
		return err
	}
	if s := &r.Summary; s.Lost+s.Duplicated+s.Reordered > 0 {
		return fmt.Errorf("the regions do not hold what was acknowledged: %d lost, %d duplicated, %d reordered", s.Lost, s.Duplicated, s.Reordered)
	}
	return nil
}

func writePage(path string, r *report.Report) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := r.WriteHTML(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
