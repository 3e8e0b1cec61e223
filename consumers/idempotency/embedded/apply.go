package embedded

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2/batchrepr"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/fault"
)

// errEffect wraps nothing: the entry's own error is found when it runs alone.
var errEffect = errors.New("an effect failed")

// Apply implements idempotency.Store. Effects run together at first; if one fails they are repeated one by one.
func (s *Store) Apply(ctx context.Context, b idempotency.Batch, effect idempotency.Effect[*Tx]) ([]idempotency.Result, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer func() { s.turn <- struct{}{} }()
	if err := errors.Join(s.roll(), s.learn()); err != nil {
		return nil, fault.Wrap(opApply, fault.Unavailable, err)
	}
	results, err := s.attempt(ctx, &b, effect, false)
	if errors.Is(err, errEffect) {
		results, err = s.attempt(ctx, &b, effect, true)
	}
	if err != nil {
		if _, ok := errors.AsType[*fault.Error](err); !ok {
			err = fault.Wrap(opApply, fault.Unavailable, err)
		}
		if load := s.load(); load != nil { // what is counted may be committed or not
			return nil, errors.Join(err, load)
		}
		return nil, err
	}
	return results, nil
}

// attempt is one try to apply a batch.
type attempt struct {
	s       *Store
	b       *idempotency.Batch
	effect  idempotency.Effect[*Tx]
	alone   bool
	results []idempotency.Result
	tx      Tx
	marked  int
	key     []byte // scratch
}

func (s *Store) attempt(ctx context.Context, b *idempotency.Batch, effect idempotency.Effect[*Tx], alone bool) ([]idempotency.Result, error) {
	a := attempt{s: s, b: b, effect: effect, alone: alone, tx: Tx{s.db.NewIndexedBatch()}}
	defer func() { _ = a.tx.b.Close() }()
	if err := a.fence(); err != nil {
		return nil, err
	}
	var passes [][]int
	a.results, passes = idempotency.Plan(b.Entries)
	for _, pass := range passes {
		if err := a.pass(ctx, pass); err != nil {
			return nil, err
		}
	}
	if a.tx.b.Empty() {
		return a.results, nil
	}
	open := s.generations[0]
	open.marks += a.marked
	if err := errors.Join(open.put(a.tx.b), ctx.Err()); err != nil {
		return nil, err
	}
	if err := s.commit(a.tx.b); err != nil {
		return nil, err
	}
	s.generations[0], s.marks = open, s.marks+a.marked
	return a.results, nil
}

// fence refuses an owner that somebody took over from, and remembers one that took over.
func (a *attempt) fence() error {
	f := a.b.Fence
	if f.Durable == "" {
		return nil
	}
	value, known, err := read(a.s.db, fenceKey(f.Durable))
	if err != nil {
		return err
	}
	if known {
		if seen := binary.BigEndian.Uint64(value); seen > f.Epoch {
			return idempotency.Stale(f, seen)
		} else if seen == f.Epoch {
			return nil
		}
	}
	return a.tx.b.Set(fenceKey(f.Durable), number(nil, f.Epoch), nil)
}

// pass applies entries of which no two share an id or a place.
func (a *attempt) pass(ctx context.Context, indexes []int) error {
	fresh := make([]int, 0, len(indexes))
	for _, i := range indexes {
		m, known, err := a.find(&a.b.Entries[i])
		if err != nil {
			return err
		}
		if known {
			a.results[i] = m.Against(&a.b.Entries[i])
		} else {
			fresh = append(fresh, i)
		}
	}
	if a.s.marks+a.marked+len(fresh) > a.s.o.MaxMarks && len(fresh) > 0 {
		return fault.New(opApply, fault.Limited, "store_full", "%s holds %d marks, %d are allowed: they expire with the horizon of %s, or raise MaxMarks",
			a.s.o.Dir, a.s.marks, a.s.o.MaxMarks, a.s.o.Horizon)
	}
	if len(fresh) == 0 {
		return nil
	}
	if !a.alone {
		return a.run(ctx, fresh)
	}
	for _, i := range fresh {
		before := len(a.tx.b.Repr())
		count := a.tx.b.Count()
		err := a.run(ctx, []int{i})
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return err
		}
		if undo := a.undo(before, count); undo != nil {
			return undo
		}
		a.results[i] = idempotency.Result{Outcome: idempotency.Failed, Err: err}
	}
	return nil
}

// run marks entries and runs their effects.
func (a *attempt) run(ctx context.Context, fresh []int) error {
	for _, i := range fresh {
		if err := a.mark(&a.b.Entries[i]); err != nil {
			return err
		}
	}
	if err := a.effect(ctx, &a.tx, fresh); err != nil {
		if a.alone || ctx.Err() != nil {
			return err
		}
		return errEffect
	}
	a.marked += len(fresh)
	return nil
}

// undo takes back what was written since the batch had that length and count.
func (a *attempt) undo(length int, count uint32) error {
	shorter := append([]byte(nil), a.tx.b.Repr()[:length]...)
	old := a.tx.b
	a.tx.b = a.s.db.NewIndexedBatch()
	if err := old.Close(); err != nil || count == 0 {
		return err
	}
	batchrepr.SetCount(shorter, count)
	kept := a.s.db.NewBatch()
	defer func() { _ = kept.Close() }()
	return errors.Join(kept.SetRepr(shorter), a.tx.b.Apply(kept, nil))
}

// find looks for the mark of an entry's id, then for that of its place.
func (a *attempt) find(e *idempotency.Entry) (m idempotency.Mark, found bool, err error) {
	place, counts := e.Place()
	for _, g := range a.s.generations {
		if k := a.s.known[g.n]; !k.may(k.set.HasID(e.EventID)) {
			continue
		}
		a.key = idKey(a.key, g.n, e.EventID)
		value, ok, err := a.get()
		if err != nil || ok {
			copy(m.Digest[:], value)
			m.EventID = e.EventID
			return m, ok, err
		}
	}
	for _, g := range a.s.generations {
		if !counts {
			break
		}
		if k := a.s.known[g.n]; !k.may(k.set.HasPlace(place)) {
			continue
		}
		a.key = placeKey(a.key, g.n, &place)
		value, ok, err := a.get()
		if err != nil || ok {
			n := copy(m.Digest[:], value)
			m.EventID = string(value[n:])
			return m, ok, err
		}
	}
	return m, false, nil
}

// get reads a.key in the batch, which holds the marks of earlier passes, and below it.
func (a *attempt) get() ([]byte, bool, error) {
	if a.tx.b.Empty() {
		return read(a.s.db, a.key)
	}
	return read(a.tx.b, a.key)
}

func (a *attempt) mark(e *idempotency.Entry) error {
	open := a.s.generations[0].n
	a.s.known[open].set.Add(e)
	a.key = idKey(a.key, open, e.EventID)
	if err := a.tx.b.Set(a.key, e.Digest[:], nil); err != nil {
		return err
	}
	place, counts := e.Place()
	if !counts {
		return nil
	}
	a.key = placeKey(a.key, open, &place)
	return a.tx.b.Set(a.key, append(e.Digest[:len(e.Digest):len(e.Digest)], e.EventID...), nil)
}
