package revocation

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// Trust says which authorities count; pki.Files is one. Its methods take no lock.
type Trust interface {
	// Authorities are all that are trusted.
	Authorities() []*x509.Certificate
	// Own says whether an authority is the mesh's own. Lists and responders are asked for others alone.
	Own(authority pki.Issuer) bool
	// Speaks says whether an authority's certificates may name a principal.
	Speaks(authority pki.Issuer, who pki.Principal) bool
}

// Policy says what becomes of a client of whom it is not known whether it is revoked.
type Policy string

// The policies.
const (
	Refuse Policy = "refuse" // 503 until it is known again
	Warn   Policy = "warn"   // let in, and logged
)

// Mode says how OCSP is used.
type Mode string

// The modes.
const (
	OCSPOff     Mode = "off"
	OCSPStapled Mode = "stapled" // clients bring the answer of their responder along (TLS 1.3)
	OCSPAsk     Mode = "ask"     // the responder is asked where none is brought
)

// FromCertificate stands for the address of the responder that a client's certificate names.
const FromCertificate = "aia"

// Options of a Checker.
type Options struct {
	Trust Trust // nil: every verified chain may name every principal
	// State is the control state, which holds what the mesh itself has revoked. It is asked at every check, so that
	// no request is judged by an older state than the one that its key is looked up in.
	State func() *control.State

	Lists       []string // files and URLs of revocation lists, DER or PEM
	ListRefresh time.Duration
	ListStale   Policy // for authorities of others, once Lists name any
	StateDir    string // keeps the last good lists over a restart; "": they are not kept

	OCSP            Mode
	Responder       string // URL, or FromCertificate
	OCSPRefresh     time.Duration
	OCSPUnreachable Policy

	HTTP   *http.Client // nil: one without redirects
	Logger *zap.Logger
	Now    func() time.Time
}

// DefaultOptions use neither lists nor responders; State is the caller's.
func DefaultOptions() Options {
	return Options{
		ListRefresh: 5 * time.Second, ListStale: Refuse, OCSP: OCSPOff, OCSPRefresh: 5 * time.Second, OCSPUnreachable: Refuse,
		Logger: zap.NewNop(), Now: time.Now,
	}
}

func (o *Options) validate() error {
	bad := func(format string, args ...any) error {
		return fault.New("revocation.new", fault.Invalid, "options", format, args...)
	}
	for _, source := range o.Lists {
		if isURL(source) && !validURL(source) {
			return bad("%q is not a URL of a list", source)
		}
	}
	policy := func(p Policy) bool { return p == Refuse || p == Warn }
	switch {
	case o.State == nil || o.Logger == nil || o.Now == nil:
		return bad("State, Logger and Now must be set")
	case !policy(o.ListStale) || !policy(o.OCSPUnreachable):
		return bad("a policy is %s or %s", Refuse, Warn)
	case o.ListRefresh < time.Second || o.OCSPRefresh < time.Second:
		return bad("lists and responders are asked every second at most")
	case o.OCSP != OCSPOff && o.OCSP != OCSPStapled && o.OCSP != OCSPAsk:
		return bad("OCSP is %s, %s or %s", OCSPOff, OCSPStapled, OCSPAsk)
	case o.OCSP == OCSPAsk && o.Responder != FromCertificate && !validURL(o.Responder):
		return bad("%q is neither the URL of a responder nor %q", o.Responder, FromCertificate)
	case o.Trust == nil && (len(o.Lists) > 0 || o.OCSP != OCSPOff):
		return bad("lists and responders need to know the authorities")
	}
	return nil
}

func isURL(source string) bool { return strings.Contains(source, "://") }

func validURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}
