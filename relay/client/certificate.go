package client

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"

	"github.com/weft-mesh/weft/streams/fault"
)

// Codes of a connection that ends over a certificate. The next attempt would end as this one did.
const (
	CodeClientCertificate = "client_certificate_refused" // the relay does not take the client's
	CodeRelayCertificate  = "relay_certificate_unproven" // the client does not take the relay's
)

// certificateAlerts are the alerts of RFC 8446, 6.2 that say what is wrong with the certificate of who reads them: bad,
// unsupported, revoked, expired, unknown, of an unknown authority, without access, missing. TLS 1.2 has none for a missing
// one but handshake_failure, 40 (RFC 5246, 7.4.6), whose other causes are as lasting.
var certificateAlerts = []tls.AlertError{40, 42, 43, 44, 45, 46, 48, 49, 116}

// certificateRefusal is the fault of a connection that either end refused for the other's certificate, or nil. The
// peer's alert is of a type that crypto/tls keeps to itself; it reads as the exported one does. Of a relay that ends the
// connection while a request is being written the alert may be lost: that attempt looks like any that broke off.
func certificateRefusal(err error) error {
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.New("client.send", fault.Unauthenticated, CodeRelayCertificate, "the relay's certificate cannot be verified: %v", bad.Err)
	}
	told, ok := errors.AsType[*net.OpError](err)
	if !ok || told.Op != "remote error" || told.Err == nil {
		return nil
	}
	text := told.Err.Error()
	if !slices.ContainsFunc(certificateAlerts, func(a tls.AlertError) bool { return a.Error() == text }) {
		return nil
	}
	return fault.New("client.send", fault.Unauthenticated, CodeClientCertificate, "the relay refuses the client certificate (%s)", text)
}
