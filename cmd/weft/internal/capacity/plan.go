package capacity

import (
	"math"
	"time"
)

// cut is the interruption of a link whose consequences are told.
const cut = time.Hour

// Plan is what w needs by c. The error names the flag of a value that makes no sense.
func Plan(w Workload, c Costs) (*Result, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	p := newPlanner(w, c)
	r := &Result{Workload: w, Warnings: []Warning{}, Premises: premises(), Assumptions: c.List()}
	r.Rates = Rates{
		Accepted: amount(p.peak.own), Takeover: amount(p.takeover.own),
		Stored: amount(p.stored()), Read: amount(p.stored() * float64(w.Durables)),
	}
	r.Relays = p.relays()
	r.Links = p.links()
	r.Raft = p.raft()
	r.Memory = p.memory()
	r.Disk = p.disk()
	r.Hubs = p.hubs(r)
	r.Network = p.network()
	r.Leader = p.leader()
	r.CatchUp = p.catchUp()
	r.Warnings = append(r.Warnings, p.warnings(r)...)
	r.Fits = true
	for _, warning := range r.Warnings {
		r.Fits = r.Fits && !warning.Limit
	}
	return r, nil
}

// planner holds the inputs and the cases that a region is sized for.
type planner struct {
	w        Workload
	c        Costs
	regions  float64
	tenants  float64
	average  flow // all regions up
	peak     flow // all regions up
	takeover flow // peak, one region lost and the others in its place
	catching flow // average, and links catching up
}

// flow is events per second in one region.
type flow struct {
	own float64 // accepted by its relays
	in  float64 // taken from all other regions
	out float64 // given to all of them
}

func (f flow) stored() float64 { return f.own + f.in }

func newPlanner(w Workload, c Costs) *planner {
	p := &planner{w: w, c: c, regions: float64(w.Regions), tenants: float64(w.Tenants)}
	p.average = flowOf(w.Rate, p.regions, w.Regional)
	p.peak = flowOf(w.Rate*w.Peak, p.regions, w.Regional)
	p.takeover = flowOf(w.Rate*w.Peak, max(1, p.regions-1), w.Regional)
	p.catching = p.average
	p.catching.in *= w.CatchUp
	p.catching.out *= w.CatchUp
	return p
}

// flowOf divides a load among regions that replicate to each other.
func flowOf(load, regions, regional float64) flow {
	own := load / regions
	shared := own * (1 - regional) * (regions - 1)
	return flow{own: own, in: shared, out: shared}
}

func (p *planner) replicated() bool { return p.w.Servers > 1 }

// copies is how many further servers of the region store an event.
func (p *planner) copies() float64 { return float64(p.w.Servers - 1) }

// stored is the most that a region stores in a second.
func (p *planner) stored() float64 { return max(p.peak.stored(), p.takeover.stored()) }

// accounts are those that have streams and links in a region.
func (p *planner) accounts() float64 { return p.tenants + p.c.Policy.Control.Value }

// streams are those of a region: EVENTS, REJECTS and DLQ of each tenant, CONTROL and GUARD.
func (p *planner) streams() float64 { return p.tenants*p.c.Policy.TenantStreams.Value + p.shared() }

// shared are the streams of a region that are no tenant's.
func (p *planner) shared() float64 { return p.c.Policy.Control.Value + p.c.Policy.Guard.Value }

// perLink is the average of events from one region to one other.
func (p *planner) perLink() float64 {
	if p.w.Regions < 2 {
		return 0
	}
	return p.average.out / (p.regions - 1)
}

// either is the cost for three servers or for one.
func (p *planner) either(raft, one Cost) float64 {
	if p.replicated() {
		return raft.Value
	}
	return one.Value
}

func (p *planner) relays() Relays {
	cpu, policy := p.c.CPU, p.c.Policy
	each := cpu.RelayEvent.Value + cpu.RelayRequest.Value/float64(p.w.Batch)
	own := p.takeover.own
	cores := own * each / 1e6 / policy.Utilisation.Value
	n := amount(cores/float64(p.w.RelayCores)) + amount(policy.SpareRelays.Value)
	return Relays{
		PerRegion: n, Total: n * int64(p.w.Regions), CoresEach: p.w.RelayCores, CoresRegion: tenths(cores),
		RequestsPerS: amount(own / float64(p.w.Batch)), MicrosPerItem: tenths(each),
		InboundBits: p.bits(own, float64(p.w.EventBytes)), UplinkBits: p.bits(own, p.eventBytes()),
	}
}

