package guard

import (
	"crypto/sha256"
	"encoding/binary"
)

// Key is what makes two requests one: the same in every relay of every region and after a restart. It is a
// hash, so that what is journaled tells nobody a request id.
type Key [16]byte

// KeyOf is the key of a request that was signed with a scheme and a kid and is told from others by id. None of
// the three may hold a line break; their grammars see to it.
func KeyOf(scheme, kid, id string) Key {
	var line [256]byte
	b := append(line[:0], scheme...)
	b = append(append(b, '\n'), kid...)
	b = append(append(b, '\n'), id...)
	sum := sha256.Sum256(b)
	k := Key(sum[:16])
	if k == (Key{}) {
		k[0] = 1 // the zero key marks an empty slot
	}
	return k
}

// scatter spreads keys over the slots of tables. Its two numbers are the process's own, so that nobody can choose
// request ids that all fall into one place.
type scatter struct{ xor, odd uint64 }

func (s scatter) of(k *Key) uint64 {
	return (binary.LittleEndian.Uint64(k[:8]) ^ s.xor) * s.odd
}
