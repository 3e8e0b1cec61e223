package issuer

import (
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// AccountSpec describes an account. Public and SigningPublic are those of an existing account whose claim
// is made anew; NewAccount fills them in.
type AccountSpec struct {
	Name          string
	Limits        accounts.Limits // zeros stand for the defaults
	System        bool            // a system account: monitoring exports, no JetStream, no limits
	Public        string
	SigningPublic string
}

// AccountKeys is a new account: its claim and the seeds of its two keys.
type AccountKeys struct {
	Name        string
	Public      string
	Seed        keyring.Secret // of the identity; needed for nothing that weft does afterwards
	SigningSeed keyring.Secret // signs users
	JWT         string
}

// NewAccount makes an account with fresh keys.
func NewAccount(o *Operator, spec AccountSpec) (*AccountKeys, error) {
	seed, err := newSeed(nkeys.CreateAccount)
	if err != nil {
		return nil, err
	}
	signing, err := newSeed(nkeys.CreateAccount)
	if err != nil {
		return nil, err
	}
	return AccountFromSeeds(o, spec, seed, signing)
}

// AccountFromSeeds makes the account of two existing seeds and a new claim for it.
func AccountFromSeeds(o *Operator, spec AccountSpec, seed, signing keyring.Secret) (*AccountKeys, error) {
	var err error
	if _, spec.Public, err = fromSeed(seed, nkeys.PrefixByteAccount); err != nil {
		return nil, err
	}
	if _, spec.SigningPublic, err = fromSeed(signing, nkeys.PrefixByteAccount); err != nil {
		return nil, err
	}
	token, err := o.SignAccount(spec)
	if err != nil {
		return nil, err
	}
	return &AccountKeys{Name: spec.Name, Public: spec.Public, Seed: seed, SigningSeed: signing, JWT: token}, nil
}

// AccountOf is the public key of the account of a claim and that of its first signing key, for making the
// claim anew with other limits.
func AccountOf(token string) (public, signingPublic string, err error) {
	claims, err := jwt.DecodeAccountClaims(token)
	if err != nil || len(claims.SigningKeys) == 0 {
		return "", "", fault.New("account.read", fault.Invalid, "account_malformed", "not an account claim with a signing key")
	}
	return claims.Subject, claims.SigningKeys.Keys()[0], nil
}

// DiskOf is how many bytes the streams of the account of a claim may take.
func DiskOf(token string) (int64, error) {
	claims, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return 0, fault.New("account.read", fault.Invalid, "account_malformed", "not an account claim")
	}
	return claims.Limits.DiskStorage, nil
}

// SignAccount makes the claim of an account.
func (o *Operator) SignAccount(spec AccountSpec) (string, error) {
	const op = "account.sign"
	if spec.Name == "" || !nkeys.IsValidPublicAccountKey(spec.Public) || !nkeys.IsValidPublicAccountKey(spec.SigningPublic) {
		return "", fault.New(op, fault.Invalid, "account_malformed", "account %q needs a name and two public account keys", spec.Name)
	}
	kp, _, err := fromSeed(o.signing, nkeys.PrefixByteOperator)
	if err != nil {
		return "", err
	}
	defer kp.Wipe()
	claims := jwt.NewAccountClaims(spec.Public)
	claims.Name = spec.Name
	claims.SigningKeys.Add(spec.SigningPublic)
	claims.DefaultPermissions = jwt.Permissions{
		Pub: jwt.Permission{Deny: jwt.StringList{everything}}, Sub: jwt.Permission{Deny: jwt.StringList{everything}},
	}
	claims.Limits.DisallowBearer = true
	if spec.System {
		claims.Exports = monitoring()
	} else {
		applyLimits(claims, spec.Limits.OrDefault())
	}
	vr := jwt.CreateValidationResults()
	claims.Validate(vr)
	if vr.IsBlocking(true) {
		return "", fault.New(op, fault.Invalid, "account_malformed", "account %q: %v", spec.Name, vr.Errors())
	}
	token, err := claims.Encode(kp)
	return token, fault.Wrap(op, fault.Internal, err)
}

// everything is the subject that matches every subject.
const everything = ">"

// applyLimits enables JetStream on disk. Memory stays at zero: no stream of weft lives in memory, and a
// single server reserves what each account may use.
func applyLimits(claims *jwt.AccountClaims, l accounts.Limits) {
	n := &claims.Limits
	n.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: l.DiskBytes, Streams: l.Streams, Consumer: l.Consumers}
	n.Payload, n.Subs = l.MaxPayload, l.Subscriptions
	n.Conn, n.LeafNodeConn = l.Connections, l.LeafConnections
}

// monitoring is what a system account offers to the others, as nsc writes it: each sees its own figures.
func monitoring() jwt.Exports {
	return jwt.Exports{
		{
			Name: "account-monitoring-services", Subject: "$SYS.REQ.ACCOUNT.*.*", Type: jwt.Service,
			ResponseType: jwt.ResponseTypeStream, AccountTokenPosition: 4,
			Info: jwt.Info{
				Description: "Request account specific monitoring services for: SUBSZ, CONNZ, LEAFZ, JSZ and INFO",
				InfoURL:     "https://docs.nats.io/nats-server/configuration/sys_accounts",
			},
		},
		{
			Name: "account-monitoring-streams", Subject: "$SYS.ACCOUNT.*.>", Type: jwt.Stream, AccountTokenPosition: 3,
			Info: jwt.Info{
				Description: "Account specific monitoring stream",
				InfoURL:     "https://docs.nats.io/nats-server/configuration/sys_accounts",
			},
		},
	}
}
