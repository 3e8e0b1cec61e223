package postgres_test

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/once"
)

// Payments that are booked once, however often their events come: the marks and the bookings of a batch are one
// transaction, and its events are acknowledged when that is committed. An event that contradicts one that is booked goes
// to the dead letters.
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
	if err := sub.RunBatches(ctx, consumers.Batching{Most: 100}, once.Batches(store, book)); err != nil {
		log.Fatal(err)
	}
}

// book moves the money, in the transaction and nowhere else.
func book(ctx context.Context, tx pgx.Tx, fresh []*consumers.Message) error {
	for _, m := range fresh {
		var e struct {
			Key struct {
				UserID string `json:"user_id"`
			} `json:"key"`
			Payload struct {
				Amount int64 `json:"amount"`
			} `json:"payload"`
		}
		if err := json.Unmarshal(m.Raw, &e); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE account SET balance = balance - $2 WHERE user_id = $1", e.Key.UserID, e.Payload.Amount); err != nil {
			return err
		}
	}
	return nil
}
