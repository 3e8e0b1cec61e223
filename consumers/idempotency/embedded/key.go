package embedded

import (
	"encoding/binary"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// The first byte of a key says what it is. Numbers are big-endian, so that keys sort as they do; texts that are
// followed by something end with a NUL, which none of them holds.
const (
	spaceVersion    = 'v' // → layout
	spaceName       = 'n' // → the store's name
	spaceGeneration = 'g' // number → when it was opened (unix ns), how many marks it has
	spaceID         = 'i' // generation, event id → digest
	spacePlace      = 'p' // generation, source, user, epoch, seq → digest, event id
	spaceFence      = 'f' // durable → epoch
	spaceUser       = 'u' // the effects' own
)

const layout = 1

func number(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }

func text(b []byte, s string) []byte { return append(append(b, s...), 0) }

func generationKey(n uint64) []byte { return number([]byte{spaceGeneration}, n) }

func idKey(b []byte, generation uint64, id string) []byte {
	return append(number(append(b[:0], spaceID), generation), id...)
}

// countKey begins the keys of all places of a source's user.
func countKey(b []byte, generation uint64, source, user string) []byte {
	return text(text(number(append(b[:0], spacePlace), generation), source), user)
}

func placeKey(b []byte, generation uint64, p *idempotency.Place) []byte {
	return number(number(countKey(b, generation, p.Source, p.UserID), p.Epoch), p.Seq)
}

func fenceKey(durable string) []byte { return append([]byte{spaceFence}, durable...) }

func userKey(key []byte) []byte { return append([]byte{spaceUser}, key...) }

// after is the first key behind all that begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
