package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/streams/header"
)

// A payment that is booked once, however often its event comes: the mark and the booking are one transaction, and the
// event is acknowledged when that is committed.
func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	store, err := postgres.Open(ctx, postgres.Options{DB: pool, Schema: "weft_ledger"})
	if err != nil {
		log.Fatal(err)
	}
	sub, err := consumers.Subscribe(ctx, consumers.Options{URLs: []string{"tls://127.0.0.1:18422"}, Durable: "ledger", Topics: []string{"payments"}})
	if err != nil {
		log.Fatal(err)
	}
	err = sub.Run(ctx, func(ctx context.Context, m *consumers.Message) error {
		entry := idempotency.Entry{
			EventID: m.EventID, Source: m.Header.Get(header.Source), Origin: m.Origin, OriginSeq: m.OriginSeq, IngestedAt: m.IngestedAt,
		}
		if err := entry.Read(m.Raw); err != nil {
			return err
		}
		results, err := store.Apply(ctx, idempotency.Batch{Entries: []idempotency.Entry{entry}},
			func(ctx context.Context, tx pgx.Tx, _ []int) error { return book(ctx, tx, entry.UserID, m.Raw) })
		if err != nil {
			return err // nothing is known: the event comes again
		}
		switch r := results[0]; r.Outcome {
		case idempotency.Conflict:
			return fmt.Errorf("event %s contradicts %s, which is booked: somebody has to look", m.EventID, r.Prior)
		case idempotency.Failed:
			return r.Err
		default:
			return nil
		}
	})
	if err != nil {
		log.Fatal(err)
	}
}

// book moves the money, in the transaction and nowhere else.
func book(ctx context.Context, tx pgx.Tx, user string, raw []byte) error {
	var e struct {
		Payload struct {
			Amount int64 `json:"amount"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE account SET balance = balance - $2 WHERE user_id = $1", user, e.Payload.Amount)
	return err
}
