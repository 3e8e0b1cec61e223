package app

import (
	"crypto/x509"
	"os"

	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/streams/fault"
)

// tokenIssuers turns configured issuers into a relay's, with the authorities that their files hold.
func tokenIssuers(list []config.Issuer) ([]token.Issuer, error) {
	const op = "relay.tokens"
	out := make([]token.Issuer, 0, len(list))
	for i := range list {
		one := list[i].Token()
		if path := list[i].CAFile; path != "" {
			pem, err := os.ReadFile(path)
			if err != nil {
				return nil, fault.Wrap(op, fault.Invalid, err)
			}
			one.RootCAs = x509.NewCertPool()
			if !one.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fault.New(op, fault.Invalid, "ca_file", "%s holds no certificate in PEM", path)
			}
		}
		out = append(out, one)
	}
	return out, nil
}
