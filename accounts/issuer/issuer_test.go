package issuer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestOperator(t *testing.T) {
	op := must[*issuer.Operator](t)(issuer.NewOperator("weft"))
	claims := must[*jwt.OperatorClaims](t)(jwt.DecodeOperatorClaims(op.JWT()))
	if !claims.StrictSigningKeyUsage || len(claims.SigningKeys) != 1 || claims.Subject != op.PublicKey() || claims.SystemAccount != "" {
		t.Errorf("%+v", claims.Operator)
	}
	loaded := must[*issuer.Operator](t)(issuer.LoadOperator(op.JWT(), op.SigningSeed()))
	if loaded.PublicKey() != op.PublicKey() || loaded.Seed() != nil {
		t.Error("the loaded operator is not the same, or has its identity's seed")
	}
	if _, err := issuer.NewAccount(loaded, issuer.AccountSpec{Name: "acme"}); err != nil {
		t.Error(err)
	}
	again := must[*issuer.Operator](t)(issuer.OperatorFromSeeds("weft", op.Seed(), op.SigningSeed()))
	if again.PublicKey() != op.PublicKey() {
		t.Error("the same seeds give another operator")
	}
	account := must[*issuer.AccountKeys](t)(issuer.NewAccount(op, issuer.AccountSpec{Name: "acme"}))
	for name, tc := range map[string]struct {
		token string
		seed  keyring.Secret
		code  string
	}{
		"identity's seed":    {op.JWT(), op.Seed(), "operator_key_mismatch"},
		"another operator's": {op.JWT(), must[*issuer.Operator](t)(issuer.NewOperator("x")).SigningSeed(), "operator_key_mismatch"},
		"an account's seed":  {op.JWT(), account.Seed, "seed_malformed"},
		"no seed":            {op.JWT(), nil, "seed_malformed"},
		"no token":           {"", op.SigningSeed(), "operator_malformed"},
		"account's token":    {account.JWT, op.SigningSeed(), "operator_malformed"},
	} {
		if _, err := issuer.LoadOperator(tc.token, tc.seed); fault.CodeOf(err) != tc.code {
			t.Errorf("%s: %v", name, err)
		} else if len(tc.seed) > 0 && strings.Contains(err.Error(), string(tc.seed)) {
			t.Errorf("%s: the error shows the seed", name)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, op); got != "operator weft "+op.PublicKey() {
			t.Errorf("%s: %q", verb, got)
		}
	}
}

func TestAccountClaims(t *testing.T) {
	op := must[*issuer.Operator](t)(issuer.NewOperator("weft"))
	opClaims := must[*jwt.OperatorClaims](t)(jwt.DecodeOperatorClaims(op.JWT()))
	limits := accounts.Limits{DiskBytes: 1, MaxPayload: 2, Streams: 3, Consumers: 4, Connections: 5, Subscriptions: 6, LeafConnections: 7}
	a := must[*issuer.AccountKeys](t)(issuer.NewAccount(op, issuer.AccountSpec{Name: "acme", Limits: limits}))
	claims := must[*jwt.AccountClaims](t)(jwt.DecodeAccountClaims(a.JWT))
	if !opClaims.DidSign(claims) || claims.Issuer == op.PublicKey() {
		t.Error("not signed by the operator's signing key")
	}
	want := jwt.OperatorLimits{
		NatsLimits:      jwt.NatsLimits{Data: jwt.NoLimit, Payload: 2, Subs: 6},
		AccountLimits:   jwt.AccountLimits{Imports: jwt.NoLimit, Exports: jwt.NoLimit, WildcardExports: true, DisallowBearer: true, Conn: 5, LeafNodeConn: 7},
		JetStreamLimits: jwt.JetStreamLimits{DiskStorage: 1, Streams: 3, Consumer: 4},
	}
	if got := claims.Limits; !reflect.DeepEqual(got.NatsLimits, want.NatsLimits) || got.AccountLimits != want.AccountLimits || got.JetStreamLimits != want.JetStreamLimits || len(got.JetStreamTieredLimits) != 0 {
		t.Errorf("limits %+v", got)
	}
	if !claims.DefaultPermissions.Pub.Deny.Contains(">") || !claims.DefaultPermissions.Sub.Deny.Contains(">") {
		t.Error("the default is not to deny")
	}
	public, signing, err := issuer.AccountOf(a.JWT)
	if err != nil || public != a.Public {
		t.Fatal(public, err)
	}
	_, wantSigning := seedPublic(t, a.SigningSeed)
	if signing != wantSigning {
		t.Error("the claim does not name the signing key")
	}
	limits.Streams = 30
	renewed := must[string](t)(op.SignAccount(issuer.AccountSpec{Name: "acme", Limits: limits, Public: public, SigningPublic: signing}))
	if c := must[*jwt.AccountClaims](t)(jwt.DecodeAccountClaims(renewed)); c.Subject != a.Public || c.Limits.Streams != 30 || !c.SigningKeys.Contains(signing) {
		t.Error("the claim made anew is not the account's")
	}
	for name, spec := range map[string]issuer.AccountSpec{
		"no name": {Public: public, SigningPublic: signing}, "no key": {Name: "x", SigningPublic: signing}, "no signing key": {Name: "x", Public: public}, "operator's key": {Name: "x", Public: op.PublicKey(), SigningPublic: signing},
	} {
		if _, err := op.SignAccount(spec); fault.CodeOf(err) != "account_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := issuer.AccountOf(op.JWT()); err == nil {
		t.Error("an operator's claim was read as an account's")
	}
}

