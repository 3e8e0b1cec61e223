package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"slices"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/go-json-experiment/json"

	"github.com/weft-mesh/weft/streams/fault"
)

// keySet is an issuer's key set at one time. Immutable.
type keySet struct {
	read time.Time // when the read began that brought it
	keys map[string]*key
}

// key verifies signatures of the algorithms that fit it.
type key struct {
	public     crypto.PublicKey
	algorithms []string
}

// same says whether both are one key with one use.
func (k *key) same(other *key) bool {
	if k == other {
		return true
	}
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(other.public) && slices.Equal(k.algorithms, other.algorithms)
}

const (
	maxKeys    = 200
	maxKid     = 256  // bytes
	minRSABits = 2048 // RFC 7518, 3.3
	maxRSABits = 8192 // a longer one makes a verification a burden
)

// jwk is what is read of a key. Certificates and their addresses in it are not followed.
type jwk struct {
	Type       jwkset.KTY `json:"kty"`
	Kid        string     `json:"kid"`
	Use        string     `json:"use"`
	Operations []string   `json:"key_ops"`
	Algorithm  string     `json:"alg"`
	Curve      jwkset.CRV `json:"crv"`
	X          string     `json:"x"`
	Y          string     `json:"y"`
	N          string     `json:"n"`
	E          string     `json:"e"`
}

// parseKeys reads a key set (RFC 7517). Keys that cannot verify a signature are left out, as the RFC asks; an
// empty set is the issuer's word that no token of it is good. A kid that two usable keys have names neither.
func parseKeys(raw []byte) (map[string]*key, error) {
	const op = "token.keys"
	var doc struct {
		Keys *[]jwk `json:"keys"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fault.New(op, fault.Invalid, "jwks_malformed", "the key set is not JSON of the form {\"keys\":[…]}")
	}
	switch {
	case doc.Keys == nil:
		return nil, fault.New(op, fault.Invalid, "jwks_malformed", "the document has no member keys")
	case len(*doc.Keys) > maxKeys:
		return nil, fault.New(op, fault.Invalid, "jwks_malformed", "the key set holds more than %d keys", maxKeys)
	}
	keys, twice := map[string]*key{}, []string{}
	for i := range *doc.Keys {
		one := &(*doc.Keys)[i]
		k := one.key()
		if k == nil {
			continue
		}
		if keys[one.Kid] != nil {
			twice = append(twice, one.Kid)
		}
		keys[one.Kid] = k
	}
	for _, kid := range twice {
		delete(keys, kid)
	}
	return keys, nil
}

// key is nil if no token can be verified with it.
func (j *jwk) key() *key {
	if j.Kid == "" || len(j.Kid) > maxKid || j.Use != "" && j.Use != "sig" ||
		j.Operations != nil && !slices.Contains(j.Operations, "verify") {
		return nil
	}
	// only the material goes in: with x5u or x5c the library would look at certificates
	parsed, err := jwkset.NewJWKFromMarshal(jwkset.JWKMarshal{KTY: j.Type, CRV: j.Curve, X: j.X, Y: j.Y, N: j.N, E: j.E},
		jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil
	}
	k := &key{public: parsed.Key(), algorithms: fitting(parsed.Key())}
	if j.Algorithm != "" {
		if !slices.Contains(k.algorithms, j.Algorithm) {
			return nil
		}
		k.algorithms = []string{j.Algorithm}
	}
	if len(k.algorithms) == 0 {
		return nil
	}
	return k
}

// fitting lists the algorithms that a key may be used with: never one of another family or curve.
func fitting(public any) []string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSABits && bits <= maxRSABits && k.E >= 3 && k.E%2 == 1 {
			return slices.DeleteFunc(Algorithms(), func(a string) bool { return !strings.HasPrefix(a, "RS") && !strings.HasPrefix(a, "PS") })
		}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}
		case 384:
			return []string{"ES384"}
		case 521:
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}
