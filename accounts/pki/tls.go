package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// checkEvery bounds how often the files of a pair are looked at.
const checkEvery = time.Second

// ServerTLS is a server's configuration: TLS 1.2 or later, the pair of the two files, and clients checked
// against caFile as mode says. When the files change, new connections get the new pair within a second;
// while they do not fit together, as between two writes, the old one stays. Callers set NextProtos.
func ServerTLS(certFile, keyFile, caFile string, mode tls.ClientAuthType) (*tls.Config, error) {
	p, err := newPair(certFile, keyFile, time.Now)
	if err != nil {
		return nil, err
	}
	pool, err := roots(caFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientAuth:     mode,
		ClientCAs:      pool,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current(), nil },
	}, nil
}

// ClientTLS is a client's configuration that trusts caFile alone. The pair may be left out (both names
// empty); if given it follows its files as ServerTLS's does.
func ClientTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	pool, err := roots(caFile)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}
	if certFile == "" && keyFile == "" {
		return c, nil
	}
	p, err := newPair(certFile, keyFile, time.Now)
	if err != nil {
		return nil, err
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.current(), nil }
	return c, nil
}

func roots(file string) (*x509.CertPool, error) {
	const op = "tls.ca"
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(op, fault.NotFound, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(op, fault.Invalid, "ca_malformed", "%s holds no certificate", file)
	}
	return pool, nil
}

// pair is a certificate and its key, read again when their files change.
type pair struct {
	certFile, keyFile string
	now               func() time.Time

	mu      sync.Mutex
	cert    *tls.Certificate
	files   [2]os.FileInfo // as they were before cert was read
	checked time.Time
}

func newPair(certFile, keyFile string, now func() time.Time) (*pair, error) {
	const op = "tls.certificate"
	p := &pair{certFile: certFile, keyFile: keyFile, now: now, checked: now()}
	files, err := p.stat()
	if err != nil {
		return nil, fault.Wrap(op, fault.NotFound, err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, &fault.Error{Op: op, Kind: fault.Invalid, Code: "certificate_malformed", Detail: certFile + " and " + keyFile, Err: err}
	}
	p.cert, p.files = &cert, files
	return p, nil
}

func (p *pair) stat() (files [2]os.FileInfo, err error) {
	for i, name := range []string{p.certFile, p.keyFile} {
		if files[i], err = os.Stat(name); err != nil {
			return files, err
		}
	}
	return files, nil
}

// current is the pair as the files have it, or the last one that was whole.
func (p *pair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.now(); now.Sub(p.checked) >= checkEvery || now.Before(p.checked) {
		p.checked = now
		p.reload()
	}
	return p.cert
}

// reload notes the files as seen only with a pair that it could read: what is half written now is tried
// again at the next look.
func (p *pair) reload() {
	files, err := p.stat()
	if err != nil || same(files[0], p.files[0]) && same(files[1], p.files[1]) {
		return
	}
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return
	}
	p.cert, p.files = &cert, files
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
