package embedded

import "github.com/cockroachdb/pebble/v2"

// BreakCommit makes the next commit fail: after it was persisted, or before.
func (s *Store) BreakCommit(persist bool, err error) {
	s.commit = func(b *pebble.Batch) error {
		s.commit = func(b *pebble.Batch) error { return b.Commit(pebble.Sync) }
		if persist {
			if err := b.Commit(pebble.Sync); err != nil {
				return err
			}
		}
		return err
	}
}
