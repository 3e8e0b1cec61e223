package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// checkEvery bounds how often the files are looked at.
const checkEvery = time.Second

// maxFile is the longest file that is read, in bytes.
const maxFile = 1 << 20

// FilesOptions name the files of one side of TLS.
type FilesOptions struct {
	Cert, Key string     // both, or neither for a client without a certificate
	CA        string     // the mesh's own authorities; during a change there are several in it
	Others    []ClientCA // authorities of others, whose clients a server lets in
	Logger    *zap.Logger
	Now       func() time.Time
}

// ClientCA lets the authorities of a file speak for the producers of one tenant.
type ClientCA struct {
	Tenant string
	File   string
}

// Files follow a certificate, its key and the authorities on disk. They are taken over as one: while any of them does
// not parse or the pair does not fit together, as between two writes, everything stays as it was. A change counts
// when it has been at rest for a look, so that a file that is being written in place is not taken at half its length.
//
// All methods may be called from any goroutine. Whoever makes a connection looks at the files, at most once in
// checkEvery; who needs changes without connections calls Refresh.
type Files struct {
	o    FilesOptions
	set  atomic.Pointer[set]
	next atomic.Int64 // unix nanoseconds of the next look

	mu      sync.Mutex // held by the one that looks
	taken   marks      // of the files that the set was read from
	seen    marks      // at the last look
	refused marks      // what was logged as refused
}

// set is what the files say; it never changes.
type set struct {
	pair    *tls.Certificate
	roots   *x509.CertPool
	clients *x509.CertPool      // roots and others
	mine    []*x509.Certificate // of roots
	others  []*x509.Certificate
	own     map[Issuer]bool
	speak   map[Issuer][]string // tenants by authority
}

// marks are by what a change of a file is noticed.
type marks []mark

type mark struct {
	info os.FileInfo
	err  string
}

// Open reads the files, which must be whole.
func Open(o FilesOptions) (*Files, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	f := &Files{o: o}
	f.taken = f.mark()
	s, err := f.read()
	if err != nil {
		return nil, err
	}
	f.set.Store(s)
	f.next.Store(o.Now().Add(checkEvery).UnixNano())
	return f, nil
}

func (f *Files) names() []string {
	names := []string{f.o.CA}
	if f.o.Cert != "" || f.o.Key != "" {
		names = append(names, f.o.Cert, f.o.Key)
	}
	for _, c := range f.o.Others {
		names = append(names, c.File)
	}
	return names
}

// current is what the files say, or what they said when they were last whole.
func (f *Files) current() *set {
	now := f.o.Now().UnixNano()
	if next := f.next.Load(); now >= next || next-now > int64(checkEvery) { // the clock may be set back
		f.Refresh()
	}
	return f.set.Load()
}

// Refresh looks at the files now. It returns at once if somebody else does.
func (f *Files) Refresh() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	f.next.Store(f.o.Now().Add(checkEvery).UnixNano())
	found := f.mark()
	settled := found.same(f.seen) || found.before(f.o.Now().Add(-checkEvery))
	f.seen = found
	if found.same(f.taken) || !settled {
		return
	}
	s, err := f.read()
	if err != nil {
		f.refuse(found, err)
		return
	}
	if !f.mark().same(found) { // written while it was read
		return
	}
	old := f.set.Swap(s.sharing(f.set.Load()))
	f.taken, f.refused = found, nil
	if old.pair != nil && !bytes.Equal(old.pair.Leaf.Raw, s.pair.Leaf.Raw) {
		f.o.Logger.Info("a new certificate is presented", zap.String("file", f.o.Cert), zap.String("serial", SerialText(s.pair.Leaf.SerialNumber)), zap.Time("not_after", s.pair.Leaf.NotAfter))
	}
}

// sharing keeps the pools of the former set if the authorities are the same, so that sessions and configurations live on.
func (s *set) sharing(old *set) *set {
	if s.clients.Equal(old.clients) && s.roots.Equal(old.roots) {
		s.clients, s.roots = old.clients, old.roots
	}
	return s
}

