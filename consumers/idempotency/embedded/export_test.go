package embedded

import "github.com/cockroachdb/pebble/v2"

// AroundCommit lets a test do things before and after each commit.
func (s *Store) AroundCommit(around func(commit func() error) error) {
	s.commit = func(b *pebble.Batch) error {
		return around(func() error { return b.Commit(pebble.Sync) })
	}
}

// BreakCommit makes the next commit fail: after it was persisted, or before.
func (s *Store) BreakCommit(persist bool, err error) {
	broken := false
	s.AroundCommit(func(commit func() error) error {
		switch {
		case broken:
			return commit()
		case persist:
			if err := commit(); err != nil {
				return err
			}
		}
		broken = true
		return err
	})
}

// Piece sets how many keys are learned with each batch.
func (s *Store) Piece(n int) { s.piece = n }
