package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/capacity"
)

// planRow is a line of the two columns; one without a value is a heading.
type planRow struct{ name, value string }

// printCapacity tells a person what a mesh needs: the conclusion, what does not hold, the figures, the costs.
func printCapacity(w io.Writer, r *capacity.Result) error {
	buf := bufio.NewWriter(w)
	printConclusion(buf, r)
	tw := tabwriter.NewWriter(buf, 0, 0, 2, ' ', 0)
	for _, row := range planRows(r) {
		if row.value == "" {
			fmt.Fprintf(tw, "\n%s\n", row.name)
			continue
		}
		fmt.Fprintf(tw, "  %s\t%s\n", row.name, row.value)
	}
	fmt.Fprintln(tw, "\nTAKEN FOR GRANTED")
	for _, premise := range r.Premises {
		fmt.Fprintf(tw, "  %s\n", premise)
	}
	fmt.Fprintln(tw, "\nCOSTS that this is computed from")
	for _, a := range r.Assumptions {
		fmt.Fprintf(tw, "  %s\t%s %s\t%s\t%s\n", a.Name, digits(a.Value), a.Unit, a.Basis, a.Source)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return buf.Flush()
}

func printConclusion(w io.Writer, r *capacity.Result) {
	load := r.Workload
	fmt.Fprintf(w, "%s events/s on average, %s at the peak, from %s in %s, need in each region:\n", digits(load.Rate), digits(load.Rate*load.Peak),
		plural(int64(load.Tenants), "tenant"), plural(int64(load.Regions), "region"))
	fmt.Fprintf(w, "  %s of %s, %s of memory and %s of disk\n  %s of %s\n", plural(int64(r.Hubs.PerRegion), "hub server"), plural(r.Hubs.CoresPerServer, "core"),
		bytesText(r.Hubs.MemoryBytes), bytesText(r.Hubs.DiskBytes), plural(r.Relays.PerRegion, "relay"), plural(int64(r.Relays.CoresEach), "core"))
	if r.Links.Pairs > 0 {
		fmt.Fprintf(w, "  %s to each other region, and from it\n", bitsText(r.Network.LinkSized))
	}
	if r.Fits {
		fmt.Fprintln(w, "No measured limit is passed.")
	} else {
		fmt.Fprintln(w, "IT DOES NOT FIT as it stands: a measured limit is passed.")
	}
	for _, warning := range r.Warnings {
		kind := "note"
		if warning.Limit {
			kind = "LIMIT"
		}
		fmt.Fprintf(w, "\n%s %s: %s.\n  Change: %s.\n", kind, warning.Code, warning.What, warning.Change)
	}
}

func planRows(r *capacity.Result) []planRow {
	rows := append(loadRows(r), relayRows(r)...)
	rows = append(rows, hubRows(r)...)
	rows = append(rows, diskRows(r)...)
	return append(rows, networkRows(r)...)
}

func loadRows(r *capacity.Result) []planRow {
	load := r.Workload
	return []planRow{
		{"LOAD", ""},
		{"events", fmt.Sprintf("%s/s on average, %s B each, %d in a request", digits(load.Rate), digits(float64(load.EventBytes)), load.Batch)},
		{"kept", fmt.Sprintf("for %s, dedupe window %s, ack %s", load.Retention, load.Dedupe, load.Ack)},
		{"tenants", fmt.Sprintf("%d, with %s and %s each, %d partitions", load.Tenants, plural(int64(load.Topics), "topic"), plural(int64(load.Durables), "durable"), capacity.Partitions)},
		{"a region at the peak", fmt.Sprintf("accepts %s/s, %s/s when another one is lost; stores %s/s; gives its durables %s/s", count(r.Rates.Accepted), count(r.Rates.Takeover), count(r.Rates.Stored), count(r.Rates.Read))},
	}
}

func relayRows(r *capacity.Result) []planRow {
	v := r.Relays
	return []planRow{
		{"RELAYS, each region", ""},
		{"instances", fmt.Sprintf("%s of %s, one of them spare (%s in the mesh)", count(v.PerRegion), plural(int64(v.CoresEach), "core"), count(v.Total))},
		{"cores", fmt.Sprintf("%s, %s µs for an event, %s requests/s", digits(v.CoresRegion), digits(v.MicrosPerItem), count(v.RequestsPerS))},
		{"network", fmt.Sprintf("%s from producers before compression and HTTP, %s to the hubs", bitsText(v.InboundBits), bitsText(v.UplinkBits))},
	}
}

func hubRows(r *capacity.Result) []planRow {
	h, m := r.Hubs, r.Memory
	return []planRow{
		{"HUB SERVERS, each region", ""},
		{"servers", fmt.Sprintf("%d of %s (%d in the mesh), sized by: %s", h.PerRegion, plural(h.CoresPerServer, "core"), h.Total, h.Sized)},
		{"busy cores of the region", fmt.Sprintf("store %s, copy %s, serve %s, replicate %s, deliver %s, compare %s", digits(h.Work.Store), digits(h.Work.Copy),
			digits(h.Work.Serve), digits(h.Work.Replicate), digits(h.Work.Deliver), digits(h.Work.Compare))},
		{"stream of one tenant", fmt.Sprintf("%s/s of %s/s; one tenant may make up %s of the load", count(r.Leader.TenantPerS), count(r.Leader.Most), percent(r.Leader.LargestShare))},
		{"Raft groups", fmt.Sprintf("%s of %s advised; %s consumers without one", count(r.Raft.Assets), count(r.Raft.Advice), count(r.Raft.Consumers))},
		{"MEMORY, each hub server", ""},
		{"resident", fmt.Sprintf("%s; live %s", bytesText(h.MemoryBytes), bytesText(m.LiveBytes))},
		{"dedupe windows", fmt.Sprintf("%s for %s ids, read back in %s at each start", bytesText(m.DedupeBytes), count(m.DedupeIDs), seconds(m.RebuildSeconds))},
		{"repair index", bytesText(m.RepairBytes)},
		{"subjects", fmt.Sprintf("%s, %s in a stream", bytesText(m.SubjectBytes), count(r.Raft.Subjects))},
		{"streams", bytesText(m.StreamBytes)},
		{"leaf links", bytesText(m.LinkBytes)},
	}
}

func diskRows(r *capacity.Result) []planRow {
	d := r.Disk
	return []planRow{
		{"DISK", ""},
		{"an event", fmt.Sprintf("%s B with headers, %s B as a copy, uncompressed", count(d.EventBytes), count(d.CopyBytes))},
		{"each server", fmt.Sprintf("%s, growing by %s a day until events are %s old", bytesText(d.ServerBytes), bytesText(d.GrowthPerDay), r.Workload.Retention)},
		{"each region", fmt.Sprintf("%s (%s in the mesh)", bytesText(d.RegionBytes), bytesText(d.MeshBytes))},
		{"beside events", fmt.Sprintf("%s of requests on each server, and %s of refusals at most", bytesText(d.GuardBytes), bytesText(d.RejectsBytes))},
		{"limit of a tenant", fmt.Sprintf("%s in each region, all replicas counted", bytesText(d.TenantBytes))},
		{"writes of a server", fmt.Sprintf("%s/s at the peak, %s fsyncs/s", bytesText(d.WriteBytesPerS), count(d.FsyncsPerSecond))},
	}
}

func networkRows(r *capacity.Result) []planRow {
	n, l, c := r.Network, r.Links, r.CatchUp
	rows := []planRow{{"NETWORK", ""}}
	if l.Pairs > 0 {
		rows = append(rows,
			planRow{"a link, each direction", fmt.Sprintf("%s events/s, %s on average; %s for the peak and for catching up", count(n.LinkEvents), bitsText(n.LinkAverage), bitsText(n.LinkSized))},
			planRow{"all links of a region", bitsText(n.RegionOut) + " each direction"},
			planRow{"leaf links", fmt.Sprintf("%s (%s connections), %s on each server", count(l.Logical), count(l.Connections), count(l.PerServer))},
			planRow{"after a cut of an hour", catchUpText(c)})
	}
	return append(rows, planRow{"inside a region", fmt.Sprintf("%s: replication %s, durables %s", bitsText(n.Inside), bitsText(n.Replication), bitsText(n.Delivery))})
}

func catchUpText(c capacity.CatchUp) string {
	switch {
	case c.Backlog == 0:
		return "nothing replicates"
	case !c.Possible:
		return fmt.Sprintf("%s events behind, never caught up", count(c.Backlog))
	}
	return fmt.Sprintf("%s events behind, caught up in %s, limited by: %s", count(c.Backlog), seconds(c.Seconds), c.LimitedBy)
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}

func count(n int64) string { return digits(float64(n)) }

// digits writes 1234567 as 1,234,567, with up to one decimal.
func digits(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	whole, part, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if part != "" {
		whole += "." + part
	}
	return whole
}

func percent(share float64) string { return digits(math.Round(share*1000)/10) + " %" }

func seconds(f float64) string {
	if f < 120 || f > 1e9 {
		return digits(f) + " s"
	}
	return time.Duration(f * float64(time.Second)).Round(time.Second).String()
}

func bytesText(n int64) string { return scaled(float64(n), "B") }

func bitsText(n int64) string { return scaled(float64(n), "bit") + "/s" }

// scaled writes f with three digits or so and a decimal prefix.
func scaled(f float64, unit string) string {
	prefixes := []string{"", "k", "M", "G", "T", "P", "E", "Z"}
	i := 0
	for ; f >= 1000 && i < len(prefixes)-1; i++ {
		f /= 1000
	}
	decimals := 0
	if i > 0 && f < 100 {
		decimals = 1
	}
	return strconv.FormatFloat(f, 'f', decimals, 64) + " " + prefixes[i] + unit
}
