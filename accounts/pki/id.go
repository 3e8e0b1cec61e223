package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"math/big"

	"github.com/weft-mesh/weft/streams/fault"
)

// Issuer names an authority by its public key: the SHA-256 of its SubjectPublicKeyInfo. A certificate that is made
// anew for an authority's key names the same.
type Issuer [sha256.Size]byte

// IssuerOf names the authority of a certificate that may issue.
func IssuerOf(authority *x509.Certificate) Issuer {
	return sha256.Sum256(authority.RawSubjectPublicKeyInfo)
}

// String is the name in lower-case hex.
func (i Issuer) String() string { return hex.EncodeToString(i[:]) }

// ID names one certificate among those of all authorities. It can be compared and be a map's key.
type ID struct {
	Issuer Issuer
	Serial string // the number's bytes, big endian, as big.Int.Bytes gives them
}

// IDOf names the certificate that issuer has signed.
func IDOf(cert, issuer *x509.Certificate) ID {
	return ID{Issuer: IssuerOf(issuer), Serial: string(cert.SerialNumber.Bytes())}
}

// SerialText is a serial number as people and records see it: lower-case hex.
func SerialText(n *big.Int) string { return n.Text(16) }

// ParseID reads an ID from the two texts.
func ParseID(issuer, serial string) (ID, error) {
	raw, err := hex.DecodeString(issuer)
	n, ok := new(big.Int).SetString(serial, 16)
	if err != nil || len(raw) != sha256.Size || !ok || n.Sign() <= 0 || n.Text(16) != serial {
		return ID{}, fault.New("certificate.id", fault.Invalid, "certificate_malformed", "%.80q and %.80q name no certificate", issuer, serial)
	}
	return ID{Issuer: Issuer(raw), Serial: string(n.Bytes())}, nil
}
