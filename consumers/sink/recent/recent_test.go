package recent_test

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/consumers/sink/recent"
	"github.com/weft-mesh/weft/streams/subject"
)

var eu = subject.Origin{Region: "eu", Epoch: 1}

func TestMatches(t *testing.T) {
	s := recent.NewSet(10)
	s.Add("e-1", recent.Position{Origin: eu, Seq: 7}, 42)
	for name, c := range map[string]struct {
		id    string
		at    recent.Position
		match recent.Match
		where uint64
	}{
		"delivered again":   {"e-1", recent.Position{Origin: eu, Seq: 7}, recent.Again, 42},
		"later in a stream": {"e-1", recent.Position{Origin: eu, Seq: 8}, recent.Other, 42},
		"another epoch":     {"e-1", recent.Position{Origin: eu.Next(), Seq: 7}, recent.Other, 42},
		"another id":        {"e-2", recent.Position{Origin: eu, Seq: 7}, recent.New, 0},
		"derived":           {"e-1~v2", recent.Position{Origin: eu, Seq: 7}, recent.New, 0},
	} {
		if match, where := s.Find(c.id, c.at); match != c.match || where != c.where {
			t.Errorf("%s: %d at %d", name, match, where)
		}
	}
}

// The last ones are remembered however many came, and memory is bounded.
func TestRemembersTheLast(t *testing.T) {
	const atLeast = 100
	s := recent.NewSet(atLeast)
	for n := range uint64(1050) {
		s.Add(fmt.Sprint(n), recent.Position{Origin: eu, Seq: n}, n)
		if s.Len() > 2*atLeast {
			t.Fatalf("%d are remembered after %d", s.Len(), n+1)
		}
		for back := range min(n+1, atLeast) {
			if match, where := s.Find(fmt.Sprint(n-back), recent.Position{Origin: eu, Seq: n - back}); match != recent.Again || where != n-back {
				t.Fatalf("after %d: %d is %d at %d", n+1, n-back, match, where)
			}
		}
	}
	if match, _ := s.Find("3", recent.Position{Origin: eu, Seq: 3}); match != recent.New {
		t.Error("what is long gone is still known")
	}
}
