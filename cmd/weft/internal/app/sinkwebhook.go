package app

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink/webhook"
	"github.com/weft-mesh/weft/streams/fault"
)

// secretsEvery is how often it is looked whether the file of secrets changed.
const secretsEvery = time.Second

// webhookSink is a webhook whose secrets follow their file.
type webhookSink struct {
	*webhook.Sink
	file string
	seen []byte // the file's content as last read, good or bad
	log  *zap.Logger
}

func openWebhook(ctx context.Context, c *config.Sink, log *zap.Logger, r prometheus.Registerer) (consumerSink, error) {
	w := &c.Webhook
	o := webhook.DefaultOptions()
	o.URL, o.Timeout, o.Concurrency, o.MostTold, o.Unordered, o.StateFile = w.URL, w.Timeout, w.Concurrency, w.MostTold, w.Unordered, w.StateFile
	o.Logger, o.Registerer = log, r
	s := &webhookSink{file: w.SecretFile, log: log}
	var err error
	if s.seen, err = readSinkFile(w.SecretFile); err != nil {
		return nil, err
	}
	if o.Secrets, err = webhookKeys(w.SecretFile, s.seen); err != nil {
		return nil, err
	}
	if w.TokenFile != "" {
		token, err := readSinkFile(w.TokenFile)
		if err != nil {
			return nil, err
		}
		o.Token = keyring.Secret(bytes.TrimSpace(token))
	}
	if w.CAFile != "" {
		if o.CAs, err = authorities(w.CAFile); err != nil {
			return nil, err
		}
	}
	o.Allow, o.Deny = w.Prefixes()
	s.Sink, err = webhook.Open(ctx, o)
	return s, err
}

// Run is the sink's, and takes up new secrets meanwhile.
func (s *webhookSink) Run(ctx context.Context, sub *consumers.Subscription) error {
	watching, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() { s.watch(watching) })
	defer watcher.Wait()
	defer stop()
	return s.Sink.Run(ctx, sub)
}

func (s *webhookSink) watch(ctx context.Context) {
	tick := time.NewTicker(secretsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.reload()
		}
	}
}

// reload signs with what the file says now. What it does not understand leaves the secrets as they are.
func (s *webhookSink) reload() {
	text, err := os.ReadFile(s.file)
	if err != nil || bytes.Equal(text, s.seen) {
		return // between two files while one replaces the other; a lasting lack is met at the next start
	}
	s.seen = text
	keys, err := webhookKeys(s.file, text)
	if err == nil {
		err = s.Rotate(keys)
	}
	if err != nil {
		s.log.Error("secrets changed and are not good, signing goes on with those before", zap.Error(err))
		return
	}
	s.log.Info("secrets changed", zap.Int("secrets", len(keys)))
}

// webhookKeys reads one secret a line; empty lines and those with # in front are passed over.
func webhookKeys(file string, text []byte) ([]signature.WebhookKey, error) {
	var keys []signature.WebhookKey
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := signature.ParseWebhookKey(string(line))
		if err != nil {
			return nil, &fault.Error{Op: "consumer.run", Kind: fault.Invalid, Code: "secret_malformed", Detail: fmt.Sprintf("%s:%d", file, n), Err: err}
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 || len(keys) > signature.MaxWebhookSignatures {
		return nil, fault.New("consumer.run", fault.Invalid, "secret_count", "%s has %d secrets, not 1 to %d", file, len(keys), signature.MaxWebhookSignatures)
	}
	return keys, nil
}

func authorities(file string) (*x509.CertPool, error) {
	text, err := readSinkFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New("consumer.run", fault.Invalid, "ca_malformed", "%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// readSinkFile reads a file that the configuration of a sink names.
func readSinkFile(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, &fault.Error{Op: "consumer.run", Kind: fault.Invalid, Code: "file_unreadable", Detail: "cannot read a file of the sink", Err: err}
	}
	return text, nil
}
