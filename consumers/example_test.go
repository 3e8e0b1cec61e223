package consumers_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/reorder"
	"github.com/weft-mesh/weft/streams/header"
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

// A balance that is computed from the events of each user in the order of their source_seq. An event that comes after
// the window goes to who can undo: it is told what was computed without it.
func ExampleReorder() {
	ctx := context.Background()
	sub, err := consumers.Subscribe(ctx, consumers.Options{
		URLs:    []string{"tls://127.0.0.1:18422"},
		Durable: "balance",
		Topics:  []string{"payments"},
		Reorder: &consumers.Reorder{
			Window: 2 * time.Minute,
			Correct: func(_ context.Context, m *consumers.Message) error {
				for _, a := range m.Order.Ahead {
					fmt.Printf("%s was computed without %s\n", a.EventID, m.EventID)
				}
				return nil
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	err = sub.Run(ctx, func(_ context.Context, m *consumers.Message) error {
		if m.Order != nil && m.Order.Verdict == reorder.Gap {
			fmt.Printf("%d events before %s did not come in time\n", m.Order.Missing, m.EventID)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}

// An event that its producer signed, and a consumer that believes nobody else.
func ExampleVerified() {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // the producer's
	event := []byte(`{"event_id":"bet-1","event_type":"bet.placed","payload":{"stake":10}}`)
	signed, err := signature.SignEvent(signature.EventPrivateKey(private), "bets-2026", time.Unix(1767323045, 0), event)
	if err != nil {
		log.Fatal(err)
	}

	public, err := signature.EventPublicKey(private.Public().(ed25519.PublicKey)) // all that the consumer needs
	if err != nil {
		log.Fatal(err)
	}
	keys := func(_ context.Context, m *consumers.Message, kid string) (signature.EventKey, error) {
		if source := m.Header.Get(header.Source); source != "bets" || kid != "bets-2026" {
			return signature.EventKey{}, fmt.Errorf("producer %q has no key %q", source, kid)
		}
		return public, nil
	}
	handle := consumers.Verified(keys, func(_ context.Context, m *consumers.Message) error {
		fmt.Println("the producer's own:", m.EventID)
		return nil
	})

	from := map[string][]string{header.Source: {"bets"}}
	fmt.Println(handle(context.Background(), &consumers.Message{EventID: "bet-1", Raw: signed, Header: from}))
	signed[len(`{"event_id":"bet-1","event_type":"bet.placed","payload":{"stake":`)] = '9'
	fmt.Println(handle(context.Background(), &consumers.Message{EventID: "bet-1", Raw: signed, Header: from}))
	// Output:
	// the producer's own: bet-1
	// <nil>
	// signature.event: the signature is not that of these bytes under this key
}
