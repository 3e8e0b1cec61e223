// Package issuertest is a real issuer of access tokens for tests: a process of its own that speaks TLS, hands
// out tokens for client credentials and publishes its keys, and that a test can rotate, slow down, break,
// kill and start again.
//
// A test package that uses it calls Serve first thing in its TestMain: the process is the test's own binary.
// A Process is for one test.
package issuertest

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/token"
)

// Audience is the aud of every token.
const Audience = "weft"

// Secret is the secret of every client; the client's id is its tenant.
const Secret = "the client secret of the tests"

// Process is one issuer, which may be killed and started again under the same address and with the same keys.
type Process struct {
	dir    string
	listen string
	ca     *pki.Authority
	client *http.Client
	cmd    *exec.Cmd
	stdin  io.Closer
}

// Start starts an issuer that keeps its keys in dir and signs with alg.
func Start(dir, alg string) (*Process, error) {
	ca, err := pki.NewAuthority("issuer")
	if err != nil {
		return nil, err
	}
	cert, key, err := ca.Issue(pki.Spec{CommonName: "issuer", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, TTL: time.Hour})
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": key, "alg": []byte(alg)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	p := &Process{dir: dir, listen: "127.0.0.1:0", ca: ca}
	p.client = p.Client(nil)
	return p, p.Restart()
}

// Restart starts the process again after Kill.
func (p *Process) Restart() error {
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), envDir+"="+p.dir, envListen+"="+p.listen)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	p.stdin = in
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.Kill()
		return fmt.Errorf("the issuer does not start: %w", err)
	}
	p.listen = strings.TrimSpace(line)
	return nil
}

// Kill ends the process at once and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

// URL is the issuer's name and address.
func (p *Process) URL() string { return "https://" + p.listen }

// Roots holds the authority of the issuer's certificate.
func (p *Process) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.ca.Certificate())
	return pool
}

// CAPEM is the same as text.
func (p *Process) CAPEM() []byte { return p.ca.CertPEM() }

// Issuer is a configuration for the issuer, with times that suit a test.
func (p *Process) Issuer(algorithms ...string) token.Issuer {
	i := token.DefaultIssuer()
	i.Name, i.Audience, i.JWKSURL, i.RootCAs, i.Algorithms = p.URL(), Audience, p.URL()+"/jwks", p.Roots(), algorithms
	i.Tenants = map[string]string{"acme": "acme", "globex": "globex"}
	i.Throttle = 200 * time.Millisecond
	return i
}

// Client trusts the issuer and presents cert to it, unless that is nil.
func (p *Process) Client(cert *tls.Certificate) *http.Client {
	conf := &tls.Config{RootCAs: p.Roots()}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
}

// Token fetches a token by client credentials (RFC 6749, 4.4). With a certificate it is bound to it.
func (p *Process) Token(ctx context.Context, tenant, scope string, cert *tls.Certificate, lifetime time.Duration) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}, "lifetime": {strconv.Itoa(int(lifetime / time.Second))}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(tenant, Secret)
	var answer struct {
		Token string `json:"access_token"`
	}
	body, err := do(p.Client(cert), req)
	if err != nil {
		return "", err
	}
	return answer.Token, json.Unmarshal(body, &answer)
}

// Rotate makes a new key the signing one; the old ones stay published if keep is set.
func (p *Process) Rotate(keep bool) error {
	_, err := p.control("/control/rotate?keep=" + strconv.FormatBool(keep))
	return err
}

// The ways in which the key set can be answered.
const (
	Well     = "well"
	Slow     = "slow"     // never, as far as a client waits
	Huge     = "huge"     // without end
	HTML     = "html"     // 200 with a page
	Failing  = "failing"  // 500
	Redirect = "redirect" // to a place that has keys
	Empty    = "empty"    // a set without keys
)

// Mode sets how the key set is answered from now on.
func (p *Process) Mode(mode string) error {
	_, err := p.control("/control/mode?to=" + mode)
	return err
}

// Reads is how often the key set was asked for since the process started.
func (p *Process) Reads() (int, error) {
	body, err := p.control("/control/reads")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(body))
}

func (p *Process) control(path string) ([]byte, error) {
	req, err := http.NewRequest(http.MethodPost, p.URL()+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	return do(p.client, req)
}

func do(c *http.Client, req *http.Request) ([]byte, error) {
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the issuer answered %d: %s", res.StatusCode, body)
	}
	return body, err
}
