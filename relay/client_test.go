package relay_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func (r *rig) producer(change func(*client.Options)) *client.Client {
	r.t.Helper()
	o := client.DefaultOptions()
	o.URL, o.Kid, o.Secret = "https://"+r.relay.Addr(), "acme-1", r.secrets["acme-1"]
	o.TLS = r.client(acme, false).Transport.(*http.Transport).TLSClientConfig
	o.MinBackoff, o.MaxBackoff, o.MaxRetryAfter, o.MaxRetries = 5*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond, 1000
	if change != nil {
		change(&o)
	}
	c, err := client.New(o)
	r.must(err)
	r.t.Cleanup(c.Close)
	return c
}

// all reads the whole stream.
func (r *rig) all() [][]byte {
	r.t.Helper()
	c, err := r.js.OrderedConsumer(r.t.Context(), subject.EventsStream, jetstream.OrderedConsumerConfig{})
	r.must(err)
	n := int(r.stored())
	out := make([][]byte, 0, n)
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(20*time.Second))
	r.must(err)
	for m := range batch.Messages() {
		out = append(out, m.Data())
	}
	r.must(batch.Error())
	return out
}

// Real webhook bodies come through byte for byte and in order.
func TestRealEvents(t *testing.T) {
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS names no folder with real-events.ndjson")
	}
	text, err := os.ReadFile(filepath.Join(dir, "real-events.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	var events [][]byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\n")
		at := bytes.Index(line, []byte(`"occurred_at":"`)) + len(`"occurred_at":"`)
		end := at + bytes.IndexByte(line[at:], '"')
		now := []byte(time.Now().UTC().Format(time.RFC3339))
		events = append(events, bytes.Join([][]byte{line[:at], now, line[end:]}, nil))
	}
	got, err := r.producer(nil).Send(t.Context(), events)
	r.must(err)
	for _, x := range got {
		if x.Status != client.Stored {
			t.Errorf("%s: %s %s %s %s", x.EventID, x.Status, x.Code, x.Pointer, x.Detail)
		}
	}
	stored := r.all()
	if len(stored) != len(events) {
		t.Fatalf("%d of %d stored", len(stored), len(events))
	}
	for i := range events {
		if !bytes.Equal(stored[i], events[i]) {
			t.Fatalf("event %d is not stored as it came", i)
		}
	}
}

// While the relay's connection to the streams breaks again and again, every event ends stored,
// once, and each user's in order.
func TestSendThroughCuts(t *testing.T) {
	r := newRig(t)
	cutter := streamtest.NewCutter(t, strings.TrimPrefix(r.nats.URL(), "nats://"))
	r.publish = func(string) string { return "nats://" + cutter.Addr() }
	const n, users = 6000, 40
	events := make([][]byte, n)
	for i := range events {
		events[i] = []byte(ev("event_id", fmt.Sprintf(`"cut-%d"`, i), "key", fmt.Sprintf(`{"user_id":"u-%d"}`, i%users)))
	}
	settled := make(chan int, n)
	producer := r.producer(func(o *client.Options) {
		o.BatchEvents, o.Concurrency = 50, 4
		o.OnResults = func(rs []client.Result) { settled <- len(rs) }
	})
	done := make(chan error, 1)
	var results []client.Result
	go func() {
		var err error
		results, err = producer.Send(t.Context(), events)
		done <- err
	}()
	for range 5 { // a cut after every few hundred events
		for seen := 0; seen < 600; {
			seen += <-settled
		}
		cutter.Cut()
		cutter.Heal()
	}
	r.must(<-done)
	for _, x := range results {
		if !x.Settled() {
			t.Fatalf("%+v", x)
		}
	}
	stored := r.all()
	if len(stored) != n {
		t.Errorf("%d stored, sent %d", len(stored), n)
	}
	last := map[int]int{}
	for _, raw := range stored {
		id, _ := event.Lookup(raw, "/event_id")
		i, err := strconv.Atoi(strings.TrimPrefix(id, "cut-"))
		r.must(err)
		if before, ok := last[i%users]; ok && before > i {
			t.Errorf("event %d of user %d is stored after event %d", i, i%users, before)
		}
		last[i%users] = i
	}
}
