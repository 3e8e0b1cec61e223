package group_test

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/streams/header"
)

// The ordered group: as many processes as there are run this same program. Each owns a share of sixteen durables; the events of one
// user are handled one after the other by whoever owns them, and each has its effect once, whoever dies or stops in between.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.Open(ctx, postgres.Options{DB: pool, Schema: "weft_ledger"})
	if err != nil {
		log.Fatal(err)
	}
	m, err := group.Join(ctx, group.Options{
		Group: "ledger", Width: 16, Store: store,
		Subscription: consumers.Options{
			URLs: []string{"tls://127.0.0.1:18422"}, CredsFile: "weft-data/tenants/acme/consumer.creds", Topics: []string{"payments"}, Workers: 4,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	err = m.Run(ctx, func(c *group.Claim) consumers.Handler {
		return func(ctx context.Context, m *consumers.Message) error {
			e := idempotency.Entry{EventID: m.EventID, Source: m.Header.Get(header.Source), Origin: m.Origin, OriginSeq: m.OriginSeq, IngestedAt: m.IngestedAt}
			if err := e.Read(m.Raw); err != nil {
				return err
			}
			// The fence lets this commit for as long as nobody else owns the durable.
			results, err := store.Apply(ctx, idempotency.Batch{Entries: []idempotency.Entry{e}, Fence: c.Fence()},
				func(ctx context.Context, tx pgx.Tx, _ []int) error {
					_, err := tx.Exec(ctx, "UPDATE account SET payments = payments + 1 WHERE user_id = $1", e.UserID)
					return err
				})
			if err != nil {
				return err
			}
			return results[0].Err
		}
	})
	if err != nil {
		log.Fatal(err)
	}
}
