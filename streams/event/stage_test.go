package event_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/weft-mesh/weft/streams/event"
)

// BenchmarkStageDecode is the hot path's stage from bytes to a verdict, on the input of all stages: 100 events
// of 500 bytes, one a line. One operation is one event, or a batch of all.
func BenchmarkStageDecode(b *testing.B) {
	lines, err := os.ReadFile("testdata/hundred.ndjson")
	if err != nil {
		b.Fatal(err)
	}
	one, _, _ := bytes.Cut(lines, []byte{'\n'})
	b.Run("event", func(b *testing.B) {
		b.SetBytes(int64(len(one)))
		b.ReportAllocs()
		var e event.Event
		for b.Loop() {
			if err := event.Decode(one, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
	array := bytes.ReplaceAll(bytes.TrimSpace(lines), []byte{'\n'}, []byte{','})
	array = append(append([]byte{'['}, array...), ']')
	for _, batch := range []struct {
		name   string
		body   []byte
		decode func([]byte, event.Limits, []event.Result) ([]event.Result, error)
	}{{"array100", array, event.DecodeArray}, {"lines100", lines, event.DecodeLines}} {
		b.Run(batch.name, func(b *testing.B) {
			b.SetBytes(int64(len(batch.body)))
			b.ReportAllocs()
			var results []event.Result
			for b.Loop() {
				var err error
				if results, err = batch.decode(batch.body, event.Limits{}, results[:0]); err != nil || len(results) != 100 || results[99].Err != nil {
					b.Fatal(len(results), err)
				}
			}
		})
	}
}
