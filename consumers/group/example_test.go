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
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/once"
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
	count := func(ctx context.Context, tx pgx.Tx, fresh []*consumers.Message) error {
		for _, m := range fresh {
			if _, err := tx.Exec(ctx, "UPDATE account SET payments = payments + 1 WHERE user_id = $1", consumers.UserKey(m)); err != nil {
				return err
			}
		}
		return nil
	}
	err = m.RunEach(ctx, func(ctx context.Context, c *group.Claim, sub *consumers.Subscription) error {
		return sub.RunBatches(ctx, consumers.Batching{Most: 100}, once.Batches(group.Fenced(store, c), count))
	})
	if err != nil {
		log.Fatal(err)
	}
}
