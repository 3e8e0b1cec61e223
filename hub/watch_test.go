package hub

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A stream without a leader is told of once it lasts, once, and again after it had come back.
func TestSilentStreamIsTold(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	h := &Hub{opts: Options{Now: func() time.Time { return now }}, log: zap.New(core), metrics: newMetrics(prometheus.NewRegistry(), "eu", 0)}
	var w watched
	tg := target{name: "acme", stream: "EVENTS"}
	look := func(times int) {
		for range times {
			h.unanswered(tg, &w, errors.New("no answer"))
			now = now.Add(2 * time.Second)
		}
	}
	look(int(silentStream / (2 * time.Second)))
	if logs.Len() != 0 {
		t.Fatalf("told after less than %s", silentStream)
	}
	look(5)
	if logs.Len() != 1 {
		t.Fatalf("told %d times", logs.Len())
	}
	w.answered, w.told = now, false
	look(20)
	if logs.Len() != 2 {
		t.Errorf("told %d times after it had come back", logs.Len())
	}
}
