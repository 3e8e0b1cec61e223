package consumers

import (
	"cmp"
	"context"
	"crypto/tls"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

// Options say what to subscribe to, and how. A zero field means its default; only Durable, and either
// Conn or URLs, have none.
type Options struct {
	// Conn is a connection of the caller's, who closes it; nil: Subscribe opens its own. It should reconnect for
	// ever, and with credentials bound to a durable its inbox prefix is grant.ConsumerInbox of that durable.
	Conn      *nats.Conn
	URLs      []string    // servers of the region, such as "tls://127.0.0.1:18422"; not with Conn
	CredsFile string      // NATS credentials; read again at every reconnect, so it may be renewed in place
	TLS       *tls.Config // for URLs; nil: the system's roots where a URL asks for TLS
	Name      string      // shown by the server's monitoring; default "weft-consumer"

	Durable string   // name of the position, [A-Za-z0-9_-]{1,64}
	Topics  []string // default: all; credentials bound to a durable may create one of exactly one topic
	// Partitions are those whose events are delivered, 0..63; default: all.
	Partitions []int
	From       From   // where a new durable starts; default: the oldest event
	Stream     string // default EVENTS

	Batch      int           // how many events may be fetched and unacknowledged, 1..10000; default 256
	AckWait    time.Duration // how long after this process died its events come again, at least 1 s; default 30 s
	ConfirmAck bool          // wait for the server's word on each ack; slower, fewer events twice after a crash
	Workers    int           // handler calls at a time, of different keys, 1..256; default 1
	APITimeout time.Duration // for connecting and for each question to the server; default 5 s
	PullExpiry time.Duration // how long a pull request waits at the server, at least 1 s; default 30 s

	// Owner, if set, makes the durable one subscription's at a time. Package group counts the epochs.
	Owner *Owner
	// Track is told of each event that arrives and of each that is settled; default: nobody.
	Track Tracker

	// Key names what an event must be in order with: the next event of a key is handled after the one before it was.
	// It must be quick and pure, and may be called from any worker; default UserKey.
	Key func(*Message) string
	// Reorder puts the events of each source's users into the order of their count; nil: they are handled in the order of
	// the stream. AckWait is 30 s above its window then, unless it is said, and must be above it.
	Reorder *Reorder
	// Breaker stops all calls for a while when they fail one after the other.
	Breaker Breaker
	// Retry is how events that the handler fails on are tried again.
	Retry retry.Policy
	// Park puts away an event that the policy gives up. After it returned nil the event is acknowledged; with an error
	// it is called again later, and the handler is not. Default: into the tenant's stream DLQ of the region. Elsewhere
	// than in a mesh there is none: set Park there, or Retry.Attempts to a negative number and return no permanent error.
	Park func(context.Context, *Parked) error

	Logger     *zap.Logger           // default: none
	Registerer prometheus.Registerer // of the metrics weft_consumer_*, while Run runs; nil: none
}

const (
	maxBatch   = 10_000
	maxPending = maxBatch + 2*maxHeld
	minAckWait = time.Second
	maxTopics  = 256
	maxDurable = 64
	maxWorkers = 256
	maxFilters = 1024

	minPullExpiry = time.Second
)

// DefaultOptions returns the options with every default filled in.
func DefaultOptions() Options { return Options{}.withDefaults() }

func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, "weft-consumer")
	o.Stream = cmp.Or(o.Stream, subject.EventsStream)
	o.Batch = cmp.Or(o.Batch, 256)
	if o.Reorder != nil {
		r := o.Reorder.withDefaults()
		o.Reorder, o.AckWait = &r, cmp.Or(o.AckWait, r.Window+ackMargin)
	}
	o.AckWait = cmp.Or(o.AckWait, 30*time.Second)
	o.APITimeout = cmp.Or(o.APITimeout, 5*time.Second)
	o.PullExpiry = cmp.Or(o.PullExpiry, 30*time.Second)
	o.Workers = cmp.Or(o.Workers, 1)
	if o.Key == nil {
		o.Key = UserKey
	}
	o.Breaker = o.Breaker.withDefaults()
	o.Retry = o.Retry.WithDefaults()
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	return o
}

