package main

import (
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/capacity"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
)

const planLong = `plan computes what a mesh needs to carry a load: relays, hub servers, memory, disk, network and links, how long it
takes to catch up after a cut, and which measured limits the load passes. It asks no mesh and changes nothing.
(weft stream plan is something else: it compares the streams of a running region with what they should be.)

Every figure is computed from costs of single operations, which are printed with where they were measured; what is
only assumed says so. Load is taken to be even over regions, tenants and topics. A region is sized so that it can
take over its part of a lost region's producers, and all durables of its tenants.

-o json has "fits": false when a measured limit is passed. How to read it: deploy/docs/capacity.md.`

const planExample = `  weft plan --rate 120000 --regions 2
  weft plan --rate 5000 --tenants 3 --servers 1 --retention 30d --dedupe 10m
  weft plan --rate 120000 --tenants 200 -o json | jq '.fits, .warnings[].what'`

func newPlanCommand() *cobra.Command {
	w := capacity.DefaultWorkload()
	size := config.ByteSize(w.EventBytes)
	cmd := &cobra.Command{
		Use:     "plan --rate N",
		Short:   "Compute what a mesh needs for a load: servers, memory, disk, network",
		Long:    planLong,
		Example: planExample,
		Args:    cobra.NoArgs,
	}
	f := cmd.Flags()
	f.Float64Var(&w.Rate, "rate", 0, "events per second that all regions accept together, on average")
	f.IntVar(&w.Regions, "regions", w.Regions, "active regions")
	f.IntVar(&w.Tenants, "tenants", w.Tenants, "tenants, each in every region")
	f.Var(&size, "event-bytes", "size of an event's body")
	f.TextVar(&w.Retention, "retention", w.Retention, "how long events are kept (7d, 12h)")
	f.TextVar(&w.Dedupe, "dedupe", w.Dedupe, "window in which an event_id is stored once")
	f.IntVar(&w.Servers, "servers", w.Servers, "hub servers in each region: 1 or 3")
	f.IntVar(&w.Durables, "durables", w.Durables, "durables of each tenant, each reading all of its events")
	f.IntVar(&w.Batch, "batch", w.Batch, "events in a request")
	f.IntVar(&w.Topics, "topics", w.Topics, "topics of each tenant, each with one event type")
	f.Float64Var(&w.Peak, "peak", w.Peak, "highest rate by the average one")
	f.Float64Var(&w.CatchUp, "catch-up", w.CatchUp, "rate at which a link may catch up after a cut, by the average one")
	f.Float64Var(&w.Regional, "regional", w.Regional, "share of the events that stay in their region (0 to 1)")
	f.IntVar(&w.RelayCores, "relay-cores", w.RelayCores, "cores of one relay")
	f.StringVar(&w.Ack, "ack", w.Ack, "what an answer promises: stored, stored-fsync or remote")
	_ = cmd.RegisterFlagCompletionFunc("ack", cobra.FixedCompletions(capacity.Acks(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagRequired("rate")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w.EventBytes = int64(size)
		r, err := capacity.Plan(w, capacity.DefaultCosts())
		if err != nil {
			return &usageError{err}
		}
		if format.value != formatTable {
			return printValue(cmd.OutOrStdout(), format.value, r)
		}
		return printCapacity(cmd.OutOrStdout(), r)
	}
	return cmd
}
