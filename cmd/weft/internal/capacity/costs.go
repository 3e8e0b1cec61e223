package capacity

import "github.com/weft-mesh/weft/streams"

// Basis is how a cost is known.
type Basis string

// The bases.
const (
	Measured Basis = "measured"
	Derived  Basis = "derived" // computed from what was measured
	Assumed  Basis = "assumed"
	Fixed    Basis = "fixed" // by weft's code or defaults
)

// Cost is one figure, and where it comes from.
type Cost struct {
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Basis  Basis   `json:"basis"`
	Source string  `json:"source"`
}

// Costs is everything that Plan knows of the machine and of the servers' inner life.
type Costs struct {
	CPU    CPUCosts
	Bytes  ByteCosts
	Memory MemoryCosts
	Limits Limits
	Policy Policy
}

// CPUCosts are microseconds of one core.
type CPUCosts struct {
	RelayRequest Cost // per request, whatever is in it
	RelayEvent   Cost // per event
	Store        Cost // an own event, on one server
	SourceIn     Cost // an event taken from another region
	SourceOut    Cost // an event given to another region
	Replicate    Cost // per event and further copy in the region
	Deliver      Cost // per event and durable
	Index        Cost // per event stored, when regions are compared
	Rebuild      Cost // per id in the dedupe window, at a start
}

// ByteCosts are what an event takes beside its body, and what the disk has to do.
type ByteCosts struct {
	Stored    Cost // beside the body: subject, headers, the store's framing
	Copied    Cost // more than that in a copy from another region
	Wire      Cost // beside the body, over a link
	Transport Cost // share of TLS, TCP and IP on top of everything sent
	Guard     Cost // of the journal, for each request
	Rejects   Cost // of a tenant's refusals, at most
	RaftLog   Cost // kept by each replicated stream on each server
	WriteOne  Cost // written to disk for each byte stored, one server
	WriteRaft Cost // the same on each of three servers
	SyncOne   Cost // fsyncs per second and stream in use, one server
	SyncRaft  Cost // the same on each of three servers
	SyncEvent Cost // fsyncs per event and server of three, with sync always
}

// MemoryCosts are bytes of live heap, but for Base and Collector.
type MemoryCosts struct {
	ID        Cost // in the dedupe window
	Subject   Cost // that a stream holds events of
	Stream    Cost // of a tenant without traffic, with everything that belongs to the tenant but links
	Link      Cost // one end
	Bucket    Cost // of the repair index
	Base      Cost // resident, without load
	Collector Cost // resident by live heap
}

// Limits are rates and numbers beyond which nothing was measured, or which are advised.
type Limits struct {
	StreamOne    Cost // events stored per second by one stream, one server
	StreamRaft   Cost // the same, three servers
	StreamSynced Cost // the same, one server with sync always
	Source       Cost // events per second that one stream takes from another region
	Assets       Cost // Raft groups of one cluster
	Links        Cost // leaf connections of one server
	Dedupe       Cost // bytes of dedupe windows on one server
	RebuildTime  Cost // seconds until a server that starts serves
	Cores        Cost // of one server
	Disk         Cost // of one server, bytes
	Buckets      Cost // of one tenant's repair index
}

// Policy is what is aimed for.
type Policy struct {
	Utilisation Cost // share of the cores that is used at the peak
	DiskFill    Cost // share of the disk that the retention fills
	SpareRelays Cost // in each region
	BucketWidth Cost // seconds; repair_bucket
	IndexShare  Cost // of the time that a reader of repair indexes
	IndexCores  Cost // readers for each core
	Control     Cost // accounts, each with one stream, beside the tenants', in each region

	TenantStreams Cost // of each tenant, in each region
	Guard         Cost // streams of requests, in each region
	GuardAge      Cost // seconds
}

// Where figures come from: benchmarks by name, of this package where no other is named. deploy/docs/capacity.md has the commands.
const (
	busy       = ", two busy cores"
	byRelay    = "BenchmarkRelayCost of relay" + busy
	byStore    = "BenchmarkStore" + busy
	bySource   = "BenchmarkSource" + busy
	byMemory   = "BenchmarkMemory" + busy
	byResearch = "nats-server 2.15.2 with its client on two cores"
)

// DefaultCosts are the figures in force: the one place to change when something is measured anew.
func DefaultCosts() Costs {
	return Costs{CPU: cpuCosts(), Bytes: byteCosts(), Memory: memoryCosts(), Limits: limits(), Policy: policy()}
}

