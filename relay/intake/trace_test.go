package intake

import (
	"strings"
	"testing"
)

func TestParseTrace(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		name   string
		values []string
		want   string
	}{
		{"one", []string{good}, good},
		{"none", nil, ""},
		{"two", []string{good, good}, ""},
		{"later version", []string{"cc" + good[2:]}, good},
		{"later version with more", []string{"cc" + good[2:] + "-what-is-this"}, good},
		{"later version glued", []string{"cc" + good[2:] + "x"}, ""},
		{"version 00 with more", []string{good + "-x"}, ""},
		{"version ff", []string{"ff" + good[2:]}, ""},
		{"unknown flags", []string{good[:53] + "ff"}, good[:53] + "03"},
		{"upper case", []string{strings.ToUpper(good)}, ""},
		{"zero trace", []string{"00-00000000000000000000000000000000-b7ad6b7169203331-01"}, ""},
		{"zero span", []string{"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}, ""},
		{"not hex", []string{strings.Replace(good, "b7ad", "b7ag", 1)}, ""},
		{"short", []string{good[:54]}, ""},
		{"dashes", []string{strings.Replace(good, "-", "_", 1)}, ""},
		{"line break", []string{good[:54] + "\n"}, ""},
	} {
		if got := parseTrace(c.values); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff-more")
	f.Fuzz(func(t *testing.T, s string) {
		got := parseTrace([]string{s})
		if got == "" {
			return
		}
		if len(got) != 55 || strings.Trim(got, "0123456789abcdef-") != "" || parseTrace([]string{got}) != got || got[3:53] != s[3:53] {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func TestContentKind(t *testing.T) {
	for in, want := range map[string]string{
		"application/json": typeJSON, "application/x-ndjson": typeNDJSON, "APPLICATION/JSON": typeJSON,
		"application/json;charset=utf-8": typeJSON, "application/json; charset=UTF-8": typeJSON, `application/x-ndjson; charset="utf-8"`: typeNDJSON,
		"": "", "text/json": "", "application/json; charset=utf-16": "", "application/json; v=1": "", "application/json;": "",
		"application/json; charset=utf-8; v=1": "", "application/json, text/plain": "", "application/cloudevents+json": "",
	} {
		if got := contentKind(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
