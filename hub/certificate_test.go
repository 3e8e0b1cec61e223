package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// certificates is what a server's control state says of a tenant's, by serial number.
func (m *testMesh) certificates(server, tenant string) map[string]*accounts.Certificate {
	out := map[string]*accounts.Certificate{}
	for _, c := range m.hubs[server].State().TenantCertificates(tenant) {
		out[c.Serial] = c
	}
	return out
}

func signingRequest(t *testing.T) string {
	t.Helper()
	request, _, err := pki.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	return string(request)
}

func TestCertificatesAreIssuedAtHomeAndRevokedAnywhere(t *testing.T) {
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	bundle := m.tenant("acme")
	m.tenant("globex")
	eu, us := m.hubs["eu-0"], m.hubs["us-0"]

	first, err := pki.ParseCertificate([]byte(bundle.ClientCert))
	m.must(err)
	if c := m.certificates("eu-0", "acme")[pki.SerialText(first.SerialNumber)]; c == nil || c.State != accounts.CertificateIssued || c.Producer != "default" {
		t.Errorf("the certificate of a new tenant's files is on record as %+v", c)
	}
	v, err := eu.IssueCertificate(t.Context(), "acme", CertificateSpec{Request: signingRequest(t), Producer: "game-1"}, "test")
	m.must(err)
	cert, err := pki.ParseCertificate([]byte(v.Certificate))
	m.must(err)
	who, err := pki.FromCertificate(cert)
	m.must(err)
	if want := (pki.Principal{Role: pki.RoleTenant, Tenant: "acme", Producer: "game-1"}); who != want {
		t.Errorf("it speaks for %+v", who)
	}
	if left := time.Until(cert.NotAfter); left > DefaultCertificateTTL || left < DefaultCertificateTTL-time.Minute {
		t.Errorf("it lives %s", left)
	}
	if v.Serial != pki.SerialText(cert.SerialNumber) || v.State != "issued" || !v.NotAfter.Equal(cert.NotAfter) {
		t.Errorf("%+v", v)
	}
	m.refusesCertificates(v.Serial)

	plan, err := us.RevokeCertificate(t.Context(), "acme", v.Serial, true, "test")
	if fault.CodeOf(err) == "no_such_certificate" { // the record is on its way
		streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
			plan, err = us.RevokeCertificate(t.Context(), "acme", v.Serial, true, "test")
			return err == nil, "the other region does not know the certificate"
		})
	}
	m.must(err)
	if !plan.DryRun || m.certificates("us-0", "acme")[v.Serial].State != accounts.CertificateIssued {
		t.Errorf("a dry run did something: %+v", plan)
	}
	began := time.Now()
	dead, err := us.RevokeCertificate(t.Context(), "acme", "0"+strings.ToUpper(v.Serial), false, "tester") // as openssl writes it
	m.must(err)
	if dead.State != "revoked" || dead.RevokedBy != "tester" || dead.RevokedAt.IsZero() {
		t.Errorf("%+v", dead)
	}
	streamtest.Eventually(t, 2*time.Second, func() (bool, string) {
		return m.certificates("eu-0", "acme")[v.Serial].State == accounts.CertificateRevoked, "the home region has not heard of the revocation"
	})
	t.Logf("a revocation took %s to the other region", time.Since(began).Round(time.Millisecond))
	again, err := eu.RevokeCertificate(t.Context(), "acme", v.Serial, false, "somebody")
	if err != nil || again.RevokedBy != "tester" {
		t.Errorf("a second revocation: %+v, %v", again, err)
	}
}

// refusesCertificates tries what must not be issued or revoked.
func (m *testMesh) refusesCertificates(serial string) {
	m.t.Helper()
	eu, good := m.hubs["eu-0"], signingRequest(m.t)
	for _, tc := range []struct {
		hub    string
		tenant string
		spec   CertificateSpec
		code   string
	}{
		{"us-0", "acme", CertificateSpec{Request: good}, "not_control_home"},
		{"eu-0", "nobody", CertificateSpec{Request: good}, "no_such_tenant"},
		{"eu-0", "acme", CertificateSpec{Request: good, Producer: "../x"}, "invalid_name"},
		{"eu-0", "acme", CertificateSpec{Request: good, TTL: accounts.Duration(time.Second)}, "invalid_ttl"},
		{"eu-0", "acme", CertificateSpec{Request: good, TTL: accounts.Duration(10000 * time.Hour)}, "invalid_ttl"},
		{"eu-0", "acme", CertificateSpec{Request: "nonsense"}, "request_malformed"},
	} {
		if _, err := m.hubs[tc.hub].IssueCertificate(m.t.Context(), tc.tenant, tc.spec, "test"); fault.CodeOf(err) != tc.code {
			m.t.Errorf("%+v: %v", tc, err)
		}
	}
	for _, tc := range [][2]string{{"globex", serial}, {"acme", strings.Repeat("0", 30)}, {"nobody", serial}} {
		if _, err := eu.RevokeCertificate(m.t.Context(), tc[0], tc[1], false, "test"); fault.CodeOf(err) != "no_such_certificate" {
			m.t.Errorf("%v: %v", tc, err)
		}
	}
	if _, err := eu.Certificates("nobody"); fault.CodeOf(err) != "no_such_tenant" {
		m.t.Error(err)
	}
}
