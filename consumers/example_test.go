package consumers_test

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	"github.com/weft-mesh/weft/consumers"
)

// A program that prints every bet of a tenant, from the oldest on; started again, it goes on where it
// was stopped.
func ExampleSubscribe() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	sub, err := consumers.Subscribe(ctx, consumers.Options{
		URLs:      []string{"tls://127.0.0.1:18422"},
		CredsFile: "weft-data/tenants/acme/consumer.creds",
		Durable:   "printer",
		Topics:    []string{"bets"},
	})
	if err != nil {
		log.Fatal(err)
	}
	err = sub.Run(ctx, func(_ context.Context, m *consumers.Message) error {
		_, err := fmt.Printf("%s %s %s\n", m.EventID, m.Subject.Type, m.Raw)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
}
