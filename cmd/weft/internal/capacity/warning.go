package capacity

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// warnings are the limits that a plan passes, the hard ones first.
func (p *planner) warnings(r *Result) []Warning {
	var out []Warning
	for _, find := range []func(*Result) *Warning{
		p.streamRate, p.sourceRate, p.cannotCatchUp, p.raftAssets, p.linksPerServer,
		p.dedupeMemory, p.rebuildTime, p.serverCores, p.serverDisk, p.repairRate, p.retentionOfRepair, p.oneServer,
	} {
		if w := find(r); w != nil {
			out = append(out, *w)
		}
	}
	return out
}

func (p *planner) streamRate(r *Result) *Warning {
	most := p.streamMost()
	if p.stored()/p.tenants <= most {
		return nil
	}
	w := &Warning{
		Code: "stream_rate", Limit: true,
		What: fmt.Sprintf("the stream of one tenant stores %s events/s at the peak; %s were measured for a stream of %s", thousands(r.Leader.TenantPerS), thousands(r.Leader.Most), p.servers()),
		Change: fmt.Sprintf("spread the load over %s tenants or more, as one brand may have several; more servers do not help, because a stream has one leader",
			thousands(amount(p.stored()/most))),
	}
	if p.replicated() {
		w.Change += "; measure the leader on cores of its own, where it may take more"
	}
	if p.w.Ack == AckSynced && !p.replicated() {
		w.Change = "--servers 3, where syncing always costs little; or " + w.Change
	}
	return w
}

func (p *planner) sourceRate(*Result) *Warning {
	most := p.c.Limits.Source.Value
	rate := p.perLink() * p.w.Peak / p.tenants
	if rate <= most {
		return nil
	}
	return &Warning{
		Code: "source_rate", Limit: true,
		What:   fmt.Sprintf("one stream takes %s events/s from another region at the peak; %s were measured", thousands(amount(rate)), thousands(amount(most))),
		Change: fmt.Sprintf("spread the load over %s tenants or more", thousands(amount(p.perLink()*p.w.Peak/most))),
	}
}

func (p *planner) cannotCatchUp(r *Result) *Warning {
	if r.CatchUp.Possible {
		return nil
	}
	change := "--catch-up above 1, and links that carry it"
	if r.CatchUp.LimitedBy != "link" {
		change = "spread the load over more tenants: what one stream can take is used up by the live events"
	}
	return &Warning{Code: "catch_up", Limit: true, What: "a region never catches up with what it missed while a link was cut", Change: change}
}

func (p *planner) raftAssets(r *Result) *Warning {
	if r.Raft.Assets <= r.Raft.Advice {
		return nil
	}
	return &Warning{
		Code: "raft_assets", Limit: true,
		What:   fmt.Sprintf("%s replicated streams in one cluster; at most %s are advised", thousands(r.Raft.Assets), thousands(r.Raft.Advice)),
		Change: fmt.Sprintf("divide the tenants among %d meshes", ceilDiv(r.Raft.Assets, r.Raft.Advice)),
	}
}

func (p *planner) linksPerServer(r *Result) *Warning {
	most := amount(p.c.Limits.Links.Value)
	if r.Links.PerServer <= most {
		return nil
	}
	return &Warning{
		Code: "links", Limit: true,
		What:   fmt.Sprintf("%s leaf links on each server; up to %s were run", thousands(r.Links.PerServer), thousands(most)),
		Change: "give tenants only the regions that they need, or divide them among several meshes; adding a tenant takes longer with each link",
	}
}

func (p *planner) dedupeMemory(r *Result) *Warning {
	if float64(r.Memory.DedupeBytes) <= p.c.Limits.Dedupe.Value {
		return nil
	}
	return &Warning{
		Code:   "dedupe_memory",
		What:   fmt.Sprintf("the dedupe windows hold %s ids, %.1f GB on each server, before the collector's room", thousands(r.Memory.DedupeIDs), float64(r.Memory.DedupeBytes)/1e9),
		Change: "a shorter --dedupe; consumers drop what comes later by event_id",
	}
}

func (p *planner) rebuildTime(r *Result) *Warning {
	if r.Memory.RebuildSeconds <= p.c.Limits.RebuildTime.Value {
		return nil
	}
	return &Warning{
		Code:   "dedupe_rebuild",
		What:   fmt.Sprintf("a server that starts reads its dedupe windows for about %.0f s", r.Memory.RebuildSeconds),
		Change: "a shorter --dedupe, or three servers, of which two serve meanwhile",
	}
}

func (p *planner) serverCores(r *Result) *Warning {
	most := amount(p.c.Limits.Cores.Value)
	if r.Hubs.CoresPerServer <= most {
		return nil
	}
	change := "divide the tenants among several meshes"
	if r.Hubs.Work.Deliver > r.Hubs.Work.Store+r.Hubs.Work.Copy+r.Hubs.Work.Serve+r.Hubs.Work.Replicate {
		change = "fewer durables: most of the work is reading; let one durable feed several handlers, or filter by topic; else " + change
	}
	return &Warning{
		Code: "server_cores", Limit: true,
		What: fmt.Sprintf("a hub server needs %s cores; %s is the most that is assumed", thousands(r.Hubs.CoresPerServer), thousands(most)), Change: change,
	}
}

func (p *planner) serverDisk(r *Result) *Warning {
	if float64(r.Disk.ServerBytes) <= p.c.Limits.Disk.Value {
		return nil
	}
	return &Warning{
		Code:   "server_disk",
		What:   fmt.Sprintf("a hub server needs %.0f TB of disk, with room", float64(r.Disk.ServerBytes)/1e12),
		Change: "a shorter --retention and older events in files elsewhere, or divide the tenants among several meshes",
	}
}

// repairRate is about the leading server, which indexes one tenant on one core of four.
func (p *planner) repairRate(r *Result) *Warning {
	readers := min(max(1, math.Floor(float64(r.Hubs.CoresPerServer)*p.c.Policy.IndexCores.Value)), p.tenants)
	most := readers * p.c.Policy.IndexShare.Value * 1e6 / p.c.CPU.Index.Value
	if p.w.Regions < 2 || p.average.stored() <= most {
		return nil
	}
	return &Warning{
		Code: "repair_rate",
		What: fmt.Sprintf("a region stores %s events/s on average; its repair indexes about %s, so it falls behind and does not see what was lost",
			thousands(amount(p.average.stored())), thousands(amount(math.Floor(most)))),
		Change: "watch weft_hub_drift_events, and do not count on repair at this rate, or more cores for the hubs, or divide the tenants among several meshes",
	}
}

func (p *planner) retentionOfRepair(*Result) *Warning {
	seconds := p.c.Limits.Buckets.Value * p.c.Policy.BucketWidth.Value
	if p.w.Regions < 2 || float64(p.w.Retention)/1e9 <= seconds {
		return nil
	}
	return &Warning{
		Code:   "repair_reach",
		What:   fmt.Sprintf("repair compares the newest %.0f days, the retention is %s", seconds/day.Seconds(), p.w.Retention),
		Change: "a longer repair_bucket, the same in all regions",
	}
}

func (p *planner) oneServer(*Result) *Warning {
	if p.replicated() {
		return nil
	}
	return &Warning{
		Code:   "one_server",
		What:   "a region of one server is down while it restarts, and its disk is the only copy of regional events",
		Change: "--servers 3 where that matters",
	}
}

func (p *planner) servers() string {
	if p.replicated() {
		return "three servers"
	}
	return "one server"
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func ceilDiv(a, b int64) int64 { return (a-1)/b + 1 }
