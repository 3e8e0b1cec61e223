package once

import (
	"context"
	"errors"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/reorder"
)

// Handler makes a handler of single events of an effect, such as consumers.Reorder.Correct.
func Handler[T any](store idempotency.Store[T], effect Effect[T]) consumers.Handler {
	batches := Batches(store, effect)
	return func(ctx context.Context, m *consumers.Message) error {
		err := batches(ctx, []*consumers.Message{m})
		if each, ok := errors.AsType[consumers.BatchErrors](err); ok && len(each) == 1 {
			return each[0]
		}
		return err
	}
}

// Last is consumers.Reorder.Last: where each count stands, as the marks of the store remember it.
func Last[T any](store idempotency.Store[T]) func(ctx context.Context, source, user string) (reorder.Position, bool, error) {
	return func(ctx context.Context, source, user string) (reorder.Position, bool, error) {
		p, known, err := store.Last(ctx, source, user)
		return reorder.Position{Epoch: p.Epoch, Seq: p.Seq}, known, err
	}
}
