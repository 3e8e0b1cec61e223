package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/header"
)

const (
	maxAnswerHeader = 16 << 10
	maxAnswerBody   = 16 << 10               // read so that the connection can be used again, and thrown away
	answerBodyWait  = 250 * time.Millisecond // for that
)

func tlsConfig(cas *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: cas, MinVersion: tls.VersionTLS12}
}

// answer is all that is kept of one.
type answer struct {
	status     int // 0: there was none
	retryAfter string
	at         time.Time
}

// post sends one event, once.
func (s *Sink) post(ctx context.Context, m *consumers.Message) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.String(), bytes.NewReader(m.Raw))
	if err != nil {
		return answer{}, err
	}
	s.head(req.Header, m, time.Now())
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close() // it is the connection itself, for which ctx does not hold
	} else {
		discard(resp.Body, cancel)
	}
	return answer{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), at: time.Now()}, nil
}

func (s *Sink) head(h http.Header, m *consumers.Message, now time.Time) {
	id, at := webhookID(m.EventID), strconv.FormatInt(now.Unix(), 10)
	content := signature.AppendWebhook(nil, id, at, m.Raw)
	var list []string
	for _, k := range *s.secrets.Load() {
		list = append(list, k.Sign(content))
	}
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "weft-webhook")
	h.Set(signature.WebhookID, id)
	h.Set(signature.WebhookTimestamp, at)
	h.Set(signature.WebhookSignature, strings.Join(list, " "))
	if len(s.opts.Token) > 0 {
		h.Set("Authorization", "Bearer "+string(s.opts.Token))
	}
	if parent := m.Header.Get(header.TraceParent); parent != "" {
		h.Set("Traceparent", parent)
	}
}

// webhookID is the event's id with "/" for each dot: Standard Webhooks allows no dot, and no event id has a slash.
func webhookID(eventID string) string { return strings.ReplaceAll(eventID, ".", "/") }

// discard takes a bounded part of what the endpoint says beside its status, in bounded time.
func discard(body io.ReadCloser, cancel context.CancelFunc) {
	limit := time.AfterFunc(answerBodyWait, cancel)
	defer limit.Stop()
	_, _ = io.CopyN(io.Discard, body, maxAnswerBody)
	_ = body.Close()
}
