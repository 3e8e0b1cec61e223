// Package once joins a subscription with an idempotency.Store, so that events have their effect once: Batches is a
// handler for consumers.Subscription.RunBatches that applies each batch in one transaction, with the marks of its events.
//
//	err := sub.RunBatches(ctx, consumers.Batching{Most: 500}, once.Batches(store, book))
//
// Consumers with an effect of their own and sinks use it. It holds no state.
package once

import (
	"context"
	"encoding/hex"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

const op = "consumers.once"

// Entry is what a store knows a delivered event by. A copy in another major version has the id and the digest of its
// original, so that a consumer that moves from one version to the other handles nothing twice. An error marks an event
// that can never be applied.
func Entry(m *consumers.Message) (idempotency.Entry, error) {
	e := idempotency.Entry{EventID: m.EventID, Source: m.Header.Get(header.Source), Origin: m.Origin, OriginSeq: m.OriginSeq, IngestedAt: m.IngestedAt}
	if err := e.Read(m.Raw); err != nil {
		return idempotency.Entry{}, retry.Permanent(fault.Wrap(op, fault.Invalid, err))
	}
	if of := m.Header.Get(header.DerivedDigest); of != "" {
		sum, err := hex.DecodeString(of)
		if err != nil || len(sum) != len(e.Digest) {
			return idempotency.Entry{}, retry.Permanent(fault.New(op, fault.Invalid, "derived_digest", "event %q has a %s that is no SHA-256", m.EventID, header.DerivedDigest))
		}
		copy(e.Digest[:], sum)
	}
	return e, nil
}

// Effect does what events call for, through tx alone. It is called again, for fewer of them at a time, when it fails
// or when the transaction must be repeated. An error that one event causes fails that event alone.
type Effect[T any] func(ctx context.Context, tx T, fresh []*consumers.Message) error

// Batches makes a handler of an effect.
func Batches[T any](store idempotency.Store[T], effect Effect[T]) consumers.BatchHandler {
	return func(ctx context.Context, ms []*consumers.Message) error {
		b := Read(ms)
		results, err := store.Apply(ctx, idempotency.Batch{Entries: b.Entries}, func(ctx context.Context, tx T, fresh []int) error {
			apply := make([]*consumers.Message, len(fresh))
			for k, i := range fresh {
				apply[k] = b.Messages[i]
			}
			return effect(ctx, tx, apply)
		})
		if err != nil {
			return err
		}
		return b.Errors(results)
	}
}

// Batch is the events of a batch that can be read, with what a store knows them by.
type Batch struct {
	Messages []*consumers.Message
	Entries  []idempotency.Entry

	at   []int // their places among all events of the batch
	errs consumers.BatchErrors
}

// Read reads the events of a batch.
func Read(ms []*consumers.Message) *Batch {
	b := &Batch{
		Messages: make([]*consumers.Message, 0, len(ms)), Entries: make([]idempotency.Entry, 0, len(ms)),
		at: make([]int, 0, len(ms)), errs: make(consumers.BatchErrors, len(ms)),
	}
	for i, m := range ms {
		e, err := Entry(m)
		if err != nil {
			b.errs[i] = err
			continue
		}
		b.Messages, b.Entries, b.at = append(b.Messages, m), append(b.Entries, e), append(b.at, i)
	}
	return b
}

// Errors says what a store's results mean for the events of the batch: nil if all of them are done with, or else
// consumers.BatchErrors. Two are given up at once: an event that contradicts one that was applied, with the code
// event_conflict, for somebody to look at, and one whose error is a fault of kind Invalid.
func (b *Batch) Errors(results []idempotency.Result) error {
	failed := len(b.at) < len(b.errs)
	for k, r := range results {
		err := r.Err
		if fault.KindOf(err) == fault.Invalid {
			err = retry.Permanent(err)
		}
		if r.Outcome == idempotency.Conflict {
			err = retry.Permanent(fault.New(op, fault.Conflict, "event_conflict",
				"event %s has other content than %s, which was applied under its id or its place in the count of its source", b.Entries[k].EventID, r.Prior))
		}
		if err != nil {
			b.errs[b.at[k]], failed = err, true
		}
	}
	if !failed {
		return nil
	}
	return b.errs
}
