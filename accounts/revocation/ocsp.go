package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/weft-mesh/weft/accounts/pki"
)

const (
	maxQuestions = 16       // under way at once
	maxAnswers   = 16 << 10 // kept; more certificates than that are asked for when they are needed
	maxAnswer    = 64 << 10 // bytes
	askTimeout   = 5 * time.Second
	awaitTime    = 2 * time.Second // of a handshake whose certificate nobody has asked for yet
	forgetAfter  = 5 * time.Minute
	// bareLife is how long an answer holds that does not say when the next one comes.
	bareLife = time.Minute
)

// answer is what is known of one certificate through OCSP.
type answer struct {
	id      pki.ID
	leaf    *x509.Certificate
	issuer  *x509.Certificate
	verdict atomic.Pointer[verdict] // nil: nothing yet
	used    atomic.Int64            // unix seconds of the last check
	next    atomic.Int64            // unix nanoseconds before which it is not asked again
	flight  chan struct{}           // closed at the end of the question under way, nil without one; Checker.seen guards it
}

// verdict is one verified answer.
type verdict struct {
	status int // ocsp.Good, ocsp.Revoked or ocsp.Unknown
	made   time.Time
	until  time.Time
}

// readAnswer verifies a responder's answer about a certificate: signed by its issuer, or by a responder whom
// the issuer has certified for that.
func readAnswer(raw []byte, leaf, issuer *x509.Certificate, now time.Time) (*verdict, error) {
	r, err := ocsp.ParseResponseForCert(raw, leaf, issuer)
	if err != nil {
		return nil, err
	}
	if d := r.Certificate; d != nil && !bytes.Equal(d.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) {
		if !slices.Contains(d.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) { // else any client could clear itself
			return nil, errors.New("it is signed by a certificate that may not sign for the authority")
		}
		if now.Before(d.NotBefore) || now.After(d.NotAfter) {
			return nil, errors.New("it is signed by a certificate that has run out")
		}
	}
	v := &verdict{status: r.Status, made: r.ThisUpdate, until: r.NextUpdate}
	if v.until.IsZero() {
		v.until = r.ThisUpdate.Add(bareLife)
	}
	switch {
	case r.ThisUpdate.After(now.Add(skew)):
		return nil, errors.New("it is of the future")
	case now.After(v.until):
		return nil, errors.New("it is stale")
	}
	return v, nil
}

// take puts a verdict in the place of an older one. A revocation is never taken back.
func (a *answer) take(v *verdict) {
	for {
		have := a.verdict.Load()
		if have != nil && (have.status == ocsp.Revoked || v.status != ocsp.Revoked && v.made.Before(have.made)) {
			return
		}
		if a.verdict.CompareAndSwap(have, v) {
			return
		}
	}
}

// attend finds or begins the answer for a client of another authority, and reads what it brought along.
func (c *Checker) attend(client *Client, stapled []byte) {
	if c.o.OCSP == OCSPOff || c.o.Trust.Own(client.ids[0].Issuer) {
		return
	}
	id := client.ids[0]
	c.seen.Lock()
	a := c.asked[id]
	if a == nil {
		a = &answer{id: id, leaf: client.leaf, issuer: client.issuer}
		if len(c.asked) < maxAnswers {
			c.asked[id] = a
		}
	}
	c.seen.Unlock()
	client.ocsp = a
	a.used.Store(c.o.Now().Unix())
	if len(stapled) == 0 {
		return
	}
	v, err := readAnswer(stapled, client.leaf, client.issuer, c.o.Now())
	if err != nil {
		c.o.Logger.Info("a client's stapled answer is not used", zap.String("serial", client.Serial()), zap.Error(err))
		return
	}
	a.take(v)
}

// await gives the responder a moment if nothing current is known of a client.
func (c *Checker) await(client *Client) {
	a, now := client.ocsp, c.o.Now()
	if v := a.verdict.Load(); c.o.OCSP != OCSPAsk || v != nil && !now.After(v.until) || now.UnixNano() < a.next.Load() {
		return
	}
	flight := c.question(a)
	if flight == nil {
		return
	}
	wait := time.NewTimer(awaitTime)
	defer wait.Stop()
	select {
	case <-flight:
	case <-wait.C:
	}
}

// checkAnswer is the part of Check that OCSP has.
func (c *Checker) checkAnswer(client *Client) error {
	a := client.ocsp
	if a == nil {
		return nil
	}
	now := c.o.Now()
	a.used.Store(now.Unix())
	v := a.verdict.Load()
	switch {
	case v != nil && v.status == ocsp.Revoked:
		return errRevoked
	case v != nil && v.status == ocsp.Good && !now.After(v.until):
		return nil
	case c.lenient(c.o.OCSPUnreachable, "an OCSP answer", a.id.Issuer):
		return nil
	}
	return errSilent
}

// ask asks again for whatever is in use and due, and forgets what is not in use any more.
func (c *Checker) ask() {
	if c.o.OCSP == OCSPOff {
		return
	}
	now := c.o.Now()
	var due []*answer
	c.seen.Lock()
	for id, a := range c.asked {
		switch {
		case now.Unix()-a.used.Load() > int64(forgetAfter/time.Second) && (!a.revoked() || now.After(a.leaf.NotAfter)):
			delete(c.asked, id)
		case now.UnixNano() >= a.next.Load():
			due = append(due, a)
		}
	}
	c.seen.Unlock()
	if c.o.OCSP != OCSPAsk {
		return
	}
	for _, a := range due {
		c.question(a)
	}
}

func (a *answer) revoked() bool {
	v := a.verdict.Load()
	return v != nil && v.status == ocsp.Revoked
}

// question asks the responder in the background. It returns what is closed when the answer is there or will not come;
// nil if too much is under way.
func (c *Checker) question(a *answer) <-chan struct{} {
	c.seen.Lock()
	defer c.seen.Unlock()
	if a.flight != nil || c.run.Err() != nil || c.questions >= maxQuestions {
		return a.flight
	}
	flight := make(chan struct{})
	a.flight = flight
	c.questions++
	c.work.Go(func() {
		v, err := c.send(c.run, a)
		switch {
		case err == nil:
			a.take(v)
			c.warned.Delete(warning{"an OCSP answer", a.id.Issuer})
		case c.run.Err() == nil:
			c.o.Logger.Info("the OCSP responder gives no answer", zap.String("serial", pki.SerialText(a.leaf.SerialNumber)), zap.Error(err))
		}
		a.next.Store(c.o.Now().Add(c.o.OCSPRefresh).UnixNano())
		c.seen.Lock()
		defer c.seen.Unlock()
		close(flight)
		a.flight = nil
		c.questions--
	})
	return flight
}

// send asks the responder once.
func (c *Checker) send(ctx context.Context, a *answer) (*verdict, error) {
	at := c.o.Responder
	if at == FromCertificate {
		if len(a.leaf.OCSPServer) == 0 || !validURL(a.leaf.OCSPServer[0]) {
			return nil, errors.New("the certificate names no responder")
		}
		at = a.leaf.OCSPServer[0]
	}
	question, err := ocsp.CreateRequest(a.leaf, a.issuer, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(question))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return readAnswer(raw, a.leaf, a.issuer, c.o.Now())
}
