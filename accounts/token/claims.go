package token

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"github.com/weft-mesh/weft/streams/fault"
)

// header is what is read of a JOSE header. jku, jwk, x5u and x5c are not: keys come from the configuration.
type header struct {
	Algorithm string         `json:"alg"`
	Kid       string         `json:"kid"`
	Type      string         `json:"typ"`
	Critical  jsontext.Value `json:"crit"`
}

// parts is a token taken apart, with nothing in it believed.
type parts struct {
	header    header
	claims    claims
	signed    string // what the signature is over
	signature []byte
}

var segments = jwt.NewParser(jwt.WithStrictDecoding())

// split takes a token apart. The JSON in it is read strictly: a name that occurs twice is refused, and no
// name stands for another that differs in case, so that two readers cannot see two tokens.
func split(raw string) (*parts, error) {
	head, rest, ok1 := strings.Cut(raw, ".")
	body, mac, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.Contains(mac, ".") {
		return nil, malformed("is not three parts with dots between them: a signed token in compact form is needed")
	}
	if strings.ContainsAny(raw, "\r\n") { // the decoder skips them: one signature would have many spellings
		return nil, malformed("has a line break in it")
	}
	p := &parts{signed: raw[:len(head)+1+len(body)]}
	headJSON, err1 := segments.DecodeSegment(head)
	bodyJSON, err2 := segments.DecodeSegment(body)
	signature, err3 := segments.DecodeSegment(mac)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, malformed("has a part that is not base64url without padding")
	}
	p.signature = signature
	if json.Unmarshal(headJSON, &p.header) != nil {
		return nil, malformed("has a header that is not a JOSE header")
	}
	if json.Unmarshal(bodyJSON, &p.claims) != nil || p.claims == nil {
		return nil, malformed("has claims that are not one JSON object, each name once")
	}
	return p, nil
}

func malformed(what string) error {
	return fault.New(opVerify, fault.Unauthenticated, CodeMalformed, "the token %s", what)
}

// validate checks the header against what this program understands; the algorithm is the issuer's matter.
func (h *header) validate() error {
	switch {
	case h.Critical != nil:
		return malformed("has a critical header that this relay does not know")
	case h.Kid == "" || len(h.Kid) > maxKid:
		return malformed("does not say by its kid which key signed it")
	}
	switch typ := strings.TrimPrefix(strings.ToLower(h.Type), "application/"); typ {
	case "", "jwt", "at+jwt":
		return nil
	}
	return fault.New(opVerify, fault.Unauthenticated, CodeType, "the token's typ is not that of an access token, at+jwt or JWT")
}

// claims are a token's claims, each decoded when it is asked for.
type claims map[string]jsontext.Value

// text is a claim that is a text, "" for everything else.
func (c claims) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// texts is a claim that is a text or a list of texts.
func (c claims) texts(name string) []string {
	var list []string
	if json.Unmarshal(c[name], &list) == nil {
		return list
	}
	if s := c.text(name); s != "" {
		return []string{s}
	}
	return nil
}

// maxDate is the last second of the year 9999: what comes after is no date that anybody means.
const maxDate = 253402300799

// date is a NumericDate (RFC 7519, 2), the zero time when there is none. A fraction is cut off.
func (c claims) date(name string) (t time.Time, ok bool) {
	v, there := c[name]
	if !there {
		return t, true
	}
	var seconds float64
	if json.Unmarshal(v, &seconds) != nil || v.Kind() != '0' || math.IsNaN(seconds) || seconds <= 0 || seconds > maxDate {
		return t, false
	}
	return time.Unix(int64(seconds), 0), true
}

// binding is the certificate that the token is bound to (RFC 8705, 3.1): bound without a thumbprint is a
// binding to something that this program cannot check.
func (c claims) binding() (thumbprint string, bound bool) {
	v, bound := c["cnf"]
	if !bound {
		return "", false
	}
	var cnf claims
	if json.Unmarshal(v, &cnf) != nil {
		return "", true
	}
	return cnf.text("x5t#S256"), true
}

// scopes are the token's scopes, whichever of the usual claims holds them (RFC 8693, 4.2, and scp).
func (c claims) scopes() []string {
	var out []string
	for _, name := range []string{"scope", "scp"} {
		for _, s := range c.texts(name) {
			out = append(out, strings.Fields(s)...)
		}
	}
	return out
}

func (c claims) hasAudience(want string) bool { return slices.Contains(c.texts("aud"), want) }
