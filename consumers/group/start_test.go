package group

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// shelf is what a region stores, as events.
type shelf struct {
	first uint64
	all   []onShelf // by sequence, gaps left out
}

type onShelf struct {
	stored
	of stream
}

func (s *shelf) bounds(context.Context) (uint64, uint64, error) {
	if len(s.all) == 0 {
		return s.first, s.first - 1, nil
	}
	return s.first, s.all[len(s.all)-1].seq, nil
}

func (s *shelf) next(_ context.Context, filter string, from uint64) (stored, bool, error) {
	for _, e := range s.all {
		if e.seq >= from && filterOf(e.of) == filter {
			return e.stored, true, nil
		}
	}
	return stored{}, false, nil
}

func (s *shelf) latest(_ context.Context, filter string) (last stored, ok bool, err error) {
	for _, e := range s.all {
		if filterOf(e.of) == filter {
			last, ok = e.stored, true
		}
	}
	return last, ok, nil
}

func (s *shelf) find(_ context.Context, filter, id string) (stored, bool, error) {
	for _, e := range s.all {
		if filterOf(e.of) == filter && e.id == id {
			return e.stored, true, nil
		}
	}
	return stored{}, false, nil
}

// store puts an event on the shelf. Copies of a region's own earlier epoch have the peer's sequences.
func (s *shelf) store(home subject.Origin, of stream, originSeq uint64, gap uint64) {
	last := s.first - 1
	if n := len(s.all); n > 0 {
		last = s.all[n-1].seq
	}
	e := onShelf{stored{seq: last + 1 + gap, originSeq: originSeq, id: fmt.Sprint(of.origin, of.scope, originSeq)}, of}
	if of.origin == home {
		e.originSeq = e.seq
	} else if recopied(home, of.origin) {
		e.originSeq = originSeq + 1_000_000
	}
	s.all = append(s.all, e)
}

// TestLocateLeavesNothingOutAndRepeatsNothing: whatever a region stores in whatever order of the origins, and wherever the
// group has come to, it goes on with exactly what is after its positions.
func TestLocateLeavesNothingOutAndRepeatsNothing(t *testing.T) {
	eu2 := eu1.Next()
	in := []stream{{eu2, subject.Global}, {eu2, subject.Regional}, {us1, subject.Global}, {eu1, subject.Global}}
	rapid.Check(t, func(t *rapid.T) {
		s := &shelf{first: rapid.Uint64Range(1, 20).Draw(t, "first")}
		counts := map[stream]uint64{}
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			of := rapid.SampledFrom(in).Draw(t, "of")
			counts[of] += rapid.Uint64Range(1, 3).Draw(t, "step")
			s.store(eu2, of, counts[of], rapid.Uint64Range(0, 2).Draw(t, "gap"))
		}
		var at []Position
		passed := map[stream]uint64{} // local sequence of what was reached
		for _, of := range in {
			var of1 []onShelf
			for _, e := range s.all {
				if e.of == of {
					of1 = append(of1, e)
				}
			}
			if len(of1) == 0 || rapid.Bool().Draw(t, "never seen") {
				continue
			}
			e := rapid.SampledFrom(of1).Draw(t, "reached")
			passed[of] = e.seq
			p := Position{Durable: "d", Origin: of.origin, Scope: of.scope, Seq: e.originSeq, EventID: e.id}
			if recopied(eu2, of.origin) {
				p.Seq = rapid.SampledFrom([]uint64{0, e.originSeq - 1_000_000}).Draw(t, "seq")
			}
			at = append(at, p)
		}
		got, err := locate(t.Context(), s, eu2, in, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range s.all {
			if handled := e.seq >= got.resume && e.seq >= got.first[e.of]; handled != (e.seq > passed[e.of]) {
				t.Fatalf("event %d of %v: handled %v, reached %d, resume %d, first %v", e.seq, e.of, handled, passed[e.of], got.resume, got.first)
			}
		}
		if n := len(s.all); n > 0 && got.resume > s.all[n-1].seq+1 {
			t.Fatalf("resume %d is beyond the next event", got.resume)
		}
	})
}

// TestLocateRefusesToGuess: a group that had come to an event that the region does not hold is not let go on from anywhere.
func TestLocateRefusesToGuess(t *testing.T) {
	eu2 := eu1.Next()
	s := &shelf{first: 1}
	s.store(eu2, stream{eu1, subject.Global}, 5, 0)
	at := []Position{{Durable: "d", Origin: eu1, Scope: subject.Global, Seq: 4, EventID: "gone"}}
	in := streamsIn(eu2, nil, at)
	if _, err := locate(t.Context(), s, eu2, in, at); fault.CodeOf(err) != CodePositionUnknown {
		t.Errorf("got %v", err)
	}
	s.all = nil
	if got, err := locate(t.Context(), s, eu2, in, at); err != nil || got.resume != 1 {
		t.Errorf("with nothing of that origin there is nothing to guess: %+v, %v", got, err)
	}
}

// TestSeed: what a group starts behind counts as dealt with, in every region.
func TestSeed(t *testing.T) {
	s := &shelf{first: 1}
	g, l, us := stream{eu1, subject.Global}, stream{eu1, subject.Regional}, stream{us1, subject.Global}
	for _, of := range []stream{g, us, g, l, us} { // 1 … 5
		s.store(eu1, of, 10+uint64(len(s.all)), 0)
	}
	for from, want := range map[uint64]map[stream]uint64{
		1: {g: 0, l: 3, us: 10}, // its first event here is 11 there
		3: {g: 2, l: 3, us: 13},
		6: {g: 3, l: 4, us: 14},
	} {
		ps, err := seed(t.Context(), s, "d", streamsIn(eu1, []subject.Origin{us1}, nil), from)
		if err != nil {
			t.Fatal(err)
		}
		got := map[stream]uint64{}
		for _, p := range ps {
			got[stream{p.Origin, p.Scope}] = p.Seq
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("from %d: %v, want %v", from, got, want)
		}
	}
}

func TestStreamsIn(t *testing.T) {
	at := []Position{{Origin: us2, Scope: subject.Global}}
	got := map[stream]bool{}
	for _, s := range streamsIn(eu1.Next(), []subject.Origin{us1}, at) {
		got[s] = true
	}
	want := []stream{{eu1, 'g'}, {eu1, 'l'}, {eu1.Next(), 'g'}, {eu1.Next(), 'l'}, {us1, 'g'}, {us2, 'g'}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for _, s := range want {
		if !got[s] {
			t.Errorf("%v is missing", s)
		}
	}
}
