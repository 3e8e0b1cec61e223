package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/embedded"
	"github.com/weft-mesh/weft/consumers/once"
	"github.com/weft-mesh/weft/streams/streamtest"
)

const betMapping = `
flag: bet-v2
lossless: true
up:
  - {op: rename, at: /amount, to: stake}
  - {op: convert, at: /stake, multiply: 100}
samples:
  low: [{amount: 12.50}]
  high: [{stake: 1250}]
`

// moved is a consumer's books: what each event was worth, in cents, and how often it was handled.
type moved struct {
	store   *embedded.Store
	cents   map[string]string
	applied map[string]int
}

// handle keeps one event's worth once, in whichever version it comes.
func (b *moved) handle(ctx context.Context, m *consumers.Message, version string) (idempotency.Outcome, error) {
	var e struct {
		ID      string `json:"event_id"`
		Version string `json:"schema_version"`
		Payload struct{ Amount, Stake json.Number }
	}
	if err := json.Unmarshal(m.Raw, &e); err != nil {
		return 0, err
	}
	if e.Version != version {
		return 0, fmt.Errorf("a reader of %s is given %s as %s", version, m.EventID, e.Version)
	}
	entry, err := once.Entry(m)
	if err != nil {
		return 0, err
	}
	worth, ok := new(big.Rat).SetString(string(e.Payload.Amount + e.Payload.Stake))
	if !ok {
		return 0, fmt.Errorf("%s is worth nothing", m.EventID)
	}
	if e.Payload.Stake == "" {
		worth.Mul(worth, big.NewRat(100, 1))
	}
	results, err := b.store.Apply(ctx, idempotency.Batch{Entries: []idempotency.Entry{entry}}, func(context.Context, *embedded.Tx, []int) error { return nil })
	if err != nil {
		return 0, err
	}
	if results[0].Outcome == idempotency.Applied {
		b.cents[e.ID], b.applied[e.ID] = worth.RatString(), b.applied[e.ID]+1
	}
	return results[0].Outcome, nil
}

// read handles the events of a topic until enough have been seen.
func (b *moved) read(t *testing.T, data, durable, topic, version string, enough int) (outcomes map[idempotency.Outcome]int) {
	t.Helper()
	m, err := meshfile.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(m.Path(m.CA))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	sub, err := consumers.Subscribe(ctx, consumers.Options{
		URLs: []string{m.Regions[0].NATS}, CredsFile: m.Path(m.Tenants[0].ConsumerCreds), TLS: &tls.Config{RootCAs: roots}, Durable: durable, Topics: []string{topic},
	})
	if err != nil {
		t.Fatal(err)
	}
	outcomes = map[idempotency.Outcome]int{}
	seen := 0
	run, stop := context.WithCancel(ctx)
	defer stop()
	err = sub.Run(run, func(ctx context.Context, msg *consumers.Message) error {
		outcome, err := b.handle(ctx, msg, version)
		if err != nil {
			t.Error(err)
		}
		outcomes[outcome]++
		if seen++; seen >= enough {
			stop()
		}
		return nil
	})
	if err != nil || seen < enough {
		t.Fatalf("%s: %d of %d events, %v", topic, seen, enough, err)
	}
	return outcomes
}

