package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/streams/fault"
)

// attempt is the outcome of one request.
type attempt struct {
	open  []int         // events without a final result
	after time.Duration // what the relay asked to wait
	err   error         // no request of this kind can succeed
	stale bool          // but for one with a newer token or certificate
}

// answer is every document that a relay answers with: of one event, of a batch, of a problem.
type answer struct {
	// problem
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Errors []struct {
		Pointer string `json:"pointer"`
	} `json:"errors"`
	// one event
	EventID string `json:"event_id"`
	Status  any    `json:"status"` // a problem's is a number
	Region  string `json:"region"`
	Seq     uint64 `json:"seq"`
	// batch
	Stored  *int   `json:"stored"`
	Ack     string `json:"ack"`
	Results []item `json:"results"`

	Warnings []Warning `json:"warnings"`
}

// pass passes on what a relay says about events that it took, each once.
func (c *Client) pass(list []Warning) {
	for _, w := range list {
		switch _, said := c.said.LoadOrStore(w, true); {
		case said:
		case c.o.OnWarning != nil:
			c.o.OnWarning(w)
		default:
			c.o.Logger.Warn("the relay says of events that it took: "+w.Detail, zap.String("code", w.Code), zap.String("schema", w.Schema))
		}
	}
}

type item struct {
	Index   int    `json:"index"`
	Status  string `json:"status"`
	Region  string `json:"region"`
	Seq     uint64 `json:"seq"`
	Ack     string `json:"ack"` // empty: the whole answer's
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	Pointer string `json:"pointer"`
}

// statusUnavailable is the one status that is no result: the event is sent again.
const statusUnavailable = "unavailable"

// maxAnswer bounds what is read of an answer: 10,000 results of some hundred bytes.
const maxAnswer = 16 << 20