func cpuCosts() CPUCosts {
	const us = "µs"
	return CPUCosts{
		RelayRequest: Cost{180, us, Derived, "204 µs for a request of one event and 42 µs per event in one of ten, HTTP/1.1, TLS, signed, the load generator's part included: " + byRelay},
		RelayEvent:   Cost{16, us, Derived, "22.9 µs per event in a request of 100, less half of the 13.8 µs of a raw publish, which is the server's (the half is assumed); load generator included: " + byRelay},
		Store:        Cost{24.8, us, Measured, "publisher and one server together, S2, median of 3 (23.4 to 28.1; 11.8 with one header in another measurement): " + byStore},
		SourceIn:     Cost{15.9, us, Derived, "half of 31.8 µs for both ends (median of 5, 29.1 to 36.0); the half is assumed: " + bySource},
		SourceOut:    Cost{15.9, us, Derived, "the other half: " + bySource},
		Replicate:    Cost{11, us, Derived, "half of what three servers took more than one, 46.7 (40.1 to 55.0) less 24.8 µs: " + byStore},
		Deliver:      Cost{16.9, us, Measured, "server and client together, no filter, explicit acks, median of 3 (16.7 to 21.3): " + "BenchmarkDeliver" + busy},
		Index:        Cost{16.5, us, Measured, "15 to 18 µs, the server's part included: BenchmarkRepairIndex of hub, two busy cores"},
		Rebuild:      Cost{2, us, Measured, "1.7 to 2.1 s for a start with 1,000,000 ids in the window: " + byResearch},
	}
}

func byteCosts() ByteCosts {
	return ByteCosts{
		Stored:    Cost{327, "B", Measured, "731 B stored of 404 B of demo traffic with all headers of a relay and a trace: " + byStore},
		Copied:    Cost{97, "B", Measured, "828 less 731 B: " + bySource},
		Wire:      Cost{412, "B", Measured, "816 B sent of 404 B, compression off, without TLS: " + bySource},
		Transport: Cost{0.06, "share", Assumed, "headers of TLS records, TCP and IP at full segments"},
		Guard:     Cost{190, "B", Derived, "a request in a group of its own: 51 B with a tenant of 8 characters, 40 B of subject and framing, and the 97 B of a copy; 16 B in a group of hundreds"},
		Rejects:   Cost{streams.RejectsBytes, "B", Fixed, "what a tenant's REJECTS holds, when it is full"},
		RaftLog:   Cost{8e6, "B", Derived, "806 less 731 B on disk for each of 100,000 events on each of three servers: " + byStore},
		WriteOne:  Cost{1.12, "B per B", Measured, "817 of 731 B; blocks are written again when they are compressed: " + byStore},
		WriteRaft: Cost{2.05, "B per B", Measured, "1,500 of 731 B: " + byStore},
		SyncOne:   Cost{2, "per s", Measured, "30 in 16 s, sync_interval 1s: strace -f -c on " + byStore},
		SyncRaft:  Cost{7, "per s", Measured, "191 in 9 s on three servers, sync_interval 1s: strace -f -c on " + byStore},
		SyncEvent: Cost{0.0123, "per event", Measured, "3,677 for 100,000 events on three servers, 4,000 events in flight (fewer in flight, more fsyncs): strace -f -c on " + "BenchmarkStoreSynced" + busy},
	}
}

func memoryCosts() MemoryCosts {
	return MemoryCosts{
		ID:        Cost{145, "B", Measured, "1,000,000 ids of 36 characters: " + byResearch},
		Subject:   Cost{277, "B", Measured, "50,000 subjects, median of 5: " + byMemory},
		Stream:    Cost{360_000, "B", Derived, "an idle tenant in one region: account, stream, source, the hub's connection, their stacks; half of 970 KB in two regions (weft up with 100 tenants and with 2), less an end of a link. A bare server's empty stream takes 69 KB: " + byMemory},
		Link:      Cost{125_000, "B", Derived, "half of 250 KB for both ends, 1,000 links, compression off: " + byResearch + "; 106 KB without permissions: BenchmarkIdleTenant"},
		Bucket:    Cost{135, "B", Measured, "BenchmarkBuckets of streams/digest"},
		Base:      Cost{45e6, "B", Measured, "two idle regions in one process, two tenants: weft up, ps"},
		Collector: Cost{3, "B per B", Fixed, "under load garbage may be twice what is live before it is collected, at rest a quarter to a half (PaceGC of cmd/weft/internal/app)"},
	}
}

func limits() Limits {
	return Limits{
		StreamOne:    Cost{130_000, "events/s", Measured, "130,000 to 170,000, ids of 36 characters, 500 B: " + byResearch},
		StreamRaft:   Cost{31_000, "events/s", Measured, "three servers and the client on the same two cores, so a leader with cores of its own may take more: " + byResearch},
		StreamSynced: Cost{5_300, "events/s", Measured, "4,000 in flight, virtual disk: " + byResearch},
		Source:       Cost{66_000, "events/s", Measured, "66,000 to 84,000, both regions on the same two cores: " + byResearch},
		Assets:       Cost{streams.MaxAssets, "groups", Fixed, "advice of the server's maintainers"},
		Links:        Cost{1_000, "links", Measured, "most that were run on one server; adding one to 1,000 took 0.6 s: " + byResearch},
		Dedupe:       Cost{8e9, "B", Assumed, "beyond it collection and starts take long; weft measured up to 145 MB"},
		RebuildTime:  Cost{60, "s", Assumed, "how long a start may take before the window is worth cutting down"},
		Cores:        Cost{64, "cores", Assumed, "of a server that one can get"},
		Disk:         Cost{50e12, "B", Assumed, "of a server that one can get"},
		Buckets:      Cost{100_000, "buckets", Fixed, "what the index keeps (ADR 5); older events are not compared"},
	}
}