// work is what a flow costs a region, in busy cores.
func (p *planner) work(f flow) Work {
	cpu := p.c.CPU
	cores := func(perSecond float64, cost Cost) float64 { return perSecond * cost.Value / 1e6 }
	w := Work{
		Store: cores(f.own, cpu.Store), Copy: cores(f.in, cpu.SourceIn), Serve: cores(f.out, cpu.SourceOut),
		Replicate: cores(f.stored()*p.copies(), cpu.Replicate), Deliver: cores(f.stored()*float64(p.w.Durables), cpu.Deliver),
	}
	if p.w.Regions > 1 {
		w.Compare = cores(f.stored(), cpu.Index)
	}
	return w
}

// busiest is what the busiest server of a region has to do, one of three being away.
func (p *planner) busiest(w Work) float64 {
	alive := float64(max(1, p.w.Servers-1))
	leads := math.Ceil(p.tenants/alive) / p.tenants // a stream has one leader
	follows := 0.0
	if p.replicated() {
		follows = w.Replicate / p.copies() // one copy is left to make
	}
	return (w.Store+w.Copy+w.Serve+w.Deliver)*leads + follows + w.Compare
}

func (p *planner) hubs(r *Result) Hubs {
	h := Hubs{PerRegion: p.w.Servers, Total: p.w.Servers * p.w.Regions, DiskBytes: r.Disk.ServerBytes}
	most := -1.0
	for _, c := range []struct {
		name string
		flow flow
	}{{"peak", p.peak}, {"takeover", p.takeover}, {"catch_up", p.catching}} {
		if w := p.work(c.flow); p.busiest(w) > most {
			most, h.Work, h.Sized = p.busiest(w), w.rounded(), c.name
		}
	}
	h.CoresPerServer = max(1, amount(most/p.c.Policy.Utilisation.Value))
	h.MemoryBytes = amount(float64(r.Memory.LiveBytes)*p.c.Memory.Collector.Value + p.c.Memory.Base.Value)
	return h
}

func (w Work) rounded() Work {
	return Work{tenths(w.Store), tenths(w.Copy), tenths(w.Serve), tenths(w.Replicate), tenths(w.Deliver), tenths(w.Compare)}
}

func (p *planner) memory() Memory {
	m := p.c.Memory
	window := min(p.w.Dedupe, p.w.Retention) // the server takes no longer one
	ids := p.stored() * time.Duration(window).Seconds()
	links := p.accounts() * (p.regions - 1)
	subjects := p.tenants * p.subjects()
	streams := p.accounts()
	buckets := 0.0
	if p.w.Regions > 1 {
		buckets = p.tenants * min(time.Duration(p.w.Retention).Seconds()/p.c.Policy.BucketWidth.Value, p.c.Limits.Buckets.Value)
	}
	return Memory{
		DedupeIDs: amount(ids), DedupeBytes: amount(ids * m.ID.Value), RebuildSeconds: tenths(ids * p.c.CPU.Rebuild.Value / 1e6),
		RepairBytes: amount(buckets * m.Bucket.Value), LinkBytes: amount(links * m.Link.Value),
		StreamBytes: amount(streams * m.Stream.Value), SubjectBytes: amount(subjects * m.Subject.Value),
		LiveBytes: amount(ids*m.ID.Value + buckets*m.Bucket.Value + links*m.Link.Value + streams*m.Stream.Value + subjects*m.Subject.Value),
	}
}

// subjects are those of one stream: each region's origin, partition and topic.
func (p *planner) subjects() float64 { return p.regions * Partitions * float64(p.w.Topics) }

// eventBytes is an own event as the store counts it.
func (p *planner) eventBytes() float64 { return float64(p.w.EventBytes) + p.c.Bytes.Stored.Value }

// storedBytes is what a flow adds to a stream in a second.
func (p *planner) storedBytes(f flow) float64 {
	return f.own*p.eventBytes() + f.in*(p.eventBytes()+p.c.Bytes.Copied.Value)
}

