package postgres

import "time"

// Today sets the day by which generations are opened.
func (s *Store) Today(today func() time.Time) {
	s.today = func(time.Time) time.Time { return today() }
}

// Fewest sets how many marks are worth a COPY.
func (s *Store) Fewest(n int) { s.fewest = n }

// Piece sets how many marks are learned after a batch.
func (s *Store) Piece(n int) { s.piece = n }
