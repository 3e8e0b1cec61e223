package reject

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/subject"
)

// write stores a tenant's records one by one until none waits. A tenant whose stream does not answer holds up
// nobody but itself.
func (l *Log) write(tenant string, lane *lane) {
	for {
		l.mu.Lock()
		if len(lane.queue) == 0 {
			lane.queue, lane.writing = nil, false
			l.mu.Unlock()
			return
		}
		r := lane.queue[0]
		lane.queue = lane.queue[1:]
		l.queued--
		l.mu.Unlock()
		if err := l.store(tenant, r); err != nil {
			l.lost(tenant, lane, r, err)
			continue
		}
		l.metrics.records.stored.Inc()
	}
}

// lost gives back what a record that was not stored stood for: the next one tells of it.
func (l *Log) lost(tenant string, lane *lane, r *deadletter.Record, err error) {
	l.metrics.records.failed.Add(float64(r.Count))
	l.mu.Lock()
	lane.budget(r.Code, &l.o.Limits).suppressed += r.Count + r.Suppressed
	l.mu.Unlock()
	if hushed, ok := l.Say(tenant); ok {
		l.o.Logger.Warn("a refusal is not recorded", zap.String("tenant", tenant), zap.String("code", r.Code), zap.Int("hushed", hushed), zap.Error(err))
	}
}

// store publishes one record and waits for the stream. It is not tried again: after a lost acknowledgement that
// could store it twice.
func (l *Log) store(tenant string, r *deadletter.Record) error {
	ctx, cancel := context.WithTimeout(l.ctx, l.o.Limits.Timeout)
	defer cancel()
	raw, err := r.Encode()
	if err != nil {
		return err
	}
	conn, err := l.o.Connect(ctx, tenant)
	if err != nil {
		return err
	}
	to := subject.Reject{Region: l.o.Region, Cause: string(r.Cause), Code: r.Code}
	answer, err := conn.RequestMsgWithContext(ctx, &nats.Msg{Subject: to.String(), Data: raw})
	if err != nil {
		return err
	}
	return acknowledged(answer.Data)
}

func acknowledged(raw []byte) error {
	var ack struct {
		Stream string `json:"stream"`
		Error  *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(raw, &ack); err != nil {
		return err
	}
	switch {
	case ack.Error != nil:
		return errors.New(ack.Error.Description)
	case ack.Stream != subject.RejectsStream:
		return errors.New("another stream acknowledged: " + ack.Stream)
	}
	return nil
}

// sweep tells of what was suppressed when no further refusal does, so that the records add up to the number of
// refusals.
func (l *Log) sweep() {
	tick := time.NewTicker(l.o.Limits.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-l.quit:
			return
		case <-tick.C:
			l.tell()
		}
	}
}

// tell queues a record for each code of which refusals were suppressed.
func (l *Log) tell() {
	type key struct{ tenant, code string }
	var due []key
	now := l.o.Now()
	l.mu.Lock()
	for tenant, lane := range l.lanes {
		for code, b := range lane.codes {
			if b.suppressed > 0 && len(lane.queue) == 0 && b.AllowN(now, 1) {
				due = append(due, key{tenant, code})
			}
		}
	}
	l.mu.Unlock()
	for _, k := range due {
		reason, _ := deadletter.ReasonOf(k.code)
		l.Keep(k.tenant, &deadletter.Record{Cause: reason.Cause, Code: k.code, Status: reason.Status, ReceivedAt: now})
	}
}
