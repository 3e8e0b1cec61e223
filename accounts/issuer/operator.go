package issuer

import (
	"fmt"
	"io"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// Operator signs accounts.
type Operator struct {
	name     string
	token    string
	public   string
	identity keyring.Secret // nil when loaded from the signing seed
	signing  keyring.Secret
}

// NewOperator makes an operator with fresh keys.
func NewOperator(name string) (*Operator, error) {
	identity, err := newSeed(nkeys.CreateOperator)
	if err != nil {
		return nil, err
	}
	signing, err := newSeed(nkeys.CreateOperator)
	if err != nil {
		return nil, err
	}
	return OperatorFromSeeds(name, identity, signing)
}

// OperatorFromSeeds makes the operator of two existing seeds and a new claim for it.
func OperatorFromSeeds(name string, identity, signing keyring.Secret) (*Operator, error) {
	const op = "operator.new"
	kp, public, err := fromSeed(identity, nkeys.PrefixByteOperator)
	if err != nil {
		return nil, err
	}
	defer kp.Wipe()
	_, signer, err := fromSeed(signing, nkeys.PrefixByteOperator)
	if err != nil {
		return nil, err
	}
	claims := jwt.NewOperatorClaims(public)
	claims.Name = name
	claims.StrictSigningKeyUsage = true
	claims.SigningKeys.Add(signer)
	token, err := claims.Encode(kp)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return &Operator{name: name, token: token, public: public, identity: identity, signing: signing}, nil
}

// LoadOperator takes an operator's claim and the seed of one of its signing keys.
func LoadOperator(token string, signing keyring.Secret) (*Operator, error) {
	const op = "operator.load"
	claims, err := jwt.DecodeOperatorClaims(token)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "operator_malformed", "the operator claim is not readable: %v", err)
	}
	_, signer, err := fromSeed(signing, nkeys.PrefixByteOperator)
	if err != nil {
		return nil, err
	}
	if !claims.SigningKeys.Contains(signer) {
		return nil, fault.New(op, fault.Invalid, "operator_key_mismatch", "the seed is not of a signing key of operator %q", claims.Name)
	}
	return &Operator{name: claims.Name, token: token, public: claims.Subject, signing: signing}, nil
}

// String names the operator.
func (o *Operator) String() string { return "operator " + o.name + " " + o.public }

// Format prints String for every verb: the seeds are in unexported fields.
func (o *Operator) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, o.String()) }

// JWT is the operator's claim, which every server trusts.
func (o *Operator) JWT() string { return o.token }

// PublicKey is the operator's identity.
func (o *Operator) PublicKey() string { return o.public }

// Seed is the seed of the identity key, nil if the operator was loaded for signing only.
func (o *Operator) Seed() keyring.Secret { return o.identity }

// SigningSeed is the seed of the key that signs accounts.
func (o *Operator) SigningSeed() keyring.Secret { return o.signing }

// newSeed makes a key pair and keeps its seed.
func newSeed(create func() (nkeys.KeyPair, error)) (keyring.Secret, error) {
	kp, err := create()
	if err != nil {
		return nil, fault.Wrap("nkey.new", fault.Internal, err)
	}
	defer kp.Wipe()
	seed, err := kp.Seed()
	if err != nil {
		return nil, fault.Wrap("nkey.new", fault.Internal, err)
	}
	return append(keyring.Secret(nil), seed...), nil // the pair is wiped with the slice that it handed out
}

// fromSeed reads a seed of the wanted kind. The key pair keeps a copy: wiping it leaves seed as it is.
func fromSeed(seed []byte, want nkeys.PrefixByte) (nkeys.KeyPair, string, error) {
	const op = "nkey.read"
	kind, _, err := nkeys.DecodeSeed(seed)
	if err != nil || kind != want {
		return nil, "", fault.New(op, fault.Invalid, "seed_malformed", "not the seed of an nkey of type %s", want)
	}
	kp, err := nkeys.FromSeed(append([]byte(nil), seed...))
	if err != nil {
		return nil, "", fault.New(op, fault.Invalid, "seed_malformed", "not the seed of an nkey of type %s", want)
	}
	public, err := kp.PublicKey()
	if err != nil {
		return nil, "", fault.Wrap(op, fault.Internal, err)
	}
	return kp, public, nil
}
