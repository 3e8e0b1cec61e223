package files

import (
	"context"
	"errors"
	"sync"

	"github.com/google/uuid"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink/recent"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	opOpen  = "sink.files.open"
	opWrite = "sink.files.write"

	engine = "weft"
)

// Sink writes events to one table. HandleBatch may be called from several goroutines; one batch is written at a time.
type Sink struct {
	opts    Options
	log     *zap.Logger
	st      store
	table   log
	metrics *metrics
	session string // tells the attempts of this Sink from those of others
	release func() // what Open opened; nil for nothing

	mu      sync.Mutex
	encoder *encoder    // nil before the first file
	version int64       // the newest that is known
	seen    *recent.Set // the last events of the table, as far as that version
	unsure  bool        // a commit may have been carried out of which nobody heard: look before the next one
	tries   int         // attempts that were begun
	dead    []attempt   // whose files may be left over
	said    string      // the code of the trouble that was logged last
}

// Open opens the table, or makes it where there is nothing, removes what an interrupted writer left, and reads which
// events came last.
func Open(ctx context.Context, o Options) (*Sink, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Dir != "" {
		d, err := openDir(o.Dir)
		if err == nil {
			err = d.tidy(o.Now(), logFolder, ownFolder, noticeFolder)
		}
		if err != nil {
			return nil, trouble(opOpen, err)
		}
		return open(ctx, o, d)
	}
	b, err := openBucket(&o.S3, o.Timeout)
	if err != nil {
		return nil, trouble(opOpen, err)
	}
	s, err := open(ctx, o, b)
	if err != nil {
		b.close()
		return nil, err
	}
	s.release = b.close
	return s, nil
}

func open(ctx context.Context, o Options, st store) (*Sink, error) {
	s := &Sink{opts: o, log: o.Logger.With(zap.String("sink", "files")), st: st, table: log{st}, session: nuid.Next(), seen: recent.NewSet(o.Remember)}
	err := s.probe(ctx)
	if err == nil {
		s.version, err = s.table.found(ctx, uuid.NewString(), o.Now())
	}
	if err == nil {
		err = s.load(ctx)
	}
	if err == nil {
		err = s.sweep(ctx)
	}
	if err == nil {
		s.metrics, err = newMetrics(o.Registerer)
	}
	if err != nil {
		return nil, trouble(opOpen, err)
	}
	s.log.Info("table opened", zap.Int64("version", s.version), zap.Int("events_remembered", s.seen.Len()))
	return s, nil
}

// probe makes sure that a name can be taken once: a store that overwrites instead would lose commits.
func (s *Sink) probe(ctx context.Context) error {
	for range 2 {
		err := s.st.create(ctx, probeName, []byte("weft\n"))
		if errors.Is(err, errTaken) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fault.New("", fault.Conflict, "no_conditional_writes",
		"the store overwrites an object that it was asked to create (If-None-Match is ignored): two writers would lose events")
}

// Subscription fills in what this sink needs: events are in no order, and of two copies of one the later waits.
func (s *Sink) Subscription(o consumers.Options) consumers.Options {
	if o.Key == nil {
		o.Key = func(m *consumers.Message) string { return m.EventID }
	}
	if o.Workers == 0 {
		o.Workers = 1
	}
	if o.Batch == 0 {
		o.Batch = min(2*s.opts.Batch, mostEvents) // the next events come while a commit is made
	}
	return o
}

// Run writes what the subscription delivers until ctx ends.
func (s *Sink) Run(ctx context.Context, sub *consumers.Subscription) error {
	return sub.RunBatches(ctx, consumers.Batching{Most: s.opts.Batch, Linger: max(s.opts.Linger, 0)}, s.HandleBatch)
}

// Close releases connections and metrics. There is nothing to flush: what was acknowledged is committed.
func (s *Sink) Close() error {
	if s.release != nil {
		s.release()
	}
	s.metrics.close()
	return nil
}
