package subject_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/subject"
)

func TestRejectSubjects(t *testing.T) {
	r := subject.Reject{Region: "eu-2", Cause: "signature", Code: "signature_invalid"}
	if got, err := subject.ParseReject(r.String()); err != nil || got != r || r.String() != "rej.eu-2.signature.signature_invalid" {
		t.Errorf("%s is read as %+v, %v", r, got, err)
	}
	for _, bad := range []string{
		"", "rej", "rej.eu.a", "rej.eu.a.b.c", "evt.eu.a.b", "rej.EU.a.b", "rej.eu_1.a.b", "rej.eu.A.b", "rej.eu..b", "rej.eu.a.", "rej.eu.a.*", "rej.eu.a.>", "rej.*.a.b", "rej.eu.a.b c",
		"rej.eu.a." + strings.Repeat("x", 65),
	} {
		if got, err := subject.ParseReject(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func FuzzParseReject(f *testing.F) {
	f.Add("rej.eu.signature.signature_invalid")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := subject.ParseReject(s); err == nil && r.String() != s {
			t.Errorf("%q is read as %+v", s, r)
		}
	})
}