func (p *planner) disk() Disk {
	b := p.c.Bytes
	second := p.storedBytes(p.average)
	kept := second * time.Duration(p.w.Retention).Seconds()
	logs := 0.0
	if p.replicated() {
		logs = p.streams() * b.RaftLog.Value
	}
	guard, rejects := p.guardBytes(), p.tenants*b.Rejects.Value
	server := (kept + guard + rejects + logs) / p.c.Policy.DiskFill.Value
	servers := float64(p.w.Servers)
	peak := max(p.storedBytes(p.peak), p.storedBytes(p.takeover))
	return Disk{
		EventBytes: amount(p.eventBytes()), CopyBytes: amount(p.eventBytes() + b.Copied.Value),
		ServerBytes: amount(server), RegionBytes: amount(server * servers), MeshBytes: amount(server * servers * p.regions),
		GrowthPerDay: amount(second * day.Seconds()), TenantBytes: amount(kept / p.tenants / p.c.Policy.DiskFill.Value * servers),
		GuardBytes: amount(guard), RejectsBytes: amount(rejects),
		WriteBytesPerS: amount(peak * p.either(b.WriteRaft, b.WriteOne)), FsyncsPerSecond: amount(p.fsyncs()),
	}
}

// guardBytes is the journal of requests at the peak. Every region has that of all.
func (p *planner) guardBytes() float64 {
	return p.w.Rate * p.w.Peak / float64(p.w.Batch) * p.c.Policy.GuardAge.Value * p.c.Bytes.Guard.Value
}

// fsyncs is how often one server syncs in a second at the peak. REJECTS and DLQ are taken to be at rest.
func (p *planner) fsyncs() float64 {
	b := p.c.Bytes
	interval := (p.tenants + p.shared()) * p.either(b.SyncRaft, b.SyncOne)
	switch {
	case p.w.Ack != AckSynced:
		return interval
	case p.replicated():
		return interval + p.stored()*b.SyncEvent.Value
	}
	return p.stored() // each event alone
}

func (p *planner) network() Network {
	body := float64(p.w.EventBytes)
	wire := body + p.c.Bytes.Wire.Value
	sized := max(p.w.Peak, p.w.CatchUp)
	replication := p.stored() * p.copies()
	delivery := p.stored() * float64(p.w.Durables)
	return Network{
		LinkEvents: amount(p.perLink()), LinkAverage: p.bits(p.perLink(), wire), LinkSized: p.bits(p.perLink()*sized, wire),
		RegionOut:   p.bits(p.average.out*sized, wire),
		Replication: p.bits(replication, p.eventBytes()), Delivery: p.bits(delivery, p.eventBytes()),
		Inside: p.bits(p.takeover.own+replication+delivery, p.eventBytes()),
	}
}

// bits is what so many events of a size are in a second, transport included.
func (p *planner) bits(perSecond, size float64) int64 {
	return amount(perSecond * size * 8 * (1 + p.c.Bytes.Transport.Value))
}

func (p *planner) links() Links {
	pairs := p.regions * (p.regions - 1) / 2
	return Links{
		Pairs: amount(pairs), Logical: amount(pairs * p.accounts()), Connections: amount(pairs * p.accounts() * float64(p.w.Servers)),
		PerServer: amount(p.accounts() * (p.regions - 1)),
	}
}

func (p *planner) raft() Raft {
	r := Raft{
		Streams: amount(p.streams()), Advice: amount(p.c.Limits.Assets.Value), Subjects: amount(p.subjects()),
		Consumers: amount(p.tenants*float64(p.w.Durables) + (p.tenants+p.shared())*(p.regions-1)),
	}
	if p.replicated() {
		r.Assets = r.Streams // consumers have one copy
	}
	return r
}

// streamMost is what one stream can store in a second.
func (p *planner) streamMost() float64 {
	if p.w.Ack == AckSynced && !p.replicated() {
		return p.c.Limits.StreamSynced.Value
	}
	return p.either(p.c.Limits.StreamRaft, p.c.Limits.StreamOne)
}

func (p *planner) leader() Leader {
	return Leader{
		TenantPerS: amount(p.stored() / p.tenants), Most: amount(p.streamMost()),
		LargestShare: math.Floor(min(1, p.streamMost()/p.stored())*1000) / 1000,
	}
}

func (p *planner) catchUp() CatchUp {
	live := p.perLink()
	out := CatchUp{CutSeconds: int64(cut.Seconds()), Backlog: amount(live * cut.Seconds()), Possible: true, LimitedBy: "link"}
	if live == 0 {
		out.LimitedBy = ""
		return out
	}
	extra := live * (p.w.CatchUp - 1)
	if spare := p.tenants*p.c.Limits.Source.Value - live; spare < extra {
		extra, out.LimitedBy = spare, "source"
	}
	if spare := p.tenants*p.streamMost() - p.average.stored(); spare < extra {
		extra, out.LimitedBy = spare, "leader"
	}
	if extra <= 0 {
		out.Possible = false
		return out
	}
	out.Seconds = math.Ceil(live * cut.Seconds() / extra)
	return out
}
