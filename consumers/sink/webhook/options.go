package webhook

import (
	"cmp"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	opOpen  = "sink.webhook.open"
	opWrite = "sink.webhook.write"
)

// Options say where events go, and how. A zero field means its default; URL and Secrets have none.
type Options struct {
	URL     string                 // https; http for an address of this machine that Allow lists
	Secrets []signature.WebhookKey // each signs every request, 1..4
	Token   keyring.Secret         // sent as Authorization: Bearer; none: no such header

	CAs   *x509.CertPool // who may vouch for the endpoint; nil: the system's authorities
	Allow []netip.Prefix // what is private and may be dialled all the same; an address that gives out credentials of a cloud only as a prefix of its own
	Deny  []netip.Prefix // what is public and must not be dialled, such as one's own addresses

	Timeout     time.Duration // of one request, answer included; default 10 s
	Concurrency int           // requests at a time, 1..256; default 8
	MostTold    time.Duration // the longest wait that Retry-After is believed; default 1 h
	Unordered   bool          // an event does not wait for the ones of its key that came before and failed

	// StateFile holds, from then on, that the endpoint answered 410: nothing is sent before the file is removed, or URL is
	// another one. Empty: known only to this process.
	StateFile string

	Resolver *net.Resolver // of the endpoint's name; nil: the system's

	Logger     *zap.Logger           // default: none
	Registerer prometheus.Registerer // of the metrics weft_sink_*, until Close; nil: none
}

// DefaultOptions returns the options with every default filled in.
func DefaultOptions() Options { return Options{}.withDefaults() }

func (o Options) withDefaults() Options {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Concurrency = cmp.Or(o.Concurrency, 8)
	o.MostTold = cmp.Or(o.MostTold, time.Hour)
	o.Logger = cmp.Or(o.Logger, zap.NewNop())
	return o
}

func (o *Options) validate() error {
	invalid := func(format string, args ...any) error {
		return fault.New(opOpen, fault.Invalid, "invalid_options", format, args...)
	}
	switch n := len(o.Secrets); {
	case n < 1 || n > signature.MaxWebhookSignatures:
		return invalid("%d secrets: 1 to %d", n, signature.MaxWebhookSignatures)
	case slices.ContainsFunc(o.Secrets, func(k signature.WebhookKey) bool { return !k.Valid() }):
		return invalid("a secret is empty: make it with signature.ParseWebhookKey")
	case o.Timeout < time.Millisecond || o.Timeout > 10*time.Minute:
		return invalid("timeout %s: 1ms to 10m", o.Timeout)
	case o.Concurrency < 1 || o.Concurrency > 256:
		return invalid("concurrency %d: 1 to 256", o.Concurrency)
	case o.MostTold < 0:
		return invalid("the longest wait that is believed, %s, is negative", o.MostTold)
	case !validToken(o.Token):
		return invalid("the token is not one line of visible ASCII characters")
	}
	if problem := o.URLProblem(); problem != "" {
		return invalid("%s", problem)
	}
	return nil
}

// validToken says whether a token can stand in a header as it is.
func validToken(t keyring.Secret) bool {
	return !slices.ContainsFunc(t, func(c byte) bool { return c <= ' ' || c > '~' })
}

// URLProblem says what is wrong with URL, given Allow and Deny, or "". It never shows it: query and user may be secrets.
func (o *Options) URLProblem() string {
	_, problem := o.endpoint()
	return problem
}

func (o *Options) endpoint() (u *url.URL, problem string) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Port() == "0":
		return nil, "the URL cannot be read: write it as https://host/path"
	case u.User != nil:
		return nil, "the URL names a user: use a token, which is kept out of logs"
	case u.Fragment != "":
		return nil, "the URL has a fragment, which is never sent"
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(u.Hostname(), "."))
	literal := err == nil
	if literal {
		if why := (guard{allow: o.Allow, deny: o.Deny}).refuses(addr); why != "" {
			return nil, "the URL's address " + addr.String() + " is not dialled: " + why
		}
	}
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && literal && addr.Unmap().IsLoopback():
	default:
		return nil, "the URL is not https: events would be readable on their way; http is for addresses of this machine, such as http://127.0.0.1:8080/"
	}
	return u, ""
}

// Subscription fills in what this sink needs where o leaves it open.
func (s *Sink) Subscription(o consumers.Options) consumers.Options {
	o.Workers = cmp.Or(o.Workers, s.opts.Concurrency)
	if s.opts.Unordered && o.Key == nil {
		o.Key = func(m *consumers.Message) string { return m.EventID }
	}
	return o
}

// transport is how the endpoint is reached: nothing of the environment, and nothing that an answer asks for.
func (o *Options) transport() *http.Transport {
	dialer := net.Dialer{Timeout: o.Timeout, Control: guard{allow: o.Allow, deny: o.Deny}.control, Resolver: o.Resolver}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        tlsConfig(o.CAs),
		TLSHandshakeTimeout:    o.Timeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxConnsPerHost:        o.Concurrency,
		MaxIdleConnsPerHost:    o.Concurrency,
		IdleConnTimeout:        time.Minute, // then its name is resolved again
		MaxResponseHeaderBytes: maxAnswerHeader,
	}
}
