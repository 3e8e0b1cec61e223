package intake_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay/intake"
)

// FuzzContentType compares the parser with a regular expression.
func FuzzContentType(f *testing.F) {
	for _, s := range []string{"application/json", "application/x-ndjson; charset=UTF-8", "application/json;", "application/j\u017fon", "application/json\u00a0", `application/json; charset="utf-8"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i := range len(s) {
			if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
				return // no server lets it through
			}
		}
		want := ""
		if m := typeGrammar.FindStringSubmatch(lower(s)); m != nil {
			want = "application/" + m[1]
		}
		if got := intake.ContentKind(s); got != want {
			t.Fatalf("%q is %q, want %q", s, got, want)
		}
	})
}

// FuzzSignatureHeaders compares the grammar of every header that signs with regular expressions.
func FuzzSignatureHeaders(f *testing.F) {
	f.Add("acme-1", "1767323045", "r-1", "v1,AAAA v1a,BBBB")
	f.Add("a b", "01", "a.b", " v1,AAAA")
	f.Add("", "-1", "\n", "v1,AAAA  v1,AAAA")
	f.Fuzz(func(t *testing.T, kid, timestamp, id, list string) {
		if got := keyring.ValidKid(kid); got != idGrammar.MatchString(kid) || strings.HasSuffix(kid, "\n") && got {
			t.Fatalf("kid %q: %v", kid, got)
		}
		r := signature.Request{Kid: "k", Timestamp: timestamp, RequestID: id, Method: "POST", Host: "h", Target: "/"}
		if got := r.Validate() == nil; got != (timeGrammar.MatchString(timestamp) && idGrammar.MatchString(id)) {
			t.Fatalf("timestamp %q, request id %q: %v", timestamp, id, got)
		}
		if got := signature.ValidateWebhook(id, timestamp, list) == nil; got != (webhookGrammar.MatchString(id) && timeGrammar.MatchString(timestamp) && listGrammar.MatchString(list)) {
			t.Fatalf("webhook-id %q, webhook-timestamp %q, webhook-signature %q: %v", id, timestamp, list, got)
		}
	})
}
