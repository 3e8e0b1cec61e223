package files

import (
	"crypto/x509"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// Options of a Sink. Either Dir or S3.Bucket is required; a zero field means its default.
type Options struct {
	Dir string // a directory of this machine, made when it is not there
	S3  S3

	Batch     int           // events of one commit at most, 1 to 10000; default 5000
	Linger    time.Duration // a commit waits that long for more events after its first one; default 60 s, negative: it does not
	FileBytes int           // a file is closed when the events in it have that many bytes, at least 64 KiB; default 64 MiB
	Raw       bool          // a column with each event as its producer sent it, byte for byte

	// Remember is how many of the last events are compared with what comes; default 500,000, which is about 30 MB and at
	// most twice that. Horizon bounds in addition how far back the table is read at the start; default 24 h of its life.
	Remember int
	Horizon  time.Duration
	Timeout  time.Duration // of one request to S3; default 30 s

	Now        func() time.Time
	Logger     *zap.Logger           // default: none
	Registerer prometheus.Registerer // of the metrics weft_sink_*; nil: none
}

// S3 is a bucket of any server that speaks S3 and honours If-None-Match when an object is written.
type S3 struct {
	Endpoint string // host or host:port; default s3.amazonaws.com
	Region   string
	Bucket   string
	Prefix   string // of all objects, without slashes at its ends
	// AccessKey and SecretKey; without them the environment's (AWS_ACCESS_KEY_ID, …) or the machine's role.
	AccessKey string
	SecretKey keyring.Secret
	RootCAs   *x509.CertPool // nil: the system's
	Plain     bool           // HTTP without TLS
}

const (
	mostEvents   = 10_000
	minFileBytes = 64 << 10
	// parallel is how many objects are read at a time when the table is opened.
	parallel = 16
)

// DefaultOptions returns the options with every default filled in.
func DefaultOptions() Options { return Options{}.withDefaults() }

func (o Options) withDefaults() Options {
	number := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	span := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	number(&o.Batch, 5000)
	number(&o.FileBytes, 64<<20)
	number(&o.Remember, 500_000)
	span(&o.Linger, time.Minute)
	span(&o.Horizon, 24*time.Hour)
	span(&o.Timeout, 30*time.Second)
	if o.S3.Endpoint == "" {
		o.S3.Endpoint = "s3.amazonaws.com"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

func (o *Options) validate() error {
	problem := ""
	switch {
	case o.Dir == "" && o.S3.Bucket == "":
		problem = "a directory or a bucket is needed"
	case o.Dir != "" && o.S3.Bucket != "":
		problem = "a directory excludes a bucket"
	case strings.Contains(o.S3.Endpoint, "/"):
		problem = "the endpoint is a host, or host:port, without a scheme"
	case strings.Trim(o.S3.Prefix, "/") != o.S3.Prefix:
		problem = "the prefix has no slash at its ends"
	case (o.S3.AccessKey == "") != (len(o.S3.SecretKey) == 0):
		problem = "an access key needs its secret, and the other way round"
	case o.Batch < 1 || o.Batch > mostEvents:
		problem = "a commit has 1 to 10000 events"
	case o.Linger > time.Hour:
		problem = "a commit waits an hour at most"
	case o.FileBytes < minFileBytes:
		problem = "a file has at least 64 KiB"
	case o.Remember < o.Batch:
		problem = "at least as many events are remembered as a commit has"
	case o.Horizon < time.Minute || o.Timeout < 0:
		problem = "the horizon is at least a minute, the timeout not negative"
	default:
		return nil
	}
	return fault.New(opOpen, fault.Invalid, "invalid_options", "%s", problem)
}
