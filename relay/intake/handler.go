package intake

import (
	"crypto/ed25519"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
)

// New makes a handler.
func New(o Options) (*Handler, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Refusals == nil {
		o.Refusals = noAccount{}
	}
	if o.Clock == nil {
		o.Clock = trusted{}
	}
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fault.Wrap("intake.new", fault.Internal, err)
	}
	h := &Handler{o: o, hosts: map[string]struct{}{}, dummy: keyring.NewSecret(32), dummyPublic: keyring.Secret(public)}
	h.nobody = nobody()
	h.secrets.Store(h.nobody.Kid, &opened{sealed: h.nobody.Sealed, secret: h.dummy})
	h.siblings.Store(&map[producer][]string{})
	for _, name := range o.Hosts {
		h.hosts[strings.ToLower(name)] = struct{}{}
	}
	h.events = event.DefaultLimits()
	h.events.MaxEvents = o.Limits.BatchEvents
	h.events.MaxEventBytes = int(min(int64(h.events.MaxEventBytes), o.Limits.BodyBytes))
	h.retry = strconv.Itoa(int(o.Limits.RetryAfter / time.Second))
	return h, nil
}

// exchange is one request and its answer. Its slices are reused: nothing of it outlives the request.
type exchange struct {
	now   time.Time
	state *control.State
	signing
	caller caller
	claim  claim
	all    bool // list every event in the answer

	request *http.Request
	single  bool // the body is one event, not a batch
	noted   bool // its refused events are in the account of refusals

	checking
	doubtful
	body     []byte
	decoded  []event.Result
	outcomes []outcome
	routes   []route
	msgs     []uplink.Message
	acks     []uplink.Result
	sent     []int32 // the outcome of each message
	subjects []byte
	ends     []int // of each subject
	out      []byte
}

// caller is who sent the request, once it is verified.
type caller struct {
	key      *keyring.Key
	tenant   *accounts.Tenant
	producer string
	grant    *token.Grant // of the request's access token, nil when it has none
}

func (h *Handler) exchange() *exchange {
	x, _ := h.exchanges.Get().(*exchange)
	if x == nil {
		x = new(exchange)
	}
	x.now = h.o.Now()
	x.state = h.o.Control.State()
	return x
}

// recycle empties x, so that no reference into a request stays behind.
func (h *Handler) recycle(x *exchange) {
	x.state, x.signing, x.caller, x.claim, x.all = nil, signing{content: x.content[:0]}, caller{}, claim{}, false
	x.request, x.single, x.noted = nil, false, false
	x.checking.reset()
	clear(x.decoded)
	clear(x.outcomes)
	clear(x.routes)
	clear(x.msgs)
	clear(x.acks)
	x.doubtful.reset()
	x.body, x.decoded, x.outcomes, x.routes = x.body[:0], x.decoded[:0], x.outcomes[:0], x.routes[:0]
	x.msgs, x.acks, x.sent, x.out = x.msgs[:0], x.acks[:0], x.sent[:0], x.out[:0]
	x.subjects, x.ends = x.subjects[:0], x.ends[:0]
	h.exchanges.Put(x)
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.exchange()
	x.request = r
	start := x.now
	status, code := http.StatusInternalServerError, codeInternal
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
				panic(v)
			}
			h.o.Logger.Error("panic in a request", zap.Any("panic", v), zap.ByteString("stack", debug.Stack()))
			status, code = h.refuse(w, x, &problem{status: status, code: code, detail: "the relay failed; the event may be stored: retry with the same event_id"})
		}
		h.o.Recorder.Request(status, code, h.o.Now().Sub(start))
		h.recycle(x)
	}()
	if p := h.admit(x, r); p != nil {
		status, code = h.refuse(w, x, p)
		return
	}
	status, code = h.accept(w, x, r)
}

// admit takes the request through every check that concerns it as a whole, in the order in which they
// must stand: nothing costly before the cheap ones, nothing about clocks before the signature proved
// whose clock it is.
func (h *Handler) admit(x *exchange, r *http.Request) *problem {
	if p := h.checkClient(r); p != nil {
		return p
	}
	if p := h.checkTarget(x, r); p != nil {
		return p
	}
	if p := h.checkHeaders(x, r); p != nil {
		return p
	}
	if p := h.checkCoarseTime(x); p != nil {
		return p
	}
	if p := h.checkHost(r); p != nil {
		return p
	}
	if p := h.readBody(x, r); p != nil {
		return p
	}
	if p := h.authenticate(x, r); p != nil {
		return p
	}
	p := checkIdentity(x, r)
	h.measure(x)
	if p != nil {
		return p
	}
	if p := h.checkToken(x, r); p != nil {
		return p
	}
	if p := h.checkTime(x); p != nil {
		return p
	}
	return h.checkReplay(x)
}

// accept decodes, routes and publishes the events of an admitted request and writes the answer.
func (h *Handler) accept(w http.ResponseWriter, x *exchange, r *http.Request) (status int, code string) {
	single, p := h.decode(x)
	x.single = single
	if p != nil {
		return h.refuse(w, x, p)
	}
	if p := h.route(x); p != nil {
		return h.refuse(w, x, p)
	}
	trace := parseTrace(r.Header[headerTraceParent])
	if x.claim.repeat {
		x.repeat()
		h.recall(r.Context(), x)
	} else {
		h.publish(r.Context(), x, trace)
		h.recall(r.Context(), x)
		h.derive(r.Context(), x, trace)
	}
	h.count(x)
	if p := h.checkJournaled(x); p != nil {
		x.noted = false // its events are, and this is another refusal
		return h.refuse(w, x, p)
	}
	if single {
		return h.answerOne(w, x)
	}
	return h.answerBatch(w, x)
}

// refuse writes a problem and takes note of it.
func (h *Handler) refuse(w http.ResponseWriter, x *exchange, p *problem) (int, string) {
	p.instance = x.named()
	if p.status == http.StatusServiceUnavailable || p.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", h.retry)
	}
	if p.allow != "" {
		w.Header().Set("Allow", p.allow)
	}
	if c := challenge(p); c != "" {
		w.Header().Set("WWW-Authenticate", c)
	}
	w.Header().Set("Date", x.now.UTC().Format(http.TimeFormat)) // the clock that judged, so that a drift shows
	h.note(x, p)
	x.out = p.append(x.out[:0])
	write(w, "application/problem+json", p.status, x.out)
	return p.status, p.code
}

// write sends the answer. An error of the connection concerns nobody: the client retries.
func write(w http.ResponseWriter, contentType string, status int, body []byte) {
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("Content-Length", strconv.Itoa(len(body)))
	head.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
