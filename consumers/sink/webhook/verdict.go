package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	codeGone   = "endpoint_gone"
	codeDenied = "address_denied"
)

// verdict is what an answer, or none, means.
type verdict struct {
	status  int
	code    string // of the fault; "" when the endpoint took the event
	why     string
	refused bool // the endpoint works, and will never take this event
	gone    bool
	told    time.Duration // how long the endpoint does not want to be asked
}

// judge reads an answer. Err is why there is none.
func judge(a answer, err error) verdict {
	v := verdict{status: a.status}
	if err != nil {
		v.code = unreached(err)
		return v
	}
	switch a.status {
	case http.StatusGone:
		v.gone, v.code, v.why = true, codeGone, "it wants no more events"
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		v.code, v.why = "endpoint_denies", "are the secret and the token those that it knows?"
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMisdirectedRequest:
		v.code, v.why = "endpoint_missing", "is the URL right?"
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		v.code, v.why = "endpoint_busy", "later is fine"
	case http.StatusInternalServerError:
		v.code, v.why = "endpoint_failed", "it may be the event, or not"
	default:
		switch {
		case a.status >= 200 && a.status < 300:
		case a.status >= 300 && a.status < 400:
			v.code, v.why = "endpoint_moved", "redirects are not followed: is the URL right?"
		case a.status >= 400 && a.status < 500:
			v.refused, v.code, v.why = true, "event_refused", "it takes no such event"
		default:
			v.code, v.why = "endpoint_unavailable", "later is fine"
		}
	}
	if v.code != "" && !v.refused && !v.gone {
		v.told, _ = retry.ParseAfter(a.retryAfter, a.at)
	}
	return v
}

// err is what Handle returns: the class of a failure follows from its kind and mark.
func (v *verdict) err(endpoint string, cause error) error {
	f := &fault.Error{Op: opWrite, Kind: fault.Unavailable, Code: v.code}
	switch {
	case v.code == "":
		return nil
	case cause != nil:
		f.Detail, f.Err = endpoint+" was not reached", shown(cause)
		return f
	}
	f.Detail = fmt.Sprintf("%s answered %d %s: %s", endpoint, v.status, http.StatusText(v.status), v.why)
	switch {
	case v.refused:
		f.Kind = fault.Invalid
		return retry.Permanent(f)
	case v.status == http.StatusInternalServerError:
		f.Kind = fault.Internal
	}
	return f
}

// unreached is the code of a request without an answer.
func unreached(err error) string {
	if code := fault.CodeOf(err); code == codeDenied {
		return code
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "endpoint_unknown"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "endpoint_untrusted"
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return "endpoint_slow"
	}
	return "endpoint_unreachable"
}

// shown is the part of a transport's error that may be told: not the URL, which net/http puts in front, and nothing that
// the other side wrote.
func shown(err error) error {
	if ours, ok := errors.AsType[*fault.Error](err); ok {
		return ours
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return name
	}
	if trust, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return trust
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection ended")
	default:
		return errors.New("what came is no answer")
	}
}
