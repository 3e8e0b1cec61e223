package config

import (
	"strings"
	"testing"
	"time"
)

func TestTLSProblems(t *testing.T) {
	good := func() Relay {
		r := DefaultRelay()
		r.Region = "eu"
		r.TLS.ClientCAs, r.TLS.CRL = []string{"acme=partner.pem"}, []string{"partner.crl", "https://ca.example/partner.crl"}
		r.TLS.OCSP, r.TLS.OCSPResponder = "ask", "https://ocsp.example/"
		return r
	}
	r := good()
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	for key, change := range map[string]func(*TLS){
		"tls.client_cas[0]":    func(c *TLS) { c.ClientCAs[0] = "partner.pem" },
		"tls.crl[1]":           func(c *TLS) { c.CRL[1] = "ftp://x/y" },
		"tls.crl_refresh":      func(c *TLS) { c.CRLRefresh = 0 },
		"tls.crl_stale":        func(c *TLS) { c.CRLStale = "ignore" },
		"tls.ocsp":             func(c *TLS) { c.OCSP, c.OCSPResponder = "on", "" },
		"tls.ocsp_responder":   func(c *TLS) { c.OCSPResponder = "" },
		"tls.ocsp_refresh":     func(c *TLS) { c.OCSPRefresh = time.Hour * 48 },
		"tls.ocsp_unreachable": func(c *TLS) { c.OCSPUnreachable = "" },
	} {
		r := good()
		change(&r.TLS)
		err := r.Validate()
		if err == nil || !strings.Contains(err.Error(), key+":") && !strings.Contains(err.Error(), key+" ") {
			t.Errorf("%s: %v", key, err)
		}
	}
}
