// Package capacity computes what a mesh needs from what it has to carry: relays, hub servers, memory, disk, network
// and links, and which measured limits the load would pass.
//
// Only the plan verb uses it. Plan is pure: it takes a Workload and the Costs of single operations, and everything in
// it may be called from any goroutine. The costs are in costs.go and nowhere else; the benchmarks of this package
// measure those that can be measured without a mesh.
package capacity

import "math"

// Result is what a mesh needs. All regions are alike: each takes the same share of the load.
type Result struct {
	Workload    Workload     `json:"workload"`
	Fits        bool         `json:"fits"` // no measured limit is passed; warnings may advise nevertheless
	Rates       Rates        `json:"rates"`
	Relays      Relays       `json:"relays"`
	Hubs        Hubs         `json:"hubs"`
	Memory      Memory       `json:"memory"`
	Disk        Disk         `json:"disk"`
	Network     Network      `json:"network"`
	Links       Links        `json:"links"`
	Raft        Raft         `json:"raft"`
	Leader      Leader       `json:"leader"`
	CatchUp     CatchUp      `json:"catch_up"`
	Warnings    []Warning    `json:"warnings"`
	Premises    []string     `json:"premises"`    // taken for granted
	Assumptions []Assumption `json:"assumptions"` // every cost
}

// Rates are events per second in one region at the peak.
type Rates struct {
	Accepted int64 `json:"accepted_per_s"` // by its relays, all regions being up
	Takeover int64 `json:"takeover_per_s"` // by its relays when one other region is lost
	Stored   int64 `json:"stored_per_s"`   // own ones and copies, the more of both cases
	Read     int64 `json:"read_per_s"`     // by all durables
}

// Relays are what one region needs to take over its part of a lost region.
type Relays struct {
	PerRegion     int64   `json:"per_region"` // one of them spare
	Total         int64   `json:"total"`
	CoresEach     int     `json:"cores_each"`
	CoresRegion   float64 `json:"cores_region"`       // needed, at the utilisation that is aimed for
	RequestsPerS  int64   `json:"requests_per_s"`     // in a region at the peak, takeover included
	MicrosPerItem float64 `json:"cpu_us_per_event"`   // of a relay
	InboundBits   int64   `json:"inbound_bits_per_s"` // bodies from producers to the region's relays
	UplinkBits    int64   `json:"to_hubs_bits_per_s"` // from them to the hubs
}

// Hubs are the servers of one region. With three of them, two have to be able to do the work.
type Hubs struct {
	PerRegion      int    `json:"per_region"`
	Total          int    `json:"total"`
	CoresPerServer int64  `json:"cores_per_server"`
	MemoryBytes    int64  `json:"memory_bytes_per_server"` // resident: the sum of Memory with room for the collector
	DiskBytes      int64  `json:"disk_bytes_per_server"`
	Work           Work   `json:"work_cores_region"`
	Sized          string `json:"sized_by"` // peak, takeover or catch_up: the case that needs most
}

// Work is what keeps the cores of one region busy in the case that it is sized by, before utilisation and spread.
type Work struct {
	Store     float64 `json:"store"`     // own events
	Copy      float64 `json:"copy"`      // events from other regions
	Serve     float64 `json:"serve"`     // own events to other regions
	Replicate float64 `json:"replicate"` // to the other servers of the region
	Deliver   float64 `json:"deliver"`   // to durables
	Compare   float64 `json:"compare"`   // index of the repair, on the server that leads
}

// Memory is the live heap of one hub server.
type Memory struct {
	DedupeIDs      int64   `json:"dedupe_ids"`
	DedupeBytes    int64   `json:"dedupe_bytes"`
	RebuildSeconds float64 `json:"dedupe_rebuild_s"` // at each start of a server
	RepairBytes    int64   `json:"repair_index_bytes"`
	LinkBytes      int64   `json:"link_bytes"`
	StreamBytes    int64   `json:"stream_bytes"`
	SubjectBytes   int64   `json:"subject_bytes"`
	LiveBytes      int64   `json:"live_bytes"`
}

