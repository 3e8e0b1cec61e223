package nats

import (
	"crypto/tls"
	"strings"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Options of a Sink. Stream, and either Conn or URLs, are required; a zero field means its default.
type Options struct {
	Conn      *client.Conn // the caller's, who closes it; nil: Open connects
	URLs      []string
	CredsFile string      // read again at every reconnect
	TLS       *tls.Config // for URLs; nil: the system's roots where a URL asks for TLS
	Name      string      // shown by the server's monitoring; default "weft-sink"

	Domain string // the target's JetStream domain, where it is not the server's own
	Stream string // exists, and stores Prefix and what follows it
	Prefix string // subjects of the copies begin with it, such as "copy.acme"; default: nothing

	Batch    int           // events of one batch, which is how many are under way at most; 1 to 10000, default 512
	Linger   time.Duration // a batch waits that long for more events after its first one; default: it does not
	Remember int           // how many of the target's last events are compared with what comes; default 200,000, at most 24 MB
	Timeout  time.Duration // of an answer of the target; default 5 s

	Logger     *zap.Logger           // default: none
	Registerer prometheus.Registerer // of the metrics weft_sink_*; nil: none
}

const mostEvents = 10_000

// DefaultOptions returns the options with every default filled in.
func DefaultOptions() Options { return Options{}.withDefaults() }

func (o Options) withDefaults() Options {
	if o.Name == "" {
		o.Name = "weft-sink"
	}
	if o.Batch == 0 {
		o.Batch = 512
	}
	if o.Remember == 0 {
		o.Remember = 200_000
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

func (o *Options) validate() error {
	problem := ""
	switch {
	case o.Conn == nil && len(o.URLs) == 0:
		problem = "neither a connection nor URLs given"
	case o.Conn != nil && (len(o.URLs) > 0 || o.CredsFile != "" || o.TLS != nil):
		problem = "a connection excludes URLs, credentials and TLS: it has its own"
	case o.Stream == "" || strings.ContainsAny(o.Stream, " .*>/\\\t\r\n"):
		problem = "the target stream needs a name"
	case strings.ContainsAny(o.Prefix, " *>\t\r\n") || strings.HasPrefix(o.Prefix, ".") || strings.HasSuffix(o.Prefix, ".") || strings.Contains(o.Prefix, ".."):
		problem = "the prefix is one or more words with dots between them"
	case o.Batch < 1 || o.Batch > mostEvents:
		problem = "a batch has 1 to 10000 events"
	case o.Remember < o.Batch:
		problem = "at least as many events are remembered as a batch has"
	case o.Linger < 0 || o.Linger > time.Hour || o.Timeout < 0:
		problem = "a batch waits an hour at most, and neither linger nor timeout is negative"
	default:
		return nil
	}
	return fault.New(opOpen, fault.Invalid, "invalid_options", "%s", problem)
}

// subject is where the copy of an event goes.
func (o *Options) subject(of string) string {
	if o.Prefix == "" {
		return of
	}
	return o.Prefix + "." + of
}
