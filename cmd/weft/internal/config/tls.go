package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts"
)

// TLS says whose clients a relay lets in beside the mesh's own, and how it hears of revocations by others.
type TLS struct {
	ClientCAs       []string      `mapstructure:"client_cas" usage:"authorities of others whose clients are let in, TENANT=FILE (PEM) each; one entry for each tenant that a file may speak for"`
	CRL             []string      `mapstructure:"crl" usage:"revocation lists of these authorities: files, or http and https URLs; each authority then needs one"`
	CRLRefresh      time.Duration `mapstructure:"crl_refresh" usage:"interval at which URLs of lists are asked; files are looked at every second"`
	CRLStale        string        `mapstructure:"crl_stale" usage:"refuse or warn, while the list of a client's authority is stale or missing"`
	OCSP            string        `mapstructure:"ocsp" usage:"off, stapled (clients bring their responder's answer along) or ask (the relay asks where none is brought)"`
	OCSPResponder   string        `mapstructure:"ocsp_responder" usage:"URL of the responder, or aia for the one that the client's certificate names"`
	OCSPRefresh     time.Duration `mapstructure:"ocsp_refresh" usage:"interval at which the responder is asked about a certificate in use"`
	OCSPUnreachable string        `mapstructure:"ocsp_unreachable" usage:"refuse or warn, while no answer about a client's certificate is at hand"`
}

func defaultTLS() TLS {
	return TLS{CRLRefresh: 5 * time.Second, CRLStale: "refuse", OCSP: "off", OCSPRefresh: 5 * time.Second, OCSPUnreachable: "refuse"}
}

// ClientCA splits an entry of ClientCAs.
func ClientCA(entry string) (tenant, file string) {
	tenant, file, _ = strings.Cut(entry, "=")
	return tenant, file
}

func (p *Problems) tls(t TLS) {
	for i, entry := range t.ClientCAs {
		if tenant, file := ClientCA(entry); !accounts.ValidName(tenant) || file == "" {
			p.addf(fmt.Sprintf("tls.client_cas[%d]", i), "%q is not TENANT=FILE", entry)
		}
	}
	for i, from := range t.CRL {
		if from == "" || strings.Contains(from, "://") && !httpURL(from) {
			p.addf(fmt.Sprintf("tls.crl[%d]", i), "%q is neither a file nor an http or https URL", from)
		}
	}
	p.between("tls.crl_refresh", t.CRLRefresh, time.Second, 24*time.Hour)
	p.oneOf("tls.crl_stale", t.CRLStale, "refuse", "warn")
	p.oneOf("tls.ocsp", t.OCSP, "off", "stapled", "ask")
	if (t.OCSP == "ask" || t.OCSPResponder != "") && t.OCSPResponder != "aia" && !httpURL(t.OCSPResponder) {
		p.addf("tls.ocsp_responder", "%q is neither an http or https URL nor aia", t.OCSPResponder)
	}
	p.between("tls.ocsp_refresh", t.OCSPRefresh, time.Second, 24*time.Hour)
	p.oneOf("tls.ocsp_unreachable", t.OCSPUnreachable, "refuse", "warn")
}

func httpURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}
