package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

const users, each = 4, 10

// fill stores each user's events in turn; event 3 of user 1 is one that the endpoint will never take.
func fill(t *testing.T, s *streamtest.JetStream) {
	t.Helper()
	origin := subject.Origin{Region: "eu", Epoch: 1}
	nc, _ := s.Stream(streams.EventsConfig(streams.EventsSpec{Self: origin}))
	for i := range users * each {
		user, id := i%users, fmt.Sprintf("u%d.%d", i%users, i/users)
		m := nats.NewMsg(subject.Event{Origin: origin, Scope: subject.Global, Partition: user, Topic: "crm", Type: "user.seen"}.String())
		m.Header = nats.Header{header.MsgID: {id}, header.Relay: {"test"}, header.IngestedAt: {"2026-01-01T00:00:00Z"}}
		m.Data = fmt.Appendf(nil, `{"event_id":%q,"event_type":"user.seen","schema_version":"1.0.0","occurred_at":"2026-01-01T00:00:00Z","key":{"user_id":"u%d"},"payload":{}}`, id, user)
		if _, err := nc.RequestMsg(m, patience); err != nil {
			t.Fatal(err)
		}
	}
}

// script answers the first attempt for every third event with 500 or 503, and one event with 422 always.
type script struct {
	mu    sync.Mutex
	tries map[string]int
	taken map[string][]string // user → ids in the order they were taken
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := strings.ReplaceAll(r.Header.Get("webhook-id"), "/", ".")
	s.tries[id]++
	switch {
	case id == "u1.3":
		w.WriteHeader(http.StatusUnprocessableEntity)
	case strings.HasSuffix(id, "3") && s.tries[id] == 1:
		w.WriteHeader(http.StatusInternalServerError)
	case strings.HasSuffix(id, "6") && s.tries[id] == 1:
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		user, _, _ := strings.Cut(id, ".")
		s.taken[user] = append(s.taken[user], id)
	}
}

func (s *script) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ids := range s.taken {
		n += len(ids)
	}
	return n
}

// Every event is taken once, those of a user in order, although some fail at first; one that is refused is given up at once and holds nobody back.
func TestRunPostsEveryEvent(t *testing.T) {
	s := streamtest.Server(t)
	fill(t, s)
	endpoint := &script{tries: map[string]int{}, taken: map[string][]string{}}
	e := serve(t, endpoint.ServeHTTP)
	sink := open(t, e.options(t))
	parked := make(chan *consumers.Parked, users*each)
	sub, err := consumers.Subscribe(t.Context(), sink.Subscription(consumers.Options{
		URLs: []string{s.URL()}, Durable: "crm", Retry: retry.Policy{First: time.Millisecond, Most: 5 * time.Millisecond},
		Park: func(_ context.Context, p *consumers.Parked) error { parked <- p; return nil },
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx, sub) }()
	streamtest.Eventually(t, patience, func() (bool, string) {
		return endpoint.count() >= users*each-1 && len(parked) > 0, fmt.Sprintf("%d events taken, %d given up", endpoint.count(), len(parked))
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for u := range users {
		var want []string
		for i := range each {
			if id := fmt.Sprintf("u%d.%d", u, i); id != "u1.3" {
				want = append(want, id)
			}
		}
		if got := endpoint.taken[fmt.Sprint("u", u)]; !slices.Equal(got, want) {
			t.Errorf("user %d: %v, want %v", u, got, want)
		}
	}
	p := <-parked
	if p.Message.EventID != "u1.3" || p.Attempts != 1 || p.Cause != retry.Hopeless || fault.CodeOf(p.Last) != "event_refused" || len(parked) != 0 {
		t.Errorf("given up: %+v and %d others", p, len(parked))
	}
	for _, r := range e.requests() {
		var body struct {
			ID string `json:"event_id"`
		}
		if err := json.Unmarshal(r.body, &body); err != nil || strings.ReplaceAll(body.ID, ".", "/") != r.header.Get("webhook-id") {
			t.Fatalf("body %s under id %s: %v", r.body, r.header.Get("webhook-id"), err)
		}
	}
}

func TestSubscriptionFillsInWhatIsOpen(t *testing.T) {
	e := serve(t, nil)
	o := e.options(t)
	o.Concurrency, o.Unordered = 3, true
	got := open(t, o).Subscription(consumers.Options{Durable: "d"})
	if got.Workers != 3 || got.Durable != "d" || got.Key(event("e-7")) != "e-7" {
		t.Errorf("%d workers, key %q", got.Workers, got.Key(event("e-7")))
	}
	o.Unordered = false
	if got := open(t, o).Subscription(consumers.Options{Workers: 2}); got.Workers != 2 || got.Key != nil {
		t.Errorf("%d workers, a key: %v", got.Workers, got.Key != nil)
	}
}
