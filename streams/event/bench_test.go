package event_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/weft-mesh/weft/streams/event"
)

// reference is a bet as a gaming brand sends it: 454 bytes.
func reference(tb testing.TB) []byte {
	tb.Helper()
	raw, err := os.ReadFile("testdata/reference.json")
	if raw = bytes.TrimSpace(raw); err != nil || len(raw) != 454 {
		tb.Fatal(len(raw), err)
	}
	return raw
}

// hundred is an array of 100 of it.
func hundred(tb testing.TB) []byte {
	body := append([]byte{'['}, bytes.Repeat(append(reference(tb), ','), 100)...)
	body[len(body)-1] = ']'
	return body
}

func BenchmarkDecode(b *testing.B) {
	raw := reference(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var e event.Event
	for b.Loop() {
		if err := event.Decode(raw, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeArray100(b *testing.B) {
	body := hundred(b)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var results []event.Result
	for b.Loop() {
		var err error
		if results, err = event.DecodeArray(body, event.Limits{}, results[:0]); err != nil || len(results) != 100 {
			b.Fatal(len(results), err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	raw := reference(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.Digest(raw); err != nil {
			b.Fatal(err)
		}
	}
}
