package capacity

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func load(change func(*Workload)) Workload {
	w := DefaultWorkload()
	w.Rate = 1000
	change(&w)
	return w
}

// failer is a testing.T or a rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func mustPlan(t failer, w Workload) *Result {
	t.Helper()
	r, err := Plan(w, DefaultCosts())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// exact are costs that can be checked by hand.
func exact() Costs {
	c := DefaultCosts()
	for _, set := range []struct {
		cost  *Cost
		value float64
	}{
		{&c.CPU.RelayRequest, 100}, {&c.CPU.RelayEvent, 9}, {&c.CPU.Store, 10}, {&c.CPU.SourceIn, 20}, {&c.CPU.SourceOut, 30},
		{&c.CPU.Replicate, 5}, {&c.CPU.Deliver, 10}, {&c.CPU.Index, 100}, {&c.CPU.Rebuild, 2}, {&c.Bytes.Stored, 200}, {&c.Bytes.Copied, 100},
		{&c.Bytes.Wire, 450}, {&c.Bytes.Transport, 0}, {&c.Bytes.RaftLog, 1e6}, {&c.Bytes.Guard, 100}, {&c.Bytes.Rejects, 1e6}, {&c.Bytes.WriteRaft, 2}, {&c.Bytes.SyncRaft, 7}, {&c.Bytes.SyncEvent, 0.01},
		{&c.Memory.ID, 100}, {&c.Memory.Subject, 10}, {&c.Memory.Stream, 1000}, {&c.Memory.Link, 2000}, {&c.Memory.Bucket, 10}, {&c.Memory.Base, 0},
		{&c.Policy.Utilisation, 0.5}, {&c.Policy.DiskFill, 0.5},
	} {
		set.cost.Value = set.value
	}
	return c
}

const (
	buckets = 10 * 1440           // minutes
	second  = 105e6               // 50,000 own events of 1000 B and 50,000 copies of 1100 B
	guard   = 180e6               // 2,000 requests/s for 900 s
	beside  = guard + 10e6 + 32e6 // refusals of ten tenants, Raft logs of 32 streams
)