func (o *Options) validate() error {
	invalid := func(format string, args ...any) error {
		return fault.New(opSubscribe, fault.Invalid, "invalid_options", format, args...)
	}
	switch {
	case o.Conn == nil && len(o.URLs) == 0:
		return invalid("neither a connection nor URLs given")
	case o.Conn != nil && (len(o.URLs) > 0 || o.CredsFile != "" || o.TLS != nil):
		return invalid("a connection excludes URLs, credentials and TLS: it has its own")
	case !validName(o.Durable):
		return invalid("durable %q: 1 to %d of A-Z a-z 0-9 _ -", o.Durable, maxDurable)
	case !validName(o.Stream):
		return invalid("stream %q: 1 to %d of A-Z a-z 0-9 _ -", o.Stream, maxDurable)
	case o.Batch < 1 || o.Batch > maxBatch:
		return invalid("batch %d: 1 to %d", o.Batch, maxBatch)
	case o.AckWait < minAckWait:
		return invalid("ack wait %s: at least %s", o.AckWait, minAckWait)
	case o.Workers < 1 || o.Workers > maxWorkers:
		return invalid("%d workers: 1 to %d", o.Workers, maxWorkers)
	case o.PullExpiry < minPullExpiry:
		return invalid("pull expiry %s: at least %s", o.PullExpiry, minPullExpiry)
	case o.Owner != nil && o.Owner.Epoch == 0:
		return invalid("epochs of an owner start at 1")
	case len(o.filters()) > maxFilters:
		return invalid("%d partitions of %d topics: at most %d in total", len(o.Partitions), len(o.Topics), maxFilters)
	case o.APITimeout < 0:
		return invalid("api timeout %s is negative", o.APITimeout)
	case len(o.Topics) > maxTopics:
		return invalid("%d topics: at most %d", len(o.Topics), maxTopics)
	}
	for i, t := range o.Topics {
		if !subject.ValidTopic(t) && !subject.ValidDerivedTopic(t) {
			return invalid("topic %q: 1 to 64 of a-z 0-9 _ -", t)
		}
		if slices.Contains(o.Topics[:i], t) {
			return invalid("topic %q is named twice", t)
		}
	}
	for i, p := range o.Partitions {
		if p < 0 || p >= partition.Count || slices.Contains(o.Partitions[:i], p) {
			return invalid("partition %d: each once, 0 to %d", p, partition.Count-1)
		}
	}
	problem := cmp.Or(o.From.validate(), o.Retry.Validate(), o.Breaker.validate())
	if o.Reorder != nil {
		problem = cmp.Or(problem, o.Reorder.validate(o.AckWait))
	}
	if problem != "" {
		return invalid("%s", problem)
	}
	return nil
}

// validName says whether s can be a durable's name. NATS allows more, but not in every tool.
func validName(s string) bool {
	if s == "" || len(s) > maxDurable {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// filters are the subjects that the durable delivers, sorted; none for all topics: the server finds the next event
// of a filtered durable that lags behind by walking all subjects of a block of messages, at a third of the speed. What
// comes in addition without a filter are markers, a few a minute.
func (o *Options) filters() []string {
	var fs []string
	for _, t := range o.Topics {
		if len(o.Partitions) == 0 {
			fs = append(fs, subject.Topic(t))
		}
		for _, p := range o.Partitions {
			fs = append(fs, subject.PartitionTopic(p, t))
		}
	}
	if len(o.Topics) == 0 {
		for _, p := range o.Partitions {
			fs = append(fs, subject.Partition(p))
		}
	}
	slices.Sort(fs)
	return fs
}

// pending is how many events may be out: what is held for its order must leave room to fetch what it waits for.
func (o *Options) pending() int {
	if o.Reorder != nil {
		return o.Batch + o.Reorder.room()
	}
	return o.Batch
}

func (o *Options) consumerConfig() jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable:   o.Durable,
		AckPolicy: jetstream.AckExplicitPolicy,
		AckWait:   o.AckWait,
		// A server that never has more out than one batch lets a single keep-alive cover all of it.
		MaxAckPending: o.pending(),
		MaxDeliver:    -1,
	}
	// A lone filter goes into FilterSubject: then the create request names it in its subject, which
	// is what credentials bound to one topic allow.
	if fs := o.filters(); len(fs) == 1 {
		c.FilterSubject = fs[0]
	} else {
		c.FilterSubjects = fs
	}
	o.From.apply(&c)
	if o.Owner != nil { // nobody's yet: where it starts is still to be set
		(&Owner{Labels: o.Owner.Labels}).apply(&c, o.PullExpiry)
	}
	return c
}
