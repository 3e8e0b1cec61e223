package report

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// full is a report in which everything was measured.
func full() *Report {
	r := &Report{
		Scenario: "ingest",
		Title:    "events accepted over HTTP, held by three regions",
		Mesh:     "3 regions, 1 server each, leaf links, quorum acknowledgement",
		Load:     "512 B events, batches of 64, 16 connections",
		Baseline: "publish to a bare stream",
		Machine:  "2 cores, linux/amd64",
		Commit:   "0123abc",
		Began:    time.Date(2026, 3, 1, 13, 0, 0, 0, time.FixedZone("CET", 3600)),
		Took:     192*time.Second + 345678*time.Microsecond,
		Summary: Summary{
			AcceptedPerSecond: 41230.4, BaselinePerSecond: 50119.6, Ratio: 0.82344, RatioLow: 0.7911, RatioHigh: 0.8512,
			OfferedPerSecond: 28861.2, P50: 2.13149, P95: 5.02, P99: 9.4137, BaselineP50: 1.2, BaselineP95: 2.5, BaselineP99: 4.75,
			Errors: 1, Lost: 1234, Duplicated: 2, Reordered: 0, CPUPerEvent: 12.13049, RSS: 512.44,
		},
		Rounds: []Round{
			{PerSecond: 41230.4, Baseline: 50119.6, Ratio: 0.82264, CPUPerEvent: 12.13, BaselineCPU: 9.31},
			{PerSecond: 40100, Baseline: 50690, Ratio: 0.79108, CPUPerEvent: 12.6, BaselineCPU: 10.2},
			{PerSecond: 42000, Baseline: 49342, Ratio: 0.85120, CPUPerEvent: 11.9, BaselineCPU: 9.1},
		},
		Latency: []Point{{0, 1.1}, {50, 2.13}, {90, 4}, {99, 9.41}, {99.9, 40}, {100, 180}},
		Curves: []Curve{
			{Name: "CPU per event over tenants", X: "tenants", Y: "µs per event", LogX: true, Points: []Point{{1, 11.9}, {100, 12.25}, {10000, 24.8}}},
			{Name: "Start over stored events", X: "events, millions", Y: "s until ready", Points: []Point{{0.5, 0.21}, {2, 0.5234567}, {8, 2.3}}},
		},
		Notes: []string{"Load and mesh share both cores.", "A note <of> a tenant & others that is long enough to be wrapped because it goes on for more than one line of a terminal."},
	}
	for i := range 30 {
		s := Sample{At: float64(i), Phase: "closed", PerSecond: 40000 + 10*float64(i), Cores: 1.5, RSS: 500}
		if i >= 20 {
			s.Phase, s.P50, s.P95, s.P99 = "open", 2, 5, 9
		}
		r.Series = append(r.Series, s)
	}
	return r
}

// forms are the ways to show a report.
func forms(r *Report) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{"json": r.WriteJSON, "text": r.WriteText, "html": r.WriteHTML}
}

func written(t *testing.T, write func(io.Writer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (go test -update writes it):\n%s", path, got)
	}
}

// filled sets every float of a value, so that a new field cannot be forgotten.
func filled(v reflect.Value, f float64) {
	switch v.Kind() {
	case reflect.Float64:
		v.SetFloat(f)
	case reflect.Pointer:
		filled(v.Elem(), f)
	case reflect.Slice:
		for i := range v.Len() {
			filled(v.Index(i), f)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			filled(v.Field(i), f)
		}
	}
}

// monsters are numbers that a measurement may yield and that break naive rendering.
func monsters() map[string]float64 {
	return map[string]float64{
		"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1), "zero": 0, "negative": -1,
		"largest": math.MaxFloat64, "least": -math.MaxFloat64, "smallest": math.SmallestNonzeroFloat64,
	}
}

type broken struct{}

var errBroken = errors.New("broken pipe")

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrors(t *testing.T) {
	for name, write := range forms(full()) {
		if err := write(broken{}); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A writer renders: it must not change what it renders, for all three run on one report.
func TestReportIsLeftAlone(t *testing.T) {
	r := full()
	r.Latency[0], r.Latency[1] = r.Latency[1], r.Latency[0]
	for name, write := range forms(r) {
		written(t, write)
		want := full()
		want.Latency[0], want.Latency[1] = want.Latency[1], want.Latency[0]
		if !reflect.DeepEqual(r, want) {
			t.Fatalf("%s changed the report", name)
		}
	}
}
