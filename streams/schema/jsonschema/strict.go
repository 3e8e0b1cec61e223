package jsonschema

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// stricter are formats that the library takes more loosely than their RFCs. The program and the library use these.
func stricter() []*library.Format {
	check := func(name string, ok func(string) bool) *library.Format {
		err := errors.New("is no " + name)
		return &library.Format{Name: name, Validate: func(v any) error {
			if s, isString := v.(string); isString && !ok(s) {
				return err
			}
			return nil
		}}
	}
	return []*library.Format{
		check("ipv4", isIPv4), check("uri", isURI), check("uri-reference", isReference), check("duration", isDuration),
		check("hostname", isHostname), check("email", isEmail),
	}
}

func isIPv4(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is4()
}

// isURI implements RFC 3986 but for the inner grammar of paths and queries.
func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && ofURICharacters(s)
}

func isReference(s string) bool {
	_, err := url.Parse(s)
	return err == nil && ofURICharacters(s)
}

// ofURICharacters checks the characters, and those that only an authority has.
func ofURICharacters(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~:/?#[]@!$&'()*+,;=", c) >= 0:
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
		default:
			return false
		}
	}
	rest := s
	if _, after, ok := strings.Cut(s, "//"); ok {
		authority := after
		if i := strings.IndexAny(after, "/?#"); i >= 0 {
			authority = after[:i]
		}
		rest = after[len(authority):]
		if strings.Count(authority, "@") > 1 {
			return false
		}
	}
	return !strings.ContainsAny(rest, "[]")
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// duration is the grammar of RFC 3339, appendix A: units follow each other without a gap.
var duration = regexp.MustCompile(`^P(?:\d+W|(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)?(?:T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S))?)$`)

func isDuration(s string) bool { return len(s) > 1 && len(s) <= 128 && duration.MatchString(s) }

// isHostname implements RFC 1123; A-labels are taken for plain ones.
func isHostname(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	for _, label := range strings.Split(s, ".") {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.HasPrefix(label[min(len(label), 2):], "--") && !strings.HasPrefix(strings.ToLower(label), "xn--") {
			return false
		}
		for i := range len(label) {
			if c := label[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// isEmail implements the addr-spec of RFC 5321 without comments.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 {
		return false
	}
	local, domain := s[:at], s[at+1:]
	if address, ok := strings.CutPrefix(domain, "["); ok {
		address, ok = strings.CutSuffix(address, "]")
		six, isSix := strings.CutPrefix(address, "IPv6:")
		a, err := netip.ParseAddr(six)
		return ok && err == nil && isSix == a.Is6() && a.Zone() == "" && isLocal(local)
	}
	return isHostname(domain) && isLocal(local)
}

func isLocal(s string) bool {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return isQuoted(s[1 : len(s)-1])
	}
	before := byte('.')
	for i := range len(s) {
		c := s[i]
		if c == '.' && before == '.' || c != '.' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
			return false
		}
		before = c
	}
	return before != '.'
}

func isQuoted(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && s[i+1] >= ' ' && s[i+1] < 0x7f:
			i++
		case c == '"', c == '\\', c < ' ', c >= 0x7f:
			return false
		}
	}
	return true
}
