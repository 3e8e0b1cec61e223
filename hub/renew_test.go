package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// shortLived puts a certificate in place that is due for renewal at once.
func (m *testMesh) shortLived(role, region, certFile, keyFile string) {
	m.t.Helper()
	operator := filepath.Join(m.dir, "operator")
	ca, err := pki.LoadAuthority(filepath.Join(m.dir, "pki", "ca.pem"), filepath.Join(operator, "ca-key.pem"))
	m.must(err)
	id, err := identity.LoadHub(m.dir, region) // whose description is complete
	m.must(err)
	r, _ := id.Mesh.Region(region)
	cert, key, err := ca.Issue(identity.ServerSpec(role, r, 2*time.Minute))
	m.must(err)
	m.must(secretfile.Replace(keyFile, key))
	m.must(secretfile.Replace(certFile, cert))
}

// TestHubsAndRelaysRenewTheirCertificates has the region without the authority's key renew through the control home.
func TestHubsAndRelaysRenewTheirCertificates(t *testing.T) {
	m := newTestMesh(t, region("eu"), region("us"))
	us, err := identity.LoadHub(m.dir, "us")
	m.must(err)
	m.shortLived(pki.RoleHub, "us", us.CertFile, us.KeyFile)
	before, err := tls.LoadX509KeyPair(us.CertFile, us.KeyFile)
	m.must(err)
	m.start()
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		now, err := tls.LoadX509KeyPair(us.CertFile, us.KeyFile)
		return err == nil && now.Leaf.SerialNumber.Cmp(before.Leaf.SerialNumber) != 0, "the hub's certificate is the old one"
	})
	for name, id := range map[string]string{"eu": "eu", "us": "us"} {
		relay, err := identity.LoadRelay(m.dir, id)
		m.must(err)
		m.shortLived(pki.RoleRelay, name, relay.CertFile, relay.KeyFile)
		files, err := pki.Open(pki.FilesOptions{Cert: relay.CertFile, Key: relay.KeyFile, CA: relay.CAFile})
		m.must(err)
		conn := m.relayConn(relay)
		ask := func(to string, r pki.Renewal) accounts.RenewalResponse {
			raw, err := json.Marshal(r)
			m.must(err)
			var resp accounts.RenewalResponse
			msg, err := conn.Request(to, raw, 3*time.Second)
			if err != nil {
				return accounts.RenewalResponse{Error: err.Error()}
			}
			m.must(json.Unmarshal(msg.Data, &resp))
			return resp
		}
		first := files.Leaf()
		renewed, err := files.Renew(t.Context(), func(_ context.Context, r pki.Renewal) ([]byte, error) {
			forged := r
			forged.Proof = append([]byte{}, r.Proof...)
			forged.Proof[len(forged.Proof)-1] ^= 1
			if resp := ask(subject.Renewal(name, name), forged); resp.Certificate != "" || resp.Error == "" {
				t.Errorf("%s: a forged proof: %+v", name, resp)
			}
			return []byte(ask(subject.Renewal(name, name), r).Certificate), nil
		})
		if err != nil || !renewed {
			t.Errorf("relay of %s: %v", name, err)
			continue
		}
		next, err := tls.LoadX509KeyPair(relay.CertFile, relay.KeyFile)
		m.must(err)
		who, err := pki.FromCertificate(next.Leaf)
		if err != nil || who != (pki.Principal{Role: pki.RoleRelay, Region: name}) || next.Leaf.SerialNumber.Cmp(first.SerialNumber) == 0 {
			t.Errorf("relay of %s: %+v %v", name, who, err)
		}
	}
}

// relayConn is a relay's connection into CONTROL.
func (m *testMesh) relayConn(r *identity.Relay) *nats.Conn {
	m.t.Helper()
	tlsc, err := pki.ClientTLS("", "", r.CAFile)
	m.must(err)
	region, _ := m.index(r.Region + "-0")
	conn, err := nats.Connect("tls://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port(region, 0, 0))), nats.Secure(tlsc), nats.UserCredentials(r.CredsFile),
		nats.CustomInboxPrefix(subject.InboxPrefix(r.Region)+".r1"))
	m.must(err)
	m.t.Cleanup(conn.Close)
	return conn
}
