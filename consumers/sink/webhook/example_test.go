package webhook_test

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink/webhook"
)

// All events of a topic, posted to a CRM until the process is interrupted.
func Example() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	secret, err := signature.ParseWebhookKey(strings.TrimSpace(os.Getenv("CRM_SECRET")))
	if err != nil {
		log.Fatal(err)
	}
	s, err := webhook.Open(ctx, webhook.Options{URL: "https://crm.example.com/hooks/weft", Secrets: []signature.WebhookKey{secret}, StateFile: "crm.gone.json"})
	if err != nil {
		log.Fatal(err)
	}
	sub, err := consumers.Subscribe(ctx, s.Subscription(consumers.Options{
		URLs: []string{"tls://127.0.0.1:18422"}, CredsFile: "consumer.creds", Durable: "crm", Topics: []string{"payments"},
	}))
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
