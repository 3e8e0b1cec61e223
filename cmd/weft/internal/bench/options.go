package bench

import (
	"io"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Options say what is b.measured, on what, and for how long.
type Options struct {
	Scenario string
	Span     time.Duration // of load, without start, warm-up and verification
	Rounds   int           // of weft and its baseline in alternation, at least 3

	Target  string   // data directory of a running mesh with its mesh.json; "": an own one
	Binary  string   // of weft, for the own mesh
	Dir     string   // where the own mesh keeps its data; "": a temporary directory
	Regions []string // of the own mesh
	Servers int
	Sync    string

	Batch       int     // events in one request
	Connections int     // of the load generator
	EventBytes  int     // of one event
	Keys        int     // routing keys
	Rate        float64 // events per second of the open phase; 0: half of what the closed rounds reached
	Tenants     int     // of bench tenants and growth
	MostStored  int     // events that bench growth stores at most

	Logger *zap.Logger
	Say    io.Writer // progress for a person
}

// DefaultOptions are those of `weft bench`; Scenario and Binary are the caller's.
func DefaultOptions() Options {
	return Options{
		Span: 20 * time.Second, Rounds: 3, Regions: []string{"eu", "us"}, Servers: 1, Sync: "interval",
		Batch: 100, Connections: 16, EventBytes: 500, Keys: 10_000, Tenants: 100, MostStored: 1_000_000,
		Logger: zap.NewNop(), Say: io.Discard,
	}
}

// minEventBytes is what the members of a bench event take without padding.
const minEventBytes = 200

func (o *Options) validate() error {
	bad := func(code, format string, args ...any) error {
		return fault.New("bench", fault.Invalid, code, format, args...)
	}
	_, known := find(o.Scenario)
	switch {
	case !known:
		return bad("scenario", "there is no scenario %q", o.Scenario)
	case o.Span < 3*time.Second:
		return bad("seconds", "%s is too short to measure anything: at least 3 s", o.Span)
	case o.Rounds < 3:
		return bad("rounds", "%d rounds show no spread: at least 3", o.Rounds)
	case o.Batch < 1 || o.Batch > 1000:
		return bad("batch", "a request carries 1 to 1000 events, not %d", o.Batch)
	case o.Connections < 1 || o.Connections > 1024:
		return bad("connections", "%d connections: 1 to 1024", o.Connections)
	case o.EventBytes < minEventBytes || o.EventBytes > 256<<10:
		return bad("event_bytes", "an event has %d bytes to 256 KiB, not %d", minEventBytes, o.EventBytes)
	case o.Keys < o.Connections:
		return bad("keys", "%d keys for %d connections: each needs one of its own", o.Keys, o.Connections)
	case o.Rate < 0:
		return bad("rate", "a rate is not negative")
	case len(o.Regions) < 1:
		return bad("regions", "name at least one region")
	}
	return nil
}

func machine() string {
	return plural(runtime.NumCPU(), "core") + ", " + runtime.GOOS + "/" + runtime.GOARCH + ", " + runtime.Version()
}
