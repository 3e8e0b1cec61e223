package embedded

import (
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weft-mesh/weft/streams/fault"
)

// Tx is what an effect writes to. It sees what it wrote, and what the effects before it did. It belongs to the effect
// that it was given to, and to one goroutine.
type Tx struct{ b *pebble.Batch }

// Get returns a copy of the value of a key, false if there is none.
func (t *Tx) Get(key []byte) ([]byte, bool, error) { return read(t.b, userKey(key)) }

// Set writes a value.
func (t *Tx) Set(key, value []byte) error { return t.b.Set(userKey(key), value, nil) }

// Delete removes a key, if it is there.
func (t *Tx) Delete(key []byte) error { return t.b.Delete(userKey(key), nil) }

// Scan calls fn for the keys that begin with prefix, in their order, until it returns an error. Key and value are
// valid during the call.
func (t *Tx) Scan(prefix []byte, fn func(key, value []byte) error) error {
	return scan(t.b, userKey(prefix), func(key, value []byte) error { return fn(join(prefix, key), value) })
}

// Get returns a copy of what was committed under a key of the effects', false if there is nothing.
func (s *Store) Get(ctx context.Context, key []byte) ([]byte, bool, error) {
	if err := s.acquire(ctx); err != nil {
		return nil, false, err
	}
	defer func() { s.turn <- struct{}{} }()
	v, ok, err := read(s.db, userKey(key))
	return v, ok, fault.Wrap(opRead, fault.Unavailable, err)
}

// Scan calls fn for what was committed under keys that begin with prefix, in their order, until it returns an error.
// Nothing is applied meanwhile. Key and value are valid during the call.
func (s *Store) Scan(ctx context.Context, prefix []byte, fn func(key, value []byte) error) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer func() { s.turn <- struct{}{} }()
	return scan(s.db, userKey(prefix), func(key, value []byte) error { return fn(join(prefix, key), value) })
}

func join(prefix, rest []byte) []byte { return append(append([]byte(nil), prefix...), rest...) }

// read gets a copy of a value.
func read(r pebble.Reader, key []byte) ([]byte, bool, error) {
	v, done, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return append([]byte{}, v...), true, done.Close()
}

// scan calls fn with what follows prefix in the keys that begin with it.
func scan(r pebble.Reader, prefix []byte, fn func(rest, value []byte) error) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for it.First(); it.Valid() && err == nil; it.Next() {
		var value []byte
		if value, err = it.ValueAndErr(); err == nil {
			err = fn(it.Key()[len(prefix):], value)
		}
	}
	return errors.Join(err, it.Close())
}
