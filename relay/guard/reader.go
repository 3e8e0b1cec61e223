package guard

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/subject"
)

const (
	readAgain  = 250 * time.Millisecond
	readExpiry = 10 * time.Second
	readBeat   = time.Second
)

// overlap is how far back the journal is read again after a lost connection: servers that take over from each
// other stamp by their own clocks. Reading an entry twice changes nothing.
const overlap = time.Minute

// reader is the state of the reading goroutine.
type reader struct {
	g    *Guard
	last time.Time // when the journal stored what was read last, by its clock
	end  time.Time // when it had stored the newest at the beginning of this turn
}

// follow reads the journal from its beginning, so that nothing is let in before all that it held is known: the
// guard's own first group is behind it.
func (g *Guard) follow(ctx context.Context) {
	r := &reader{g: g}
	for ctx.Err() == nil {
		if err := r.read(ctx); err != nil && ctx.Err() == nil {
			g.o.Logger.Debug("the journal of request ids is read again", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(readAgain):
			}
		}
	}
}

// read follows the stream over one life of the connection. After it the stream may be another one, whose sequences
// mean other groups, so it goes on by time.
func (r *reader) read(ctx context.Context) error {
	js := r.g.o.Journal
	lost := js.Conn().StatusChanged(nats.DISCONNECTED, nats.RECONNECTING)
	defer js.Conn().RemoveStatusListener(lost)
	s, err := js.Stream(ctx, subject.GuardStream)
	if err != nil {
		return err
	}
	r.end = s.CachedInfo().State.LastTime
	from := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if !r.last.IsZero() {
		start := r.last.Add(-overlap)
		from.DeliverPolicy, from.OptStartTime = jetstream.DeliverByStartTimePolicy, &start
	}
	consumer, err := js.OrderedConsumer(ctx, subject.GuardStream, from)
	if err != nil {
		return err
	}
	it, err := consumer.Messages(jetstream.PullExpiry(readExpiry), jetstream.PullHeartbeat(readBeat))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	defer it.Stop()
	watch.Go(func() {
		select {
		case <-ctx.Done():
		case <-lost:
		}
		it.Stop()
	})
	for {
		m, err := it.Next()
		if err != nil {
			return err
		}
		if err := r.take(m); err != nil {
			return err
		}
	}
}

// take puts a group into the sets. It is as old as the journal says that it was when this turn began, or older, so
// an entry lives no shorter than it must.
func (r *reader) take(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	g := r.g
	now := g.moment().since
	present := g.generation(now)
	at := max(g.generation(now-max(r.end.Sub(meta.Timestamp), 0)), 0)
	h, err := readMessage(m.Data(), func(tenant string, keys []byte) {
		s := g.set(tenant)
		for ; len(keys) > 0; keys = keys[len(Key{}):] {
			fresh, dropped := s.add(Key(keys[:len(Key{})]), at, present)
			g.total.Add(-int64(dropped))
			if fresh {
				g.total.Add(1)
			}
		}
	})
	if err != nil {
		g.o.Logger.Error("a group of request ids could not be read: replays of its requests are not known", zap.String("subject", m.Subject()), zap.Error(err))
	}
	r.last = meta.Timestamp
	if err == nil && h.process == g.process {
		g.back.Store(&h.sent)
	}
	return nil
}
