package event

import (
	"bytes"
	"errors"
	"testing"
)

func TestCutSig(t *testing.T) {
	const sig = `{"algo":"a","kid":"k","ts":1,"mac":"m"}`
	for raw, want := range map[string]string{ // "|" is where sig was
		`{}`:                                     `{}|`,
		" {\"a\":1} ":                            `{"a":1}|`,
		`{"a":1,"sig":` + sig + `}`:              `{"a":1|}`,
		`{"sig":` + sig + `}`:                    `{|}`,
		`{ "sig":` + sig + ` , "a":1}`:           `{ | "a":1}`,
		`{"a":1 , "sig" : ` + sig + ` ,"b":2}`:   `{"a":1 | ,"b":2}`,
		`{"a":{"sig":1},"s\u0069g":` + sig + `}`: `{"a":{"sig":1}|}`,
	} {
		s, err := CutSig([]byte(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got := string(s.Before) + "|" + string(s.After); got != want || s.HasSig != (s.Sig == Sig{Algo: "a", Kid: "k", TS: 1, MAC: "m"}) {
			t.Errorf("%s is cut to %s with %+v, want %s", raw, got, s.Sig, want)
		}
	}
	for raw, code := range map[string]string{
		``: CodeSyntax, `[1]`: CodeNotObject, `{"a":1} x`: CodeTrailingData, `{"sig":1}`: CodeSig, `{"sig":{}}`: CodeSig, `{"sig":null}`: CodeSig,
		`{"sig":` + sig + `,"sig":` + sig + `}`:                      CodeDuplicateKey,
		`{"sig":` + sig + `,"s\u0069g":` + sig + `}`:                 CodeDuplicateKey,
		`{"sig":{"algo":"a","kid":"k","ts":1,"mac":"m","x":1}}`:      CodeSig,
		`{"sig":{"algo":"a","kid":"k","ts":1.5,"mac":"m"}}`:          CodeSig,
		`{"sig":{"algo":"a","kid":"k","ts":"1","mac":"m"}}`:          CodeSig,
		`{"sig":{"algo":"a","kid":"k","ts":1}}`:                      CodeSig,
		`{"sig":{"ALGO":"a","kid":"k","ts":1,"mac":"m"}}`:            CodeSig,
		`{"sig":{"algo":"a","algo":"b","kid":"k","ts":1,"mac":"m"}}`: CodeDuplicateKey,
	} {
		_, err := CutSig([]byte(raw))
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != code {
			t.Errorf("%s: %v, want %s", raw, err, code)
		}
	}
}

// What is cut leaves an object without sig, and nothing but sig is cut.
func FuzzCutSig(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"sig":{"algo":"a","kid":"k","ts":1,"mac":"m"},"b":2}`, ` { "sig" : {"algo":"a","kid":"k","ts":1,"mac":"m"} , "b" : [] } `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := CutSig(raw)
		if err != nil {
			return
		}
		rest := append(bytes.Clone(s.Before), s.After...)
		again, err := CutSig(rest)
		if err != nil || again.HasSig || !bytes.Equal(again.Before, rest) {
			t.Fatalf("%q leaves %q: %v", raw, rest, err)
		}
		if s.HasSig != (len(rest) < len(bytes.TrimSpace(raw))) || !bytes.Contains(raw, s.Before) || !bytes.HasSuffix(bytes.TrimRight(raw, " \t\r\n"), s.After) {
			t.Fatalf("%q is cut to %q and %q", raw, s.Before, s.After)
		}
	})
}