// refuse tells once why the files are not taken over.
func (f *Files) refuse(found marks, err error) {
	if !found.same(f.refused) {
		f.refused = found
		f.o.Logger.Warn("changed files are not taken over, the former ones stay in use", zap.Error(err))
	}
}

func (f *Files) mark() marks {
	var out marks
	for _, name := range f.names() {
		info, err := os.Stat(name)
		m := mark{info: info}
		if err != nil {
			m.err = err.Error()
		}
		out = append(out, m)
	}
	return out
}

func (m marks) same(other marks) bool {
	if len(m) != len(other) {
		return false
	}
	for i, a := range m {
		b := other[i]
		if a.err != b.err || a.err == "" && !(os.SameFile(a.info, b.info) && a.info.Size() == b.info.Size() && a.info.ModTime().Equal(b.info.ModTime())) {
			return false
		}
	}
	return true
}

// before says whether every file was last written before a time.
func (m marks) before(t time.Time) bool {
	for _, one := range m {
		if one.err == "" && !one.info.ModTime().Before(t) {
			return false
		}
	}
	return true
}

// read makes a set of what the files hold.
func (f *Files) read() (*set, error) {
	s := &set{roots: x509.NewCertPool(), clients: x509.NewCertPool(), own: map[Issuer]bool{}, speak: map[Issuer][]string{}}
	text, err := readFile(f.o.CA)
	if err != nil {
		return nil, fault.Wrap("tls.ca", fault.NotFound, err)
	}
	certs, err := readAuthorities(f.o.CA, text)
	if err != nil {
		return nil, err
	}
	for _, c := range certs {
		s.roots.AddCert(c)
		s.clients.AddCert(c)
		s.mine = append(s.mine, c)
		s.own[IssuerOf(c)] = true
	}
	for _, o := range f.o.Others {
		if err := s.add(o); err != nil {
			return nil, err
		}
	}
	if f.o.Cert == "" && f.o.Key == "" {
		return s, nil
	}
	s.pair, err = readPair(f.o.Cert, f.o.Key, f.o.Now())
	return s, err
}

// add lets another's authorities in.
func (s *set) add(o ClientCA) error {
	text, err := readFile(o.File)
	if err != nil {
		return fault.Wrap("tls.ca", fault.NotFound, err)
	}
	certs, err := readAuthorities(o.File, text)
	if err != nil {
		return err
	}
	for _, c := range certs {
		s.clients.AddCert(c)
		s.others = append(s.others, c)
		s.speak[IssuerOf(c)] = append(s.speak[IssuerOf(c)], o.Tenant)
	}
	return nil
}

// readPair reads a certificate with its key. One that has run out is not taken: the present one may still be good.
func readPair(certFile, keyFile string, now time.Time) (*tls.Certificate, error) {
	const op = "tls.certificate"
	cert, err := readFile(certFile)
	if err != nil {
		return nil, fault.Wrap(op, fault.NotFound, err)
	}
	key, err := readFile(keyFile)
	if err != nil {
		return nil, fault.Wrap(op, fault.NotFound, err)
	}
	pair, err := fit(cert, key, keyFile)
	if err != nil {
		return nil, &fault.Error{Op: op, Kind: fault.Invalid, Code: "certificate_malformed", Detail: certFile + " and " + keyFile, Err: err}
	}
	if now.After(pair.Leaf.NotAfter) {
		return nil, fault.New(op, fault.Invalid, "certificate_expired", "the certificate in %s expired at %s: have a new one issued", certFile, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return &pair, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fault.New("tls.read", fault.Invalid, "too_large", "%s is longer than %d bytes", name, maxFile)
	}
	return os.ReadFile(name)
}

// parseCertificates reads a text of certificates in PEM with nothing but space and comments (lines before a block, as
// tools write them) around them.
func parseCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	begun := bytes.Count(text, []byte("-----BEGIN"))
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("it holds a " + block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, cert)
		text = rest
	}
	switch {
	case len(out) < begun: // the decoder passes over what it cannot read
		return nil, errors.New("a certificate in it is damaged or cut off")
	case len(out) == 0:
		return nil, errors.New("no certificate in PEM form")
	}
	return out, nil
}
