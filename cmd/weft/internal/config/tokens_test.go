package config

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

const oneIssuer = `region: eu
tokens:
  issuers:
    - issuer: https://idp.example.com
      audience: weft
      jwks_url: https://idp.example.com/jwks
      algorithms: [RS256]
      tenants: [acme, "0f=3=globex"]
      required_for: [globex]
      outage: 2d
`

func TestTokenIssuers(t *testing.T) {
	c, err := LoadRelay(write(t, oneIssuer), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Tokens.Issuers[0].Token()
	if want := map[string]string{"acme": "acme", "0f=3": "globex"}; !reflect.DeepEqual(got.Tenants, want) {
		t.Errorf("tenants %v, want %v", got.Tenants, want)
	}
	if got.Outage != 48*time.Hour || got.MaxLifetime != time.Hour || got.TenantClaim != "tenant" || got.Throttle != 10*time.Second {
		t.Errorf("what is set or left to its default: %+v", got)
	}
	flags := parsed(t, RelayFlags)
	flags.VisitAll(func(f *pflag.Flag) {
		if strings.HasPrefix(f.Name, "tokens") {
			t.Errorf("there is a flag --%s", f.Name)
		}
	})
}

func TestTokenKeysAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../../deploy/docs/tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	for field := range reflect.TypeFor[Issuer]().Fields() {
		if key := field.Tag.Get("mapstructure"); !strings.Contains(string(doc), "`"+key+"`") {
			t.Errorf("tokens.md says nothing about %s", key)
		}
	}
}

func TestTokenIssuerProblems(t *testing.T) {
	for name, c := range map[string]struct{ from, to, key string }{
		"plain http":       {"https://idp.example.com/jwks", "http://idp.example.com/jwks", "tokens.issuers[0].jwks_url"},
		"shared secrets":   {"[RS256]", "[HS256]", "tokens.issuers[0].algorithms"},
		"no audience":      {"audience: weft", "audience: ''", "tokens.issuers[0].audience"},
		"required unknown": {"required_for: [globex]", "required_for: [initech]", "tokens.issuers[0].required_for"},
		"tenant twice":     {"[acme, ", "[acme, acme, ", "tokens.issuers[0].tenants"},
		"no tenant's name": {"[acme, ", "[ACME, ", "tokens.issuers[0].tenants"},
		"no unit":          {"outage: 2d", "outage: 7200", "tokens.issuers[0].outage"},
		"short outage":     {"outage: 2d", "outage: 1m", "tokens.issuers[0].outage"},
		"both places":      {"outage: 2d", "jwks_file: f", "tokens.issuers[0].jwks_url"},
		"misspelt":         {"outage: 2d", "outtage: 2d", "tokens.issuers[0].outtage"},
		"ca without a url": {"jwks_url: https://idp.example.com/jwks", "jwks_file: f\n      ca_file: ca.pem", "tokens.issuers[0].ca_file"},
	} {
		changed := strings.Replace(oneIssuer, c.from, c.to, 1)
		if changed == oneIssuer {
			t.Fatalf("%s changes nothing", name)
		}
		_, err := LoadRelay(write(t, changed), nil)
		problems, ok := errors.AsType[Problems](err)
		if !ok || len(problems) != 1 || problems[0].Key != c.key || !strings.Contains(problems[0].Where, "c.yaml:") {
			t.Errorf("%s: %v, want one of %s with its line", name, err, c.key)
		}
	}
	twice := oneIssuer + strings.SplitAfter(oneIssuer, "issuers:\n")[1]
	if _, err := LoadRelay(write(t, twice), nil); err == nil || !strings.Contains(err.Error(), "listed twice") {
		t.Errorf("an issuer twice: %v", err)
	}
}
