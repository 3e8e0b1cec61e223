package postgres_test

import (
	"context"
	"log"
	"os"
	"os/signal"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink/postgres"
)

// All events of a tenant, as rows, until the process is interrupted.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s, err := postgres.Open(ctx, postgres.Options{URL: keyring.Secret(os.Getenv("DATABASE_URL")), Schema: "acme_events"})
	if err != nil {
		log.Fatal(err)
	}
	sub, err := consumers.Subscribe(ctx, s.Subscription(consumers.Options{URLs: []string{"tls://127.0.0.1:18422"}, CredsFile: "consumer.creds", Durable: "warehouse"}))
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Run(ctx, sub); err != nil {
		log.Fatal(err)
	}
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}
}
