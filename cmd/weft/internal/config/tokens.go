package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/streams/fault"
)

// Tokens says whose access tokens a relay takes.
type Tokens struct {
	Issuers []Issuer `mapstructure:"issuers" usage:"issuers of access tokens, in the file alone (see deploy/docs/tokens.md); none: requests with a token are refused"`
}

// Issuer is one issuer of access tokens (OAuth 2.0 client credentials) and what its tokens are worth.
type Issuer struct {
	Issuer         string            `mapstructure:"issuer" json:"issuer" yaml:"issuer"`                            // the iss of its tokens, byte by byte
	Audience       string            `mapstructure:"audience" json:"audience" yaml:"audience"`                      // the aud that its tokens must have
	JWKSURL        string            `mapstructure:"jwks_url" json:"jwks_url" yaml:"jwks_url,omitempty"`            // https, where its public keys are; or
	JWKSFile       string            `mapstructure:"jwks_file" json:"jwks_file" yaml:"jwks_file,omitempty"`         // a file with them, read at every refresh
	CAFile         string            `mapstructure:"ca_file" json:"ca_file" yaml:"ca_file,omitempty"`               // authorities of jwks_url; empty: the system's
	Algorithms     []string          `mapstructure:"algorithms" json:"algorithms" yaml:"algorithms,flow"`           // that it signs with, such as RS256
	TenantClaim    string            `mapstructure:"tenant_claim" json:"tenant_claim" yaml:"tenant_claim"`          // the claim that names the tenant
	Tenants        []string          `mapstructure:"tenants" json:"tenants" yaml:"tenants,flow"`                    // that it may speak for: TENANT, or VALUE=TENANT
	RequiredFor    []string          `mapstructure:"required_for" json:"required_for" yaml:"required_for,flow"`     // tenants whose every request needs a token
	RequireBinding bool              `mapstructure:"require_binding" json:"require_binding" yaml:"require_binding"` // refuse tokens without cnf.x5t#S256
	MaxLifetime    accounts.Duration `mapstructure:"max_lifetime" json:"max_lifetime" yaml:"max_lifetime"`          // longest time between iat and exp
	Refresh        accounts.Duration `mapstructure:"refresh" json:"refresh" yaml:"refresh"`                         // interval between two reads of the keys
	Throttle       accounts.Duration `mapstructure:"throttle" json:"throttle" yaml:"throttle"`                      // least time between two that unknown key ids cause
	Outage         accounts.Duration `mapstructure:"outage" json:"outage" yaml:"outage"`                            // how long known keys hold while the issuer does not answer
}

// issuerDefaults completes one issuer of a file with the defaults.
func issuerDefaults(_, to reflect.Type, data any) (any, error) {
	set, ok := data.(map[string]any)
	if !ok || to != reflect.TypeFor[Issuer]() {
		return data, nil
	}
	d := token.DefaultIssuer()
	all := map[string]any{
		"tenant_claim": d.TenantClaim, "max_lifetime": d.MaxLifetime.String(), "refresh": d.Refresh.String(),
		"throttle": d.Throttle.String(), "outage": d.Outage.String(),
	}
	maps.Copy(all, set)
	return all, nil
}

// Token is the issuer as a verifier takes it, but for the authorities in CAFile.
func (i *Issuer) Token() token.Issuer {
	out := token.Issuer{
		Name: i.Issuer, Audience: i.Audience, JWKSURL: i.JWKSURL, JWKSFile: i.JWKSFile, Algorithms: i.Algorithms,
		TenantClaim: i.TenantClaim, Tenants: map[string]string{}, RequiredFor: i.RequiredFor, RequireBinding: i.RequireBinding,
		MaxLifetime: i.MaxLifetime.Std(), Refresh: i.Refresh.Std(), Throttle: i.Throttle.Std(), Outage: i.Outage.Std(),
	}
	for _, one := range i.Tenants {
		value, tenant := one, one
		if at := strings.LastIndexByte(one, '='); at >= 0 {
			value, tenant = one[:at], one[at+1:]
		}
		out.Tenants[value] = tenant
	}
	return out
}

func (p *Problems) issuers(list []Issuer) {
	seen := map[string]bool{}
	for n := range list {
		i := &list[n]
		key := fmt.Sprintf("tokens.issuers[%d].", n)
		t := i.Token()
		for _, err := range leaves(t.Validate()) {
			if f, ok := errors.AsType[*fault.Error](err); ok {
				p.addf(key+f.Code, "%s", f.Detail)
			}
		}
		if len(t.Tenants) < len(i.Tenants) {
			p.addf(key+"tenants", "lists a value twice")
		}
		if i.CAFile != "" && i.JWKSURL == "" {
			p.addf(key+"ca_file", "means nothing without jwks_url")
		}
		if seen[i.Issuer] {
			p.addf(key+"issuer", "%q is listed twice", i.Issuer)
		}
		seen[i.Issuer] = true
	}
}
