package revocation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	maxList      = 16 << 20 // bytes of one list
	fetchTimeout = 10 * time.Second
	// skew is how far another's clock may be ahead.
	skew = 5 * time.Minute
)

// list is a revocation list that was verified; it never changes.
type list struct {
	issuer     pki.Issuer
	name       string // of the authority
	number     *big.Int
	thisUpdate time.Time
	nextUpdate time.Time
	serials    map[string]struct{}
	sum        [sha256.Size]byte
	raw        []byte
}

func (l *list) has(serial string) bool {
	_, ok := l.serials[serial]
	return ok
}

// readList verifies a list: signed by one of the authorities, whole, and made by now.
func readList(text []byte, authorities []*x509.Certificate, now time.Time) (*list, error) {
	if block, _ := pem.Decode(text); block != nil && block.Type == "X509 CRL" {
		text = block.Bytes
	}
	crl, err := x509.ParseRevocationList(text)
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	l := &list{name: crl.Issuer.CommonName, number: crl.Number, thisUpdate: crl.ThisUpdate, nextUpdate: crl.NextUpdate, serials: map[string]struct{}{}, sum: sha256.Sum256(text), raw: text}
	if l.issuer, err = signerOf(crl, authorities); err != nil {
		return nil, err
	}
	switch {
	case crl.Number == nil || crl.Number.Sign() < 0:
		return nil, errors.New("it has no number")
	case crl.NextUpdate.IsZero() || crl.NextUpdate.Before(crl.ThisUpdate):
		return nil, errors.New("it does not say when the next one comes")
	case crl.ThisUpdate.After(now.Add(skew)):
		return nil, fmt.Errorf("it is of the future: %s", crl.ThisUpdate.UTC().Format(time.RFC3339))
	}
	for _, e := range crl.Extensions { // delta lists, lists of some reasons or for other issuers are not whole
		if e.Critical || e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}) {
			return nil, fmt.Errorf("it is not a whole list: extension %s", e.Id)
		}
	}
	for _, e := range crl.RevokedCertificateEntries {
		for _, x := range e.Extensions {
			if x.Critical {
				return nil, fmt.Errorf("it speaks of other authorities: extension %s", x.Id)
			}
		}
		l.serials[string(e.SerialNumber.Bytes())] = struct{}{}
	}
	return l, nil
}

// signerOf finds the authority that signed a list: its name and its signature must both be right.
func signerOf(crl *x509.RevocationList, authorities []*x509.Certificate) (pki.Issuer, error) {
	var bad error
	for _, a := range authorities {
		if !bytes.Equal(a.RawSubject, crl.RawIssuer) {
			continue
		}
		if bad = crl.CheckSignatureFrom(a); bad == nil {
			return pki.IssuerOf(a), nil
		}
	}
	if bad != nil {
		return pki.Issuer{}, fmt.Errorf("its signature is not %s's: %w", crl.Issuer.CommonName, bad)
	}
	return pki.Issuer{}, fmt.Errorf("its authority %q is none that is trusted", crl.Issuer.CommonName)
}

// source is where one list comes from.
type source struct {
	from    string
	last    *list       // the newest that was taken from here
	info    os.FileInfo // of the file that last was read from
	etag    string
	changed string // Last-Modified
	next    time.Time
	problem string // what was logged
}

// open reads all lists for the first time: what was kept, then the sources.
func (c *Checker) open(ctx context.Context) error {
	for _, from := range c.o.Lists {
		s := &source{from: from}
		c.books = append(c.books, s)
		if c.o.StateDir != "" {
			if text, err := os.ReadFile(c.kept(s)); err == nil {
				if err := c.take(s, text); err != nil {
					c.o.Logger.Warn("a revocation list that was kept is not used", zap.String("source", from), zap.Error(err))
				}
			}
		}
	}
	c.look(ctx)
	for _, s := range c.books {
		if s.last == nil && !isURL(s.from) {
			c.cancel()
			return fault.New("revocation.new", fault.Invalid, "options", "%s: %s", s.from, s.problem)
		}
	}
	return nil
}

// kept is where the last good list of a source is kept.
func (c *Checker) kept(s *source) string {
	sum := sha256.Sum256([]byte(s.from))
	return filepath.Join(c.o.StateDir, "list-"+hex.EncodeToString(sum[:8])+".crl")
}

