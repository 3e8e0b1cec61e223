package capacity

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Acks of a Workload: what an answer promises.
const (
	AckStored = "stored"
	AckSynced = "stored-fsync"
	AckRemote = "remote"
)

const day = 24 * time.Hour

// Span is a duration that may be written in days.
type Span time.Duration

// String is whole days ("7d"), else what time.Duration writes.
func (s Span) String() string {
	if d := time.Duration(s); d < day || d%day != 0 {
		return d.String()
	}
	return strconv.FormatInt(int64(s)/int64(day), 10) + "d"
}

// MarshalText writes what String says.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a duration such as 90s or 12h, or days such as 7d.
func (s *Span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if days, ok := strings.CutSuffix(string(text), "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16) // that many days fit
		d = time.Duration(n) * day               //nolint:gosec // 16 bits
	}
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s, 12h or 7d", text)
	}
	*s = Span(d)
	return nil
}

// Partitions is how many a stream has; it is part of the wire.
const Partitions = 64

// Workload is what a mesh has to carry. Regions, tenants and topics share it evenly.
type Workload struct {
	Rate       float64 `json:"rate_per_s"`  // events that all regions accept together, on average
	Regions    int     `json:"regions"`     // active ones
	Tenants    int     `json:"tenants"`     // each in every region
	EventBytes int64   `json:"event_bytes"` // of an event's body
	Retention  Span    `json:"retention"`   // of every topic
	Dedupe     Span    `json:"dedupe"`      // window
	Servers    int     `json:"servers"`     // hub servers of a region: 1 or 3
	Durables   int     `json:"durables"`    // of each tenant, each reading all of its events, in one region at a time
	Batch      int     `json:"batch"`       // events in a request
	Topics     int     `json:"topics"`      // of each tenant, each with one event type
	Peak       float64 `json:"peak"`        // highest rate by the average one
	CatchUp    float64 `json:"catch_up"`    // rate at which a link may catch up, by the average one
	Regional   float64 `json:"regional"`    // share of the events that stay in their region
	RelayCores int     `json:"relay_cores"` // of one relay
	Ack        string  `json:"ack"`         // AckStored, AckSynced or AckRemote
}

// DefaultWorkload is everything but the rate.
func DefaultWorkload() Workload {
	return Workload{
		Regions: 2, Tenants: 20, EventBytes: 800, Retention: Span(7 * day), Dedupe: Span(2 * time.Minute), Servers: 3, Durables: 5,
		Batch: 100, Topics: 10, Peak: 2, CatchUp: 2, RelayCores: 4, Ack: AckStored,
	}
}

// Acks are the values of Workload.Ack.
func Acks() []string { return []string{AckStored, AckSynced, AckRemote} }

// Validate names the first flag of the plan verb whose value makes no sense.
func (w *Workload) Validate() error {
	for _, f := range []struct {
		flag      string
		value     float64
		low, high float64
		text      func(float64) string
	}{
		{"rate", w.Rate, 1, 1e9, number},
		{"regions", float64(w.Regions), 1, 100, number},
		{"tenants", float64(w.Tenants), 1, 1e6, number},
		{"event-bytes", float64(w.EventBytes), 1, 8 << 20, number},
		{"retention", float64(w.Retention), float64(time.Minute), float64(3660 * day), span},
		{"dedupe", float64(w.Dedupe), float64(time.Second), float64(day), span},
		{"durables", float64(w.Durables), 0, 10_000, number},
		{"batch", float64(w.Batch), 1, 10_000, number},
		{"topics", float64(w.Topics), 1, 10_000, number},
		{"peak", w.Peak, 1, 100, number},
		{"catch-up", w.CatchUp, 1, 100, number},
		{"regional", w.Regional, 0, 1, number},
		{"relay-cores", float64(w.RelayCores), 1, 256, number},
	} {
		if !(f.value >= f.low && f.value <= f.high) { // NaN too
			return fmt.Errorf("--%s %s is not between %s and %s", f.flag, f.text(f.value), f.text(f.low), f.text(f.high))
		}
	}
	switch {
	case w.Servers != 1 && w.Servers != 3:
		return fmt.Errorf("--servers %d is neither 1 nor 3", w.Servers)
	case !slices.Contains(Acks(), w.Ack):
		return fmt.Errorf("--ack %q is not one of %s", w.Ack, strings.Join(Acks(), ", "))
	case w.Ack == AckRemote && w.Regions < 2:
		return fmt.Errorf("--ack remote needs a second region: --regions is %d", w.Regions)
	case w.Ack == AckRemote && w.Regional > 0:
		return fmt.Errorf("--ack remote needs events that replicate: --regional is %g", w.Regional)
	}
	return nil
}

func number(f float64) string {
	if f == float64(int64(f)) {
		return fmt.Sprint(int64(f))
	}
	return fmt.Sprint(f)
}

func span(f float64) string { return Span(f).String() }
