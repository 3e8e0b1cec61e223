package files

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/consumers"
)

// BenchmarkCommit writes commits of 5,000 events into one hour.
func BenchmarkCommit(b *testing.B) {
	const events = 5000
	for name, opened := range map[string]func() (store, error){
		"memory":    func() (store, error) { return newMem(), nil },
		"directory": func() (store, error) { return openDir(b.TempDir()) },
	} {
		b.Run(name, func(b *testing.B) {
			st, err := opened()
			if err != nil {
				b.Fatal(err)
			}
			o := Options{}.withDefaults()
			s, err := open(context.Background(), o, st)
			if err != nil {
				b.Fatal(err)
			}
			ms := make([]*consumers.Message, events)
			size := int64(0)
			for i := range ms {
				ms[i] = messageAt(i, noon.Add(time.Duration(i)*time.Millisecond))
				size += int64(len(ms[i].Raw))
			}
			b.SetBytes(size)
			b.ReportAllocs()
			round := 0
			for b.Loop() {
				round++
				for i, m := range ms {
					m.EventID, m.OriginSeq = fmt.Sprintf("e-%d-%d", round, i), uint64(round*events+i)
				}
				if err := s.HandleBatch(context.Background(), ms); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
		})
	}
}
