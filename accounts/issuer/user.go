package issuer

import (
	"slices"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// UserSpec describes a user.
type UserSpec struct {
	Name        string
	Account     string // public key of the account
	SigningSeed []byte // of the account
	Permissions grant.Permissions
	TTL         time.Duration // how long the claim is valid; zero: without end
	UserPublic  string        // the user's own public key; empty: a fresh key pair is made
}

// User mints a user claim. The seed is that of the fresh key pair, nil if the user brought its own.
func User(spec UserSpec) (token string, seed keyring.Secret, err error) {
	const op = "user.sign"
	kp, _, err := fromSeed(spec.SigningSeed, nkeys.PrefixByteAccount)
	if err != nil {
		return "", nil, err
	}
	defer kp.Wipe()
	if !nkeys.IsValidPublicAccountKey(spec.Account) {
		return "", nil, fault.New(op, fault.Invalid, "user_malformed", "user %q: not a public account key", spec.Name)
	}
	if spec.TTL < 0 {
		return "", nil, fault.New(op, fault.Invalid, "user_malformed", "user %q: a negative time to live", spec.Name)
	}
	public := spec.UserPublic
	if public == "" {
		if seed, err = newSeed(nkeys.CreateUser); err != nil {
			return "", nil, err
		}
		if _, public, err = fromSeed(seed, nkeys.PrefixByteUser); err != nil {
			return "", nil, err
		}
	} else if !nkeys.IsValidPublicUserKey(public) {
		return "", nil, fault.New(op, fault.Invalid, "user_malformed", "user %q: not a public user key", spec.Name)
	}
	token, err = userClaims(spec, public).Encode(kp)
	if err != nil {
		return "", nil, fault.Wrap(op, fault.Internal, err)
	}
	return token, seed, nil
}

func userClaims(spec UserSpec, public string) *jwt.UserClaims {
	claims := jwt.NewUserClaims(public)
	claims.Name = spec.Name
	claims.IssuerAccount = spec.Account
	claims.Pub = allow(spec.Permissions.Publish)
	claims.Sub = allow(spec.Permissions.Subscribe)
	claims.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeStandard, jwt.ConnectionTypeInProcess}
	if spec.Permissions.Leaf {
		claims.AllowedConnectionTypes = jwt.StringList{jwt.ConnectionTypeLeafnode}
	}
	if spec.TTL > 0 {
		claims.Expires = time.Now().Add(spec.TTL).Unix()
	}
	return claims
}

// allow is an allow list; to a server an empty one would mean everything.
func allow(subjects []string) jwt.Permission {
	if len(subjects) == 0 {
		return jwt.Permission{Deny: jwt.StringList{everything}}
	}
	return jwt.Permission{Allow: subjects}
}

// Outdated says whether a credentials file is of a user with other permissions than these.
func Outdated(creds []byte, p grant.Permissions) bool {
	token, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		return false
	}
	claims, err := jwt.DecodeUserClaims(token)
	return err == nil && (!slices.Equal([]string(claims.Pub.Allow), p.Publish) || !slices.Equal([]string(claims.Sub.Allow), p.Subscribe))
}

// FormatCreds is the content of a credentials file, as every NATS client reads it.
func FormatCreds(token string, seed keyring.Secret) ([]byte, error) {
	creds, err := jwt.FormatUserConfig(token, seed)
	if err != nil {
		return nil, fault.New("creds.format", fault.Invalid, "creds_malformed", "the token and the seed make no credentials")
	}
	return creds, nil
}

// WriteCreds writes a credentials file, replacing an older one in one step: mode 0600, in a directory that
// is made with 0700 if it is missing.
func WriteCreds(path, token string, seed keyring.Secret) error {
	creds, err := FormatCreds(token, seed)
	if err != nil {
		return err
	}
	return secretfile.Replace(path, creds)
}