// Disk is what is kept and written. Every server of a region holds a copy of everything.
type Disk struct {
	EventBytes      int64 `json:"event_bytes"` // an own event with headers and the store's part, before compression
	CopyBytes       int64 `json:"copied_event_bytes"`
	ServerBytes     int64 `json:"server_bytes"` // with room
	RegionBytes     int64 `json:"region_bytes"`
	MeshBytes       int64 `json:"mesh_bytes"`
	GrowthPerDay    int64 `json:"growth_bytes_per_day_server"` // until the retention is reached
	GuardBytes      int64 `json:"guard_bytes_server"`          // the journal of requests, of all regions
	RejectsBytes    int64 `json:"rejects_bytes_server"`        // refusals of all tenants, at most
	TenantBytes     int64 `json:"tenant_limit_bytes_region"`   // of one tenant, all replicas counted: its --disk
	WriteBytesPerS  int64 `json:"write_bytes_per_s_server"`    // at the peak, with the Raft log
	FsyncsPerSecond int64 `json:"fsyncs_per_s_server"`
}

// Network is bits per second. A link is one direction between two regions.
type Network struct {
	LinkEvents  int64 `json:"link_events_per_s"` // average
	LinkAverage int64 `json:"link_average_bits_per_s"`
	LinkSized   int64 `json:"link_sized_bits_per_s"` // for the peak or for catching up, whichever is more
	RegionOut   int64 `json:"region_wan_bits_per_s"` // all links of a region together, each direction
	Replication int64 `json:"replication_bits_per_s"`
	Delivery    int64 `json:"delivery_bits_per_s"`
	Inside      int64 `json:"inside_bits_per_s"` // a region: relays to hubs, replication, delivery
}

// Links are leaf connections: one for each tenant, and for the control log, between two regions.
type Links struct {
	Pairs       int64 `json:"region_pairs"`
	Logical     int64 `json:"links"`       // accounts x pairs
	Connections int64 `json:"connections"` // each server of the soliciting region has its own
	PerServer   int64 `json:"per_server"`
}

// Raft is what one region's cluster carries.
type Raft struct {
	Streams   int64 `json:"streams"`
	Assets    int64 `json:"replicated_assets"`
	Advice    int64 `json:"advised_most"`
	Consumers int64 `json:"consumers"` // durables and readers of other regions: one copy each, no Raft group
	Subjects  int64 `json:"subjects_per_stream"`
}

// Leader is what one stream has to take: one server leads it, and more servers do not help.
type Leader struct {
	TenantPerS   int64   `json:"tenant_stored_per_s"`  // at the peak
	Most         int64   `json:"most_per_s"`           // measured
	LargestShare float64 `json:"largest_tenant_share"` // of the whole load, that one stream can take; at most 1
}

// CatchUp is what follows when one link was cut for an hour.
type CatchUp struct {
	CutSeconds int64   `json:"cut_s"`
	Backlog    int64   `json:"backlog_events"`
	Possible   bool    `json:"possible"`
	Seconds    float64 `json:"seconds"`    // 0 where it is not possible, or nothing replicates
	LimitedBy  string  `json:"limited_by"` // link, source or leader
}

// Warning is something that does not hold, or holds only so far.
type Warning struct {
	Code   string `json:"code"`
	Limit  bool   `json:"limit"` // a measured limit is passed: the load does not fit
	What   string `json:"what"`
	Change string `json:"change"`
}

// amount is f as a count: rounded up, and never beyond what an int64 holds.
func amount(f float64) int64 {
	switch f = math.Ceil(f); {
	case !(f > 0):
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	}
	return int64(f)
}

// tenths rounds f up to one decimal.
func tenths(f float64) float64 { return max(0, math.Ceil(f*10-1e-9)) / 10 }