func policy() Policy {
	return Policy{
		Utilisation: Cost{0.6, "share", Assumed, "of the cores at the peak"},
		DiskFill:    Cost{0.8, "share", Assumed, "of the disk when the retention is reached"},
		SpareRelays: Cost{1, "relays", Assumed, "in each region: one may be restarted or lost"},
		BucketWidth: Cost{60, "s", Fixed, "repair_bucket, its default"},
		IndexShare:  Cost{0.5, "share", Fixed, "half of the time is left to others while it is behind (ADR 5); how long it takes is assumed to be its CPU"},
		IndexCores:  Cost{0.25, "readers/core", Fixed, "one tenant at a time on one core of four (hub/repair.go)"},
		Control:     Cost{1, "accounts", Fixed, "CONTROL, beside the tenants'"},

		TenantStreams: Cost{3, "streams", Fixed, "EVENTS, REJECTS and DLQ of a tenant"},
		Guard:         Cost{1, "streams", Fixed, "GUARD in the account CONTROL, the journal of requests (ADR 12)"},
		GuardAge:      Cost{streams.GuardAge.Seconds(), "s", Fixed, "how long GUARD keeps a request"},
	}
}

// premises are what the formulae take for granted whatever the costs are.
func premises() []string {
	return []string{
		"load is even over regions, tenants and topics",
		"cores add up: CPU per event was measured on two cores, and is the same on many",
		"a region takes over its part of one lost region's producers, and all durables of its tenants",
		"each durable reads every event of its tenant, and acknowledges each",
		"of three hub servers two carry the load; a tenant's stream is led by one",
		"disk is counted before compression; links are not compressed",
		"not counted: page cache, write buffers, retries, repair traffic, the control log's own events, the journal of requests but for its disk and syncs, dead letters, consumers' machines",
	}
}

// Assumption is a cost under its name.
type Assumption struct {
	Name string `json:"name"`
	Cost
}

// List is every cost, in the order of printing. Names are stable.
func (c *Costs) List() []Assumption {
	cpu, b, m, l, p := &c.CPU, &c.Bytes, &c.Memory, &c.Limits, &c.Policy
	return []Assumption{
		{"cpu_relay_request", cpu.RelayRequest}, {"cpu_relay_event", cpu.RelayEvent}, {"cpu_store", cpu.Store},
		{"cpu_source_in", cpu.SourceIn}, {"cpu_source_out", cpu.SourceOut}, {"cpu_replicate", cpu.Replicate},
		{"cpu_deliver", cpu.Deliver}, {"cpu_repair_index", cpu.Index}, {"cpu_dedupe_rebuild", cpu.Rebuild},
		{"bytes_stored", b.Stored}, {"bytes_copied", b.Copied}, {"bytes_wire", b.Wire}, {"bytes_transport", b.Transport},
		{"bytes_guard_request", b.Guard}, {"bytes_rejects", b.Rejects}, {"bytes_raft_log", b.RaftLog}, {"disk_write_one", b.WriteOne}, {"disk_write_raft", b.WriteRaft},
		{"fsync_stream_one", b.SyncOne}, {"fsync_stream_raft", b.SyncRaft}, {"fsync_event_raft", b.SyncEvent},
		{"memory_dedupe_id", m.ID}, {"memory_subject", m.Subject}, {"memory_stream", m.Stream}, {"memory_link", m.Link},
		{"memory_repair_bucket", m.Bucket}, {"memory_base", m.Base}, {"memory_collector", m.Collector},
		{"limit_stream_one", l.StreamOne}, {"limit_stream_raft", l.StreamRaft}, {"limit_stream_synced", l.StreamSynced},
		{"limit_source", l.Source}, {"limit_raft_assets", l.Assets}, {"limit_links", l.Links}, {"limit_dedupe", l.Dedupe},
		{"limit_rebuild", l.RebuildTime}, {"limit_cores", l.Cores}, {"limit_disk", l.Disk}, {"limit_repair_buckets", l.Buckets},
		{"aim_utilisation", p.Utilisation}, {"aim_disk_fill", p.DiskFill}, {"aim_spare_relays", p.SpareRelays},
		{"repair_bucket", p.BucketWidth}, {"repair_share", p.IndexShare}, {"repair_cores", p.IndexCores}, {"control_accounts", p.Control},
		{"tenant_streams", p.TenantStreams}, {"guard_streams", p.Guard}, {"guard_age", p.GuardAge},
	}
}
