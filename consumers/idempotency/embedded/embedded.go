package embedded

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	opOpen  = "idempotency.embedded.open"
	opApply = "idempotency.embedded.apply"
	opRead  = "idempotency.embedded.read"
)

// parts is how many generations a horizon has. One more is kept: the last one before a standstill may have been short.
const parts, kept = 3, 4

// Store is an idempotency.Store in a directory.
type Store struct {
	o      Options
	db     *pebble.DB
	commit func(*pebble.Batch) error
	piece  int           // keys that are learned with each batch
	turn   chan struct{} // holds a token while nobody applies; what follows belongs to who took it

	name        string
	closed      bool
	generations []generation // the newest one first
	known       map[uint64]*known
	marks       int
}

// generation is a part of the marks.
type generation struct {
	n      uint64
	opened time.Time
	marks  int
}

var _ idempotency.Store[*Tx] = (*Store)(nil)

// Open opens the store in a directory, or makes it. It fails with kind Conflict while another process has it open.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := makeDir(o.FS, o.Dir); err != nil {
		return nil, fault.Wrap(opOpen, fault.Unavailable, err)
	}
	po := &pebble.Options{
		FS: o.FS, Logger: logger{o.Logger}, MemTableSize: 16 << 20, CacheSize: 64 << 20,
		FormatMajorVersion: pebble.FormatNewest,
	}
	for i := range po.Levels {
		po.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most look-ups are for what is not there
	}
	db, err := pebble.Open(o.Dir, po)
	if err != nil {
		return nil, openFault(o.Dir, err)
	}
	s := &Store{o: o, db: db, piece: piece, turn: make(chan struct{}, 1)}
	s.commit = func(b *pebble.Batch) error { return b.Commit(pebble.Sync) }
	if err := errors.Join(s.load(), s.loadName()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.turn <- struct{}{}
	return s, nil
}

// makeDir makes a directory that is still there after a power loss, which pebble sees to within it.
func makeDir(fs vfs.FS, dir string) error {
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for {
		parent := fs.PathDir(dir)
		if parent == dir {
			return nil
		}
		d, err := fs.OpenDir(parent)
		if err != nil {
			return nil //nolint:nilerr // what we may not even read is not of our making
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
		dir = parent
	}
}

func openFault(dir string, err error) error {
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || err.Error() == "lock held by current process" {
		return fault.New(opOpen, fault.Conflict, "store_in_use", "%s is open in another process, or not ours: a store has one process (%v)", dir, err)
	}
	return fault.Wrap(opOpen, fault.Unavailable, err)
}

// load reads which generations there are.
func (s *Store) load() error {
	version, ok, err := read(s.db, []byte{spaceVersion})
	switch {
	case err != nil:
		return fault.Wrap(opOpen, fault.Unavailable, err)
	case !ok:
		if err := s.db.Set([]byte{spaceVersion}, []byte{layout}, pebble.Sync); err != nil {
			return fault.Wrap(opOpen, fault.Unavailable, err)
		}
	case len(version) != 1 || version[0] != layout:
		return fault.New(opOpen, fault.Conflict, "newer_store", "%s has layout %v, this program knows %d: use a newer one", s.o.Dir, version, layout)
	}
	s.generations, s.marks = nil, 0
	err = scan(s.db, []byte{spaceGeneration}, func(key, value []byte) error {
		g := generation{n: binary.BigEndian.Uint64(key), opened: time.Unix(0, int64(binary.BigEndian.Uint64(value))), marks: int(binary.BigEndian.Uint64(value[8:]))} //nolint:gosec // written below
		s.generations, s.marks = append(s.generations, g), s.marks+g.marks
		return nil
	})
	slices.Reverse(s.generations)
	s.remember()
	return fault.Wrap(opOpen, fault.Unavailable, err)
}

// loadName reads the store's name, and gives it one.
func (s *Store) loadName() error {
	name, named, err := read(s.db, []byte{spaceName})
	if err == nil && !named {
		name = []byte(rand.Text())
		err = s.db.Set([]byte{spaceName}, name, pebble.Sync)
	}
	s.name = string(name)
	return fault.Wrap(opOpen, fault.Unavailable, err)
}

// put writes what is known of a generation.
func (g generation) put(b *pebble.Batch) error {
	value := number(number(nil, uint64(g.opened.UnixNano())), uint64(g.marks)) //nolint:gosec // read back as it was
	return b.Set(generationKey(g.n), value, nil)
}

// roll opens the next generation if it is due, and drops those beyond the horizon. A clock that went back makes it
// due as well: marks would never expire otherwise.
func (s *Store) roll() error {
	now := s.o.Now()
	next := generation{n: 1, opened: now}
	if len(s.generations) > 0 {
		open := s.generations[0]
		if age := now.Sub(open.opened).Abs(); age < s.o.Horizon/parts {
			return nil
		}
		next.n = open.n + 1
	}
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }()
	err := next.put(b)
	for _, g := range s.generations[min(kept, len(s.generations)):] {
		err = errors.Join(err, b.Delete(generationKey(g.n), nil))
		for _, space := range []byte{spaceID, spacePlace} {
			begin := number([]byte{space}, g.n)
			err = errors.Join(err, b.DeleteRange(begin, after(begin), nil))
		}
	}
	if err == nil {
		err = b.Commit(pebble.Sync)
	}
	return errors.Join(err, s.load())
}

// acquire waits until nobody else applies; the caller puts the token back.
func (s *Store) acquire(ctx context.Context) error {
	select {
	case <-s.turn:
	case <-ctx.Done():
		return fault.Wrap(opApply, fault.Unavailable, ctx.Err())
	}
	if s.closed {
		s.turn <- struct{}{}
		return fault.New(opApply, fault.Unavailable, "store_closed", "the store is closed")
	}
	return nil
}

// Close waits for who applies, and closes the files. Nothing may read meanwhile or afterwards.
func (s *Store) Close() error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	if s.closed {
		return nil
	}
	s.closed = true
	return fault.Wrap("idempotency.embedded.close", fault.Internal, s.db.Close())
}

// Name tells the store from all others, for as long as it exists.
func (s *Store) Name() string { return s.name }

// Shared is false: the marks are this process's own.
func (s *Store) Shared() bool { return false }

// Last implements idempotency.Store.
func (s *Store) Last(ctx context.Context, source, userID string) (idempotency.Place, bool, error) {
	if err := s.acquire(ctx); err != nil {
		return idempotency.Place{}, false, err
	}
	defer func() { s.turn <- struct{}{} }()
	last, found := idempotency.Place{Source: source, UserID: userID}, false
	for _, g := range s.generations {
		prefix := countKey(nil, g.n, source, userID)
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return idempotency.Place{}, false, fault.Wrap(opRead, fault.Unavailable, err)
		}
		if it.Last() {
			at := it.Key()[len(prefix):]
			epoch, seq := binary.BigEndian.Uint64(at), binary.BigEndian.Uint64(at[8:])
			if !found || epoch > last.Epoch || epoch == last.Epoch && seq > last.Seq {
				last.Epoch, last.Seq, found = epoch, seq, true
			}
		}
		if err := it.Close(); err != nil {
			return idempotency.Place{}, false, fault.Wrap(opRead, fault.Unavailable, err)
		}
	}
	if !found {
		last = idempotency.Place{}
	}
	return last, found, nil
}