// bets writes events of both versions as NDJSON; each is worth its number in cents, and 100 more.
func bets(t *testing.T, path string, from, to int) {
	t.Helper()
	var out strings.Builder
	for i := from; i < to; i++ {
		version, payload := "1.0.0", fmt.Sprintf(`{"amount":%d.%02d}`, (100+i)/100, i%100)
		if i%3 == 0 {
			version, payload = "2.0.0", fmt.Sprintf(`{"stake":%d}`, 100+i)
		}
		fmt.Fprintf(&out, `{"event_id":"bet-%d","event_type":"bet.placed","schema_version":"%s","occurred_at":"%s","key":{"user_id":"u-%d"},"payload":%s}`+"\n",
			i, version, time.Now().UTC().Format(time.RFC3339), i%5, payload)
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A consumer of one major version moves to the other in the middle of a stream to which producers of both send: it
// handles each event once, in its version alone.
func TestAConsumerMovesToAnotherMajorVersion(t *testing.T) {
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	data := filepath.Join(dir, "mesh")
	for name, text := range map[string]string{
		"v1.json":  `{"type":"object","properties":{"amount":{"type":"number"}},"required":["amount"],"additionalProperties":false}`,
		"v2.json":  `{"type":"object","properties":{"stake":{"type":"integer"}},"required":["stake"],"additionalProperties":false}`,
		"bad.json": `{"type":"object","properties":{"stake":{"type":"string"}}}`,
		"map.yaml": betMapping,
		"low.yaml": strings.Replace(betMapping, "12.50", "90071992547409931.25", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	step := verbs(t, dir)
	step(0, "schema register acme bet.placed 1.0.0 v1.json")
	step(0, "schema promote acme bet.placed 1.0.0")
	step(1, "schema register acme bet.placed 2.0.0 v2.json", "schema map TENANT bet.placed 1 2")
	step(0, "schema map acme bet.placed 1 2 low.yaml --dry-run", "in:  {\"amount\":90071992547409931.25}", "out: {\"stake\":9007199254740993125}", "Nothing was done")
	step(0, "schema map acme bet.placed 1 2 map.yaml --why cents", "behind flag bet-v2, which is on for 0 % of keys")
	step(2, "schema map acme bet.placed 1 2 --yes", "--yes with --drop")
	step(3, "schema check acme bet.placed 2.0.0 bad.json", "problem: what it becomes is no payload of 2.0.0")
	step(3, "schema register acme bet.placed 2.0.0 bad.json", "shows")
	step(0, "schema register acme bet.placed 2.0.0 v2.json", "out: {\"stake\":1250}")
	step(1, "schema promote acme bet.placed 2.0.0", "weft flag set acme bet-v2 0")
	step(0, "flag set acme bet-v2 100")
	step(0, "schema promote acme bet.placed 2.0.0")
	step(0, "schema map acme", "bet-v2", "100 %")
	step(0, "schema map acme bet.placed 1 2 -o yaml", "op: rename", "low: 1")
	step(1, "schema map acme bet.placed 1 2 --drop", "retire one first")

	bets(t, filepath.Join(dir, "first.ndjson"), 0, 30)
	bets(t, filepath.Join(dir, "probe.ndjson"), 0, 1)
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { // the relay has heard of it all
		_, out, errs := weft(t, dir, "send", "probe.ndjson", "--data", "mesh", "--tenant", "acme")
		return strings.Contains(out+errs, "1 stored") || strings.Contains(out+errs, "1 duplicate"), out + errs
	})
	if out := runWeft(t, dir, "send", "first.ndjson", "--data", "mesh", "--tenant", "acme"); !strings.Contains(out, "29 stored") {
		t.Fatal(out)
	}

	store, err := embedded.Open(embedded.Options{Dir: filepath.Join(dir, "marks")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	books := &moved{store: store, cents: map[string]string{}, applied: map[string]int{}}
	if got := books.read(t, data, "books", "events", "1.0.0", 20); got[idempotency.Applied] != 20 {
		t.Errorf("of the lower version: %v", got)
	}
	bets(t, filepath.Join(dir, "second.ndjson"), 30, 60)
	if out := runWeft(t, dir, "send", "second.ndjson", "--data", "mesh", "--tenant", "acme"); !strings.Contains(out, "30 stored") {
		t.Fatal(out)
	}
	if got := books.read(t, data, "books-2", "events~2", "2.0.0", 60); got[idempotency.Applied] != 40 || got[idempotency.Duplicate] != 20 {
		t.Errorf("of the higher version: %v", got)
	}
	for i := range 60 {
		if id := fmt.Sprintf("bet-%d", i); books.cents[id] != strconv.Itoa(100+i) || books.applied[id] != 1 {
			t.Errorf("%s is worth %s, handled %d times", id, books.cents[id], books.applied[id])
		}
	}
	if got := books.read(t, data, "books-1", "events", "1.0.0", 60); got[idempotency.Duplicate] != 60 { // and back
		t.Errorf("of the lower version again: %v", got)
	}
}