// look reads every list that may have changed. A list that is refused leaves the former one in use.
func (c *Checker) look(ctx context.Context) {
	for _, s := range c.books {
		text, taken, err := c.read(ctx, s)
		if err == nil && text != nil {
			if err = c.take(s, text); err == nil {
				taken()
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && (text != nil || !isURL(s.from)):
			s.problem = ""
		case err != nil && s.problem != err.Error():
			s.problem = err.Error()
			c.o.Logger.Warn("a revocation list is not taken, the former one stays in use", zap.String("source", s.from), zap.Error(err))
		}
	}
}

// read returns what a source holds and what to do once that is taken; nil if there is nothing new.
func (c *Checker) read(ctx context.Context, s *source) (text []byte, taken func(), err error) {
	if isURL(s.from) {
		now := c.o.Now()
		if now.Before(s.next) && s.next.Sub(now) <= c.o.ListRefresh { // the clock may be set back
			return nil, nil, nil
		}
		s.next = now.Add(c.o.ListRefresh)
		return c.fetch(ctx, s)
	}
	info, err := os.Stat(s.from)
	if err != nil {
		return nil, nil, err
	}
	if s.info != nil && os.SameFile(info, s.info) && info.Size() == s.info.Size() && info.ModTime().Equal(s.info.ModTime()) {
		return nil, nil, nil
	}
	if info.Size() > maxList {
		return nil, nil, errTooLong
	}
	text, err = os.ReadFile(s.from)
	return text, func() { s.info = info }, err // a bad one is tried again
}

var errTooLong = fmt.Errorf("it is longer than %d bytes", maxList)

// fetch asks a URL for a list.
func (c *Checker) fetch(ctx context.Context, s *source) (text []byte, taken func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.from, nil)
	if err != nil {
		return nil, nil, err
	}
	if s.etag != "" {
		req.Header.Set("If-None-Match", s.etag)
	}
	if s.changed != "" {
		req.Header.Set("If-Modified-Since", s.changed)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotModified && s.last != nil:
		return nil, nil, nil
	case res.StatusCode != http.StatusOK:
		return nil, nil, fmt.Errorf("the server answers %s", res.Status)
	}
	if text, err = io.ReadAll(io.LimitReader(res.Body, maxList+1)); err != nil {
		return nil, nil, err
	}
	if len(text) > maxList {
		return nil, nil, errTooLong
	}
	return text, func() { s.etag, s.changed = res.Header.Get("ETag"), res.Header.Get("Last-Modified") }, nil
}

// take verifies a list and puts it in the place of its authority's former one, which must not be newer.
func (c *Checker) take(s *source, text []byte) error {
	l, err := readList(text, c.o.Trust.Authorities(), c.o.Now())
	if err != nil {
		return err
	}
	lists := *c.lists.Load()
	if have := lists[l.issuer]; have != nil {
		switch order := l.number.Cmp(have.number); {
		case l.sum == have.sum:
			s.last = have
			return nil
		case order < 0:
			return fmt.Errorf("it is older than the one in use: number %s after %s", l.number, have.number)
		case order == 0:
			return fmt.Errorf("it is another one than that in use, under the same number %s", l.number)
		case l.thisUpdate.Before(have.thisUpdate):
			return fmt.Errorf("its number %s is new, and it was made before number %s", l.number, have.number)
		}
	}
	lists = maps.Clone(lists)
	lists[l.issuer] = l
	c.lists.Store(&lists)
	s.last = l
	c.warned.Delete(warning{"list", l.issuer})
	c.o.Logger.Info("revocation list taken", zap.String("source", s.from), zap.Stringer("number", l.number), zap.Int("revoked", len(l.serials)), zap.Time("next_update", l.nextUpdate))
	if c.o.StateDir != "" {
		if err := secretfile.Replace(c.kept(s), l.raw); err != nil {
			c.o.Logger.Warn("a revocation list cannot be kept over a restart", zap.Error(err))
		}
	}
	return nil
}

// warning is something that is told once, until it is over.
type warning struct {
	what   string
	issuer pki.Issuer
}

// lenient says whether a policy lets somebody in of whom nothing is known, and tells so once.
func (c *Checker) lenient(p Policy, what string, issuer pki.Issuer) bool {
	if p != Warn {
		return false
	}
	if _, told := c.warned.LoadOrStore(warning{what, issuer}, true); !told {
		c.o.Logger.Warn("clients are let in although it is not known whether they are revoked", zap.String("for_want_of", what), zap.Stringer("issuer", issuer))
	}
	return true
}