// worked is a plan whose figures were worked out by hand, by the formulae of deploy/docs/capacity.md.
func worked(t *testing.T) *Result {
	w := Workload{
		Rate: 100_000, Regions: 2, Tenants: 10, EventBytes: 800, Retention: Span(day), Dedupe: Span(100 * time.Second), Servers: 3, Durables: 2,
		Batch: 100, Topics: 5, Peak: 2, CatchUp: 3, RelayCores: 2, Ack: AckSynced,
	}
	r, err := Plan(w, exact())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMachines(t *testing.T) {
	r := worked(t)
	want := Result{
		Rates: Rates{Accepted: 100_000, Takeover: 200_000, Stored: 200_000, Read: 400_000},
		// 200,000/s at 10 us are 2 busy cores, 4 at half use: two relays of two, one spare.
		Relays: Relays{PerRegion: 3, Total: 6, CoresEach: 2, CoresRegion: 4, RequestsPerS: 2000, MicrosPerItem: 10, InboundBits: 1.28e9, UplinkBits: 1.6e9},
		// While it catches up a region takes 50,000/s of its own and 150,000/s copies. Half of leading (0.5 + 3 + 4.5 + 4) is 6, following
		// half of 2, the index at most 0.5: 7.5 busy cores, 15 at half use. At the peak it is 6.5.
		Hubs: Hubs{
			PerRegion: 3, Total: 6, CoresPerServer: 54, MemoryBytes: 3 * (2e9 + buckets*10 + 22_000 + 11_000 + 64_000), DiskBytes: 2 * (second*86_400 + beside),
			Work: Work{Store: 0.5, Copy: 3, Serve: 4.5, Replicate: 2, Deliver: 4, Compare: 20}, Sized: "catch_up",
		},
	}
	if r.Rates != want.Rates || r.Relays != want.Relays {
		t.Errorf("rates %+v, relays %+v", r.Rates, r.Relays)
	}
	if r.Hubs != want.Hubs {
		t.Errorf("hubs %+v\nwant %+v", r.Hubs, want.Hubs)
	}
	if want := (Memory{
		DedupeIDs: 20_000_000, DedupeBytes: 2e9, RebuildSeconds: 40, RepairBytes: buckets * 10, LinkBytes: 22_000, StreamBytes: 11_000,
		SubjectBytes: 64_000, LiveBytes: 2e9 + buckets*10 + 22_000 + 11_000 + 64_000,
	}); r.Memory != want {
		t.Errorf("memory %+v\nwant %+v", r.Memory, want)
	}
}

func TestDiskAndNetwork(t *testing.T) {
	r := worked(t)
	if want := (Disk{
		EventBytes: 1000, CopyBytes: 1100, ServerBytes: 2 * (second*86_400 + beside), RegionBytes: 6 * (second*86_400 + beside), MeshBytes: 12 * (second*86_400 + beside),
		GrowthPerDay: second * 86_400, GuardBytes: guard, RejectsBytes: 10e6, TenantBytes: second * 86_400 / 10 * 2 * 3, WriteBytesPerS: 2 * 2 * second, FsyncsPerSecond: 84 + 2000,
	}); r.Disk != want {
		t.Errorf("disk %+v\nwant %+v", r.Disk, want)
	}
	if want := (Network{
		LinkEvents: 50_000, LinkAverage: 500e6, LinkSized: 1500e6, RegionOut: 1500e6, Replication: 3.2e9, Delivery: 3.2e9, Inside: 8e9,
	}); r.Network != want {
		t.Errorf("network %+v\nwant %+v", r.Network, want)
	}
	if want := (Links{Pairs: 1, Logical: 11, Connections: 33, PerServer: 11}); r.Links != want {
		t.Errorf("links %+v", r.Links)
	}
	if want := (Raft{Streams: 32, Assets: 32, Advice: 2000, Consumers: 32, Subjects: 640}); r.Raft != want {
		t.Errorf("raft %+v", r.Raft)
	}
	if want := (CatchUp{CutSeconds: 3600, Backlog: 180_000_000, Possible: true, Seconds: 1800, LimitedBy: "link"}); r.CatchUp != want {
		t.Errorf("catch-up %+v", r.CatchUp)
	}
	if want := (Leader{TenantPerS: 20_000, Most: 31_000, LargestShare: 0.155}); r.Leader != want {
		t.Errorf("leader %+v", r.Leader)
	}
}

func TestOneRegion(t *testing.T) {
	r := mustPlan(t, load(func(w *Workload) { w.Regions = 1 }))
	if r.Links != (Links{}) || r.Network.LinkSized != 0 || r.Memory.LinkBytes != 0 || r.Memory.RepairBytes != 0 || r.CatchUp.Backlog != 0 || !r.CatchUp.Possible {
		t.Errorf("%+v %+v %+v", r.Links, r.Memory, r.CatchUp)
	}
	if r.Rates.Takeover != r.Rates.Accepted || !r.Fits {
		t.Errorf("%+v %v", r.Rates, r.Warnings)
	}
}

func TestRegionalEventsCrossNoLink(t *testing.T) {
	r := mustPlan(t, load(func(w *Workload) { w.Regional = 1 }))
	if r.Network.LinkSized != 0 || r.Rates.Accepted != 1000 || r.Rates.Stored != 2000 { // stored: when it takes over
		t.Errorf("%+v %+v", r.Network, r.Rates)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct {
		code   string
		limit  bool
		change func(*Workload)
		advice string
	}{
		{"stream_rate", true, func(w *Workload) { w.Rate, w.Tenants = 20_000, 1 }, "2 tenants or more"},
		{"stream_rate", true, func(w *Workload) { w.Rate, w.Tenants, w.Servers, w.Ack = 6_000, 2, 1, AckSynced }, "--servers 3"},
		{"source_rate", true, func(w *Workload) { w.Rate, w.Tenants, w.Servers = 70_000, 1, 1 }, "2 tenants or more"},
		{"catch_up", true, func(w *Workload) { w.CatchUp = 1 }, "--catch-up"},
		{"catch_up", true, func(w *Workload) { w.Rate, w.Tenants = 40_000, 1 }, "more tenants"},
		{"raft_assets", true, func(w *Workload) { w.Tenants = 1000 }, "2 meshes"},
		{"links", true, func(w *Workload) { w.Tenants, w.Regions = 500, 4 }, "adding a tenant"},
		{"dedupe_memory", false, func(w *Workload) { w.Rate, w.Dedupe = 10_000, Span(2*time.Hour) }, "--dedupe"},
		{"dedupe_rebuild", false, func(w *Workload) { w.Rate, w.Dedupe = 10_000, Span(2*time.Hour) }, "--dedupe"},
		{"server_cores", true, func(w *Workload) { w.Rate, w.Tenants = 300_000, 100 }, "fewer durables"},
		{"server_cores", true, func(w *Workload) { w.Rate, w.Tenants, w.Durables = 2_000_000, 200, 0 }, "several meshes"},
		{"server_disk", false, func(w *Workload) { w.Rate = 100_000 }, "--retention"},
		{"repair_rate", false, func(w *Workload) { w.Rate, w.Tenants = 40_000, 1 }, "weft_hub_drift_events"},
		{"repair_reach", false, func(w *Workload) { w.Retention = Span(90 * day) }, "repair_bucket"},
		{"one_server", false, func(w *Workload) { w.Servers = 1 }, "--servers 3"},
	} {
		r := mustPlan(t, load(test.change))
		i := slices.IndexFunc(r.Warnings, func(w Warning) bool { return w.Code == test.code })
		if i < 0 {
			t.Errorf("%s: not warned of: %v", test.code, r.Warnings)
			continue
		}
		if w := r.Warnings[i]; w.Limit != test.limit || !strings.Contains(w.Change, test.advice) || test.limit && r.Fits {
			t.Errorf("%s: %+v, fits %v", test.code, w, r.Fits)
		}
	}
	if r := mustPlan(t, load(func(*Workload) {})); len(r.Warnings) != 0 || !r.Fits {
		t.Errorf("a small load: %v", r.Warnings)
	}
}

func TestInvalidInputNamesItsFlag(t *testing.T) {
	for flag, change := range map[string]func(*Workload){
		"--rate 0":           func(w *Workload) { w.Rate = 0 },
		"--rate NaN":         func(w *Workload) { w.Rate = math.NaN() },
		"--rate +Inf":        func(w *Workload) { w.Rate = math.Inf(1) },
		"--regions 0":        func(w *Workload) { w.Regions = 0 },
		"--tenants -1":       func(w *Workload) { w.Tenants = -1 },
		"--event-bytes 0":    func(w *Workload) { w.EventBytes = 0 },
		"--retention 1s":     func(w *Workload) { w.Retention = Span(time.Second) },
		"--dedupe 2d":        func(w *Workload) { w.Dedupe = Span(2 * day) },
		"--servers 2":        func(w *Workload) { w.Servers = 2 },
		"--durables -1":      func(w *Workload) { w.Durables = -1 },
		"--batch 10001":      func(w *Workload) { w.Batch = 10_001 },
		"--topics 0":         func(w *Workload) { w.Topics = 0 },
		"--peak 0.5":         func(w *Workload) { w.Peak = 0.5 },
		"--catch-up NaN":     func(w *Workload) { w.CatchUp = math.NaN() },
		"--regional 1.5":     func(w *Workload) { w.Regional = 1.5 },
		"--relay-cores 0":    func(w *Workload) { w.RelayCores = 0 },
		`--ack "all"`:        func(w *Workload) { w.Ack = "all" },
		"--ack remote needs": func(w *Workload) { w.Ack, w.Regions = AckRemote, 1 },
		"--ack remote":       func(w *Workload) { w.Ack, w.Regional = AckRemote, 0.1 },
	} {
		if r, err := Plan(load(change), DefaultCosts()); err == nil || !strings.HasPrefix(err.Error(), flag) || r != nil {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]Span{"7d": Span(7 * day), "36h": Span(36 * time.Hour), "2m0s": Span(2 * time.Minute), "0d": 0} {
		var s Span
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: %v %v", text, s, err)
		}
	}
	for _, text := range []string{"", "d", "7", "-1d", "99999d", "1.5d", "week"} {
		if err := new(Span).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Span(rapid.Int64Range(0, int64(3660*day)).Draw(t, "span"))
		var got Span
		if err := got.UnmarshalText([]byte(s.String())); err != nil || got != s {
			t.Errorf("%s: %v %v", s, got, err)
		}
	})
}

// TestEveryCostIsListed also checks that each one says what it is and where it comes from.
func TestEveryCostIsListed(t *testing.T) {
	c := DefaultCosts()
	fields := 0
	groups := reflect.ValueOf(c)
	for i := range groups.NumField() {
		fields += groups.Field(i).NumField()
	}
	list := c.List()
	if len(list) != fields {
		t.Errorf("%d of %d costs are listed", len(list), fields)
	}
	seen := map[string]bool{}
	for _, a := range list {
		known := a.Basis == Measured || a.Basis == Derived || a.Basis == Assumed || a.Basis == Fixed
		if seen[a.Name] || a.Name == "" || !(a.Value > 0) || a.Unit == "" || a.Source == "" || !known {
			t.Errorf("%+v", a)
		}
		seen[a.Name] = true
	}
}

func genLoad(t *rapid.T) Workload {
	return Workload{
		Rate: rapid.Float64Range(1, 1e9).Draw(t, "rate"), Regions: rapid.IntRange(1, 100).Draw(t, "regions"), Tenants: rapid.IntRange(1, 1e6).Draw(t, "tenants"),
		EventBytes: rapid.Int64Range(1, 8<<20).Draw(t, "bytes"), Retention: Span(rapid.Int64Range(int64(time.Minute), int64(3660*day)).Draw(t, "retention")),
		Dedupe: Span(rapid.Int64Range(int64(time.Second), int64(day)).Draw(t, "dedupe")), Servers: rapid.SampledFrom([]int{1, 3}).Draw(t, "servers"),
		Durables: rapid.IntRange(0, 10_000).Draw(t, "durables"), Batch: rapid.IntRange(1, 10_000).Draw(t, "batch"), Topics: rapid.IntRange(1, 10_000).Draw(t, "topics"),
		Peak: rapid.Float64Range(1, 100).Draw(t, "peak"), CatchUp: rapid.Float64Range(1, 100).Draw(t, "catch-up"), Regional: rapid.Float64Range(0, 1).Draw(t, "regional"),
		RelayCores: rapid.IntRange(1, 256).Draw(t, "cores"), Ack: rapid.SampledFrom([]string{AckStored, AckSynced}).Draw(t, "ack"),
	}
}

// needs are the figures that can only grow with the load.
func needs(r *Result) map[string]float64 {
	h, m, d, n := r.Hubs, r.Memory, r.Disk, r.Network
	return map[string]float64{
		"relays": float64(r.Relays.PerRegion), "relay cores": r.Relays.CoresRegion, "servers": float64(h.Total), "cores": float64(h.CoresPerServer),
		"memory": float64(h.MemoryBytes), "disk": float64(d.ServerBytes), "tenant": float64(d.TenantBytes), "growth": float64(d.GrowthPerDay),
		"writes": float64(d.WriteBytesPerS), "fsyncs": float64(d.FsyncsPerSecond), "dedupe": float64(m.DedupeBytes), "link": float64(n.LinkSized), "inside": float64(n.Inside),
	}
}

func TestMoreNeverNeedsLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		less := genLoad(t)
		more := less
		switch rapid.SampledFrom([]string{"rate", "bytes", "retention", "dedupe", "durables", "peak", "catch-up"}).Draw(t, "more") {
		case "rate":
			more.Rate = min(1e9, less.Rate*rapid.Float64Range(1, 1000).Draw(t, "factor"))
		case "bytes":
			more.EventBytes = rapid.Int64Range(less.EventBytes, 8<<20).Draw(t, "more bytes")
		case "retention":
			more.Retention = Span(rapid.Int64Range(int64(less.Retention), int64(3660*day)).Draw(t, "longer"))
		case "dedupe":
			more.Dedupe = Span(rapid.Int64Range(int64(less.Dedupe), int64(day)).Draw(t, "longer"))
		case "durables":
			more.Durables = rapid.IntRange(less.Durables, 10_000).Draw(t, "more durables")
		case "peak":
			more.Peak = rapid.Float64Range(less.Peak, 100).Draw(t, "higher")
		case "catch-up":
			more.CatchUp = rapid.Float64Range(less.CatchUp, 100).Draw(t, "faster")
		}
		was, is := needs(mustPlan(t, less)), needs(mustPlan(t, more))
		for name, n := range was {
			if is[name] < n {
				t.Errorf("%s: %v with less, %v with more", name, n, is[name])
			}
		}
	})
}

// TestFigures holds for every valid load: JSON and back is the same, and no figure is negative or no number.
func TestFigures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := mustPlan(t, genLoad(t))
		raw, err := json.Marshal(r) // refuses NaN and Inf
		if err != nil {
			t.Fatal(err)
		}
		var back Result
		if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(*r, back) {
			t.Fatalf("%v\n%+v\n%+v", err, *r, back)
		}
		checkFigures(t, reflect.ValueOf(*r), "")
		if c := r.CatchUp; c.Possible && c.Backlog > 0 && c.Seconds <= 0 {
			t.Errorf("caught up in no time: %+v", c)
		}
	})
}

func checkFigures(t *rapid.T, v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			checkFigures(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Int64, reflect.Int:
		if v.Int() < 0 {
			t.Errorf("%s is %d", path, v.Int())
		}
	case reflect.Float64:
		if f := v.Float(); !(f >= 0) || math.IsInf(f, 0) {
			t.Errorf("%s is %v", path, f)
		}
	}
}