func seedPublic(t *testing.T, seed []byte) (nkeys.KeyPair, string) {
	t.Helper()
	kp := must[nkeys.KeyPair](t)(nkeys.FromSeed(seed))
	return kp, must[string](t)(kp.PublicKey())
}

func TestSystemAccount(t *testing.T) {
	op := must[*issuer.Operator](t)(issuer.NewOperator("weft"))
	a := must[*issuer.AccountKeys](t)(issuer.NewAccount(op, issuer.AccountSpec{Name: "SYSTEM", System: true}))
	claims := must[*jwt.AccountClaims](t)(jwt.DecodeAccountClaims(a.JWT))
	if claims.Limits.IsJSEnabled() || len(claims.Exports) != 2 {
		t.Errorf("%+v", claims.Limits)
	}
	for subject, position := range map[string]uint{"$SYS.REQ.ACCOUNT.*.*": 4, "$SYS.ACCOUNT.*.>": 3} {
		found := false
		for _, e := range claims.Exports {
			found = found || string(e.Subject) == subject && e.AccountTokenPosition == position
		}
		if !found {
			t.Errorf("does not export %s per account", subject)
		}
	}
}

func TestUserClaims(t *testing.T) {
	op := must[*issuer.Operator](t)(issuer.NewOperator("weft"))
	a := must[*issuer.AccountKeys](t)(issuer.NewAccount(op, issuer.AccountSpec{Name: "acme"}))
	base := issuer.UserSpec{Name: "u", Account: a.Public, SigningSeed: a.SigningSeed}
	spec := base
	spec.Permissions = grant.Permissions{Publish: []string{"p"}, Subscribe: []string{"s"}}
	spec.TTL = time.Hour
	before := time.Now()
	token, seed, err := issuer.User(spec)
	if err != nil {
		t.Fatal(err)
	}
	claims := must[*jwt.UserClaims](t)(jwt.DecodeUserClaims(token))
	_, public := seedPublic(t, seed)
	if claims.Subject != public || claims.IssuerAccount != a.Public || claims.BearerToken || claims.Name != "u" {
		t.Errorf("%+v", claims)
	}
	if end := time.Unix(claims.Expires, 0); end.Before(before.Add(time.Hour-time.Second)) || end.After(time.Now().Add(time.Hour)) {
		t.Errorf("ends at %v", end)
	}
	if !claims.AllowedConnectionTypes.Contains("STANDARD") || claims.AllowedConnectionTypes.Contains("LEAFNODE") {
		t.Errorf("%v", claims.AllowedConnectionTypes)
	}
	token, _, err = issuer.User(base)
	if err != nil {
		t.Fatal(err)
	}
	if c := must[*jwt.UserClaims](t)(jwt.DecodeUserClaims(token)); c.Expires != 0 {
		t.Error("without a time to live it ends")
	}
	for name, change := range map[string]func(*issuer.UserSpec){
		"no account":         func(s *issuer.UserSpec) { s.Account = "" },
		"user's as account":  func(s *issuer.UserSpec) { s.Account = public },
		"no signing seed":    func(s *issuer.UserSpec) { s.SigningSeed = nil },
		"operator's signing": func(s *issuer.UserSpec) { s.SigningSeed = op.SigningSeed() },
		"account as user":    func(s *issuer.UserSpec) { s.UserPublic = a.Public },
		"garbage as user":    func(s *issuer.UserSpec) { s.UserPublic = "U123" },
		"negative life":      func(s *issuer.UserSpec) { s.TTL = -1 },
	} {
		s := base
		change(&s)
		if token, seed, err := issuer.User(s); err == nil || token != "" || seed != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if a.SigningSeed[0] != 'S' {
		t.Error("minting wiped the caller's seed")
	}
}

func TestWriteCreds(t *testing.T) {
	op := must[*issuer.Operator](t)(issuer.NewOperator("weft"))
	a := must[*issuer.AccountKeys](t)(issuer.NewAccount(op, issuer.AccountSpec{Name: "acme"}))
	path := filepath.Join(t.TempDir(), "new", "user.creds")
	for range 2 {
		token, seed, err := issuer.User(issuer.UserSpec{Name: "u", Account: a.Public, SigningSeed: a.SigningSeed})
		if err != nil {
			t.Fatal(err)
		}
		if err := issuer.WriteCreds(path, token, seed); err != nil {
			t.Fatal(err)
		}
		text := must[[]byte](t)(os.ReadFile(path))
		if got := must[string](t)(jwt.ParseDecoratedJWT(text)); got != token {
			t.Error("the file does not hold the token")
		}
		kp := must[nkeys.KeyPair](t)(jwt.ParseDecoratedUserNKey(text))
		if got := must[[]byte](t)(kp.Seed()); string(got) != string(seed) {
			t.Error("the file does not hold the seed")
		}
	}
	for file, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info := must[os.FileInfo](t)(os.Stat(file)); info.Mode().Perm() != want {
			t.Errorf("%s: mode %v", file, info.Mode())
		}
	}
	if left := must[[]os.DirEntry](t)(os.ReadDir(filepath.Dir(path))); len(left) != 1 {
		t.Errorf("files left behind: %v", left)
	}
	if err := issuer.WriteCreds(path, "no token", nil); err == nil {
		t.Error("wrote nonsense")
	}
}
