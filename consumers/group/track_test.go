package group

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/subject"
)

var (
	eu1 = subject.Origin{Region: "eu", Epoch: 1}
	us1 = subject.Origin{Region: "us", Epoch: 1}
	us2 = subject.Origin{Region: "us", Epoch: 2}
)

func message(seq uint64, o subject.Origin, originSeq uint64) *consumers.Message {
	return &consumers.Message{Sequence: seq, Origin: o, OriginSeq: originSeq, EventID: fmt.Sprint("e", seq), Subject: subject.Event{Origin: o, Scope: subject.Global}}
}

// TestTrackerNeverPassesWhatIsOpen: in whatever order events settle and positions are taken, the position of each origin is that
// of the last event before the first one that is open, or one from before; and in the end it is that of the last event.
func TestTrackerNeverPassesWhatIsOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := newTracker("d", eu1)
		var all, open []*consumers.Message
		counts := map[subject.Origin]uint64{}
		at, done := map[subject.Origin]uint64{}, map[uint64]bool{}
		take := func() {
			ps := tr.take()
			if rapid.IntRange(0, 4).Draw(t, "lost") == 0 {
				tr.giveBack(ps)
				return
			}
			for _, p := range ps {
				if p.Seq < at[p.Origin] {
					t.Fatalf("position of %s went from %d back to %d", p.Origin, at[p.Origin], p.Seq)
				}
				at[p.Origin] = p.Seq
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0, 1:
				o := rapid.SampledFrom([]subject.Origin{eu1, us1}).Draw(t, "origin")
				counts[o] += rapid.Uint64Range(1, 3).Draw(t, "gap")
				m := message(uint64(len(all)+1), o, counts[o])
				all, open = append(all, m), append(open, m)
				tr.Arrived(m)
			case 2, 3:
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "settle")
					tr.Settled(open[i])
					done[open[i].Sequence] = true
					open = slices.Delete(open, i, i+1)
				}
			case 4: // an acknowledgement was lost, or its time ran out
				if len(all) > 0 {
					m := rapid.SampledFrom(all).Draw(t, "again")
					tr.Arrived(m)
					if !slices.Contains(open, m) {
						open = append(open, m)
					}
				}
			default:
				take()
			}
			for _, m := range all {
				if !done[m.Sequence] && at[m.Origin] >= m.OriginSeq {
					t.Fatalf("position of %s is %d, event %d was never settled", m.Origin, at[m.Origin], m.OriginSeq)
				}
			}
			if len(tr.by) > len(open) {
				t.Fatalf("%d are kept, %d are open", len(tr.by), len(open))
			}
		}
		for _, m := range open {
			tr.Settled(m)
		}
		for _, p := range tr.take() {
			at[p.Origin] = p.Seq
		}
		for o, n := range counts {
			if at[o] != n {
				t.Fatalf("all of %s is settled up to %d, the position is %d", o, n, at[o])
			}
		}
	})
}
