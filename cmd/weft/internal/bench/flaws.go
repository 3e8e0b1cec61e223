package bench

import (
	"bytes"
	"math/rand/v2"
	"time"
)

// flaws are what goes wrong with a producer's requests in the reference load. They belong to one sender.
type flaws struct {
	dice *rand.Rand
	// what was sent wrong on purpose, and what of it was not answered as it must be
	signatures, events, repeated, misjudged int
}

func newFlaws(seed uint64) *flaws {
	return &flaws{dice: rand.New(rand.NewPCG(seed, 4))} //nolint:gosec // repeatable on purpose
}

func (f *flaws) happens(share float64) bool { return f.dice.Float64() < share }

// before sends a copy of the request with a broken signature, which has to be refused, when it is time for one.
func (f *flaws) before(s *sender, kind string, now time.Time) {
	if !f.happens(badSignatures) {
		return
	}
	f.signatures++
	if status, answer, err := s.wire.post(s.body, kind, now, true); err == nil && (status != 401 || !bytes.Contains(answer, []byte(`"signature_invalid"`))) {
		f.misjudged++
	}
}

// after sends the request again, whose events have to be told as duplicates.
func (f *flaws) after(s *sender, kind string, now time.Time) {
	if !f.happens(repeats) {
		return
	}
	f.repeated++
	if status, answer, err := s.wire.post(s.body, kind, now, false); err == nil && (status != 200 && status != 202 || !bytes.Contains(answer, []byte(`duplicate`))) {
		f.misjudged++
	}
}

// spoil gives some events of a batch a version that no event may have.
func (f *flaws) spoil(lines []byte) {
	const good, bad = `"schema_version":"1.2.0"`, `"schema_version":"1.2.x"`
	for at := 0; at < len(lines); {
		i := bytes.Index(lines[at:], []byte(good))
		if i < 0 {
			return
		}
		if f.happens(badEvents) {
			copy(lines[at+i:], bad)
			f.events++
		}
		at += i + len(good)
	}
}