// attempt sends the events in one request and sets what is final of their results.
func (r *run) attempt(ctx context.Context, open []int) attempt {
	single := len(open) == 1
	req, err := r.request(ctx, open)
	if err != nil {
		return attempt{open: open, err: err}
	}
	if err := r.authorize(ctx, req); err != nil {
		return r.unanswered(ctx, open, err)
	}
	begin := r.o.Now()
	res, err := r.http.Load().Do(req)
	if err != nil {
		return r.unanswered(ctx, open, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	r.noteDate(res.Header.Get("Date"), begin)
	if err != nil {
		return r.unanswered(ctx, open, err)
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		a = answer{Code: "http_" + strconv.Itoa(res.StatusCode), Detail: "an answer that is not a relay's"}
	}
	r.pass(a.Warnings)
	after := retryAfter(res.Header.Get("Retry-After"), r.o.Now())
	switch code := res.StatusCode; {
	case code == http.StatusAccepted && single:
		status, ok := a.Status.(string)
		if !ok {
			r.note(open, "answer_malformed", "an answer without a status")
			return attempt{open: open}
		}
		r.settle(open[0], item{Status: status, Region: a.Region, Seq: a.Seq, Code: a.Code, Detail: a.Detail}, a.Ack)
		return attempt{}
	case a.Stored != nil && (code == http.StatusOK || code == http.StatusServiceUnavailable):
		left, err := r.settleBatch(open, &a)
		return attempt{open: left, after: after, err: err}
	case code >= http.StatusInternalServerError, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		r.note(open, a.Code, a.Detail)
		return attempt{open: open, after: after}
	case code == http.StatusRequestEntityTooLarge && !single:
		return attempt{open: open, err: errTooLarge}
	case single && (len(a.Errors) > 0 || code == http.StatusConflict || code == http.StatusUnprocessableEntity || code == http.StatusRequestEntityTooLarge):
		it := item{Status: string(Rejected), Code: a.Code, Detail: a.Detail}
		if len(a.Errors) > 0 {
			it.Pointer = a.Errors[0].Pointer
		}
		r.settle(open[0], it, "")
		return attempt{}
	default:
		r.note(open, a.Code, a.Detail)
		return attempt{open: open, err: refused(code, a.Code, a.Detail), stale: r.o.Token != nil && stale(a.Code)}
	}
}

// stale says whether a refusal may be over with the next token: this one has ended, or the certificate was
// renewed, and token and connection are not of the same one.
func stale(code string) bool {
	return code == token.CodeExpired || code == token.CodeKeyUnknown || code == token.CodeBinding
}

// request builds and signs one request.
func (r *run) request(ctx context.Context, open []int) (*http.Request, error) {
	events := make([][]byte, len(open))
	for n, i := range open {
		events[n] = r.events[i]
	}
	body, contentType := r.o.join(events)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.endpoint, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	r.o.sign(req, body)
	return req, nil
}

// authorize adds the access token, when requests carry one.
func (r *run) authorize(ctx context.Context, req *http.Request) error {
	if r.o.Token == nil {
		return nil
	}
	raw, err := r.o.Token(ctx)
	if err != nil {
		return fmt.Errorf("no access token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	return nil
}

// unanswered notes a failure of the network: the events may be stored or not. Over a certificate it is final.
func (r *run) unanswered(ctx context.Context, open []int, err error) attempt {
	if refusal := certificateRefusal(err); refusal != nil {
		r.note(open, fault.CodeOf(refusal), err.Error())
		return attempt{open: open, err: refusal}
	}
	r.note(open, "no_answer", err.Error())
	if ctx.Err() != nil {
		return attempt{open: open, err: r.givenUp(open, context.Cause(ctx).Error())}
	}
	return attempt{open: open}
}

func (r *run) note(open []int, code, detail string) {
	for _, i := range open {
		r.results[i].Code, r.results[i].Detail = code, detail
	}
}

func (r *run) settle(i int, it item, ack string) {
	res := &r.results[i]
	res.Status, res.Code, res.Detail, res.Pointer = Status(it.Status), it.Code, it.Detail, it.Pointer
	res.Region, res.Seq = it.Region, it.Seq
	if res.Settled() {
		res.Ack = cmp.Or(it.Ack, ack)
	}
}

// settleBatch reads the answer to a batch: what it does not list is stored.
func (r *run) settleBatch(open []int, a *answer) (left []int, err error) {
	listed := make(map[int]*item, len(a.Results))
	for n := range a.Results {
		listed[a.Results[n].Index] = &a.Results[n]
	}
	plain := 0
	for n, i := range open {
		it := listed[n]
		switch {
		case it == nil:
			plain++
			r.settle(i, item{Status: string(Stored)}, a.Ack)
		case it.Status == statusUnavailable:
			left = append(left, i)
			r.note(left[len(left)-1:], it.Code, it.Detail)
		default:
			r.settle(i, *it, a.Ack)
		}
	}
	if plain != *a.Stored {
		// nothing of an answer that contradicts itself can be believed
		for _, i := range open {
			r.results[i] = Result{Index: i, EventID: r.results[i].EventID, Status: Unknown, Code: "answer_malformed"}
		}
		return open, refused(http.StatusOK, "answer_malformed", fmt.Sprintf("%d events stored by its count, %d by its list", *a.Stored, plain))
	}
	return left, nil
}

// noteDate keeps how far the clocks are apart. Date says whole seconds, so half of one is added.
func (r *run) noteDate(date string, begin time.Time) {
	there, err := http.ParseTime(date)
	if err != nil {
		return
	}
	end := r.o.Now()
	middle := begin.Add(end.Sub(begin) / 2)
	d := middle.Sub(there.Add(time.Second / 2))
	r.drift.Store(int64(d))
	const notable = 30 * time.Second // a tenth of what a relay allows
	if d.Abs() > notable && r.warned.CompareAndSwap(false, true) {
		r.o.Logger.Warn("the clock differs from the relay's", zap.Duration("ahead", d.Round(time.Second)))
	}
}

// retryAfter reads both forms of the header (RFC 9110, 10.2.3).
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n >= 0 && n < 1<<20 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

func jitter(most time.Duration) time.Duration { return rand.N(most + 1) }
