package intake

import (
	"net/http"
	"time"
)

// Clock knows whether the relay's own clock is to be trusted; clock.Watch does.
type Clock interface {
	// Unsure is why not, "" while it is. It is asked at every request and must not block.
	Unsure() string
	// Look is Unsure after a look at the clocks.
	Look() string
}

// trusted is for a handler without Clock.
type trusted struct{}

func (trusted) Unsure() string { return "" }
func (trusted) Look() string   { return "" }

// clockUnsure answers for a relay that does not know what time it is: it cannot tell a client that drifts from an
// honest one, nor a captured request from a fresh one.
func clockUnsure(why string) *problem {
	return fail(http.StatusServiceUnavailable, codeClock, "%s: retry, or send to another relay", why)
}

// skew is how far the request's clock is from the relay's, positive when it is behind. The timestamp is
// at most twelve digits.
func (x *exchange) skew() time.Duration {
	var ts int64
	for i := range len(x.timestamp) {
		ts = ts*10 + int64(x.timestamp[i]-'0')
	}
	// whole seconds on both sides, and no overflow: a Duration holds 292 years
	const most = int64(1<<63-1) / int64(time.Second)
	return time.Duration(max(min(x.now.Unix()-ts, most), -most)) * time.Second
}

// checkCoarseTime is before the signature and the ends of keys and certificates are looked at: with a clock that is
// not trusted, none of it can be judged.
func (h *Handler) checkCoarseTime(x *exchange) *problem {
	if why := h.o.Clock.Unsure(); why != "" {
		return clockUnsure(why)
	}
	return h.checkSkew(x, h.o.Limits.CoarseSkew)
}

// checkTime is the window proper, after the signature has shown whose clock it is.
func (h *Handler) checkTime(x *exchange) *problem {
	return h.checkSkew(x, h.o.Limits.Skew)
}

// checkSkew passes what carries no time: only the body scheme does not.
func (h *Handler) checkSkew(x *exchange, limit time.Duration) *problem {
	if x.form == formBody {
		return nil
	}
	d, side := x.skew(), "behind"
	if d < 0 {
		d, side = -d, "ahead of"
	}
	if d <= limit {
		return nil
	}
	if why := h.o.Clock.Look(); why != "" {
		return clockUnsure(why)
	}
	most := int64(h.o.Limits.Skew / time.Second) // of the signature, also where the limit before it is meant
	p := fail(http.StatusUnauthorized, codeSkew, "%s is %d s %s this relay's clock, which says %s; at most %d s are allowed",
		x.form.timestampHeader(), int64(d/time.Second), side, x.now.UTC().Format(time.RFC3339), most)
	p.drift = &drift{ahead: -int64(x.skew() / time.Second), most: most}
	return p
}
