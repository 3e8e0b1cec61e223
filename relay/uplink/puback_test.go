package uplink

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func TestJudge(t *testing.T) {
	home := &Message{Region: "eu", ID: "e"}
	away := &Message{Region: "us", ID: "e"}
	noResponders := nats.Header{"Status": {"503"}}
	for _, c := range []struct {
		name   string
		m      *Message
		header nats.Header
		data   string
		want   Result
	}{
		{"stored", home, nil, `{"stream":"EVENTS","domain":"eu","seq":12}`, Result{Status: Stored, Seq: 12}},
		{"spaces", home, nil, ` { "stream" : "EVENTS" , "domain":"eu","seq": 12 } `, Result{Status: Stored, Seq: 12}},
		{"duplicate", home, nil, `{"stream":"EVENTS","domain":"eu","seq":12,"duplicate": true}`, Result{Status: Duplicate, Seq: 12}},
		{"not duplicate", home, nil, `{"stream":"EVENTS","domain":"eu","seq":12,"duplicate":false}`, Result{Status: Stored, Seq: 12}},
		{"odd shape", home, nil, `{"stream":"EVENTS","domain":"eu","seq":12,"val":"3","batch":"x","count":1}`, Result{Status: Stored, Seq: 12}},
		{"escaped", home, nil, `{"stream":"EVENT\u0053","domain":"eu","seq":12}`, Result{Status: Stored, Seq: 12}},
		{"largest", home, nil, `{"stream":"EVENTS","domain":"eu","seq":18446744073709551615}`, Result{Status: Stored, Seq: 18446744073709551615}},
		{"forwarded", away, nil, `{"stream":"EVENTS","domain":"us","seq":1}`, Result{Status: Stored, Seq: 1}},
		{"other domain", home, nil, `{"stream":"EVENTS","domain":"us","seq":12}`, Result{Code: CodeWrongStream}},
		{"no domain", home, nil, `{"stream":"EVENTS","seq":12}`, Result{Code: CodeWrongStream}},
		{"other stream", home, nil, `{"stream":"DLQ","domain":"eu","seq":12}`, Result{Code: CodeWrongStream}},
		{"duplicate elsewhere", home, nil, `{"stream":"EVENTS","domain":"us","seq":12,"duplicate":true}`, Result{Code: CodeWrongStream}},
		{"no seq", home, nil, `{"stream":"EVENTS","domain":"eu"}`, Result{Code: CodeStreamError}},
		{"seq zero", home, nil, `{"stream":"EVENTS","domain":"eu","seq":0}`, Result{Code: CodeStreamError}},
		{"empty", home, nil, ``, Result{Code: CodeStreamError}},
		{"no JSON", home, nil, `+OK`, Result{Code: CodeStreamError}},
		{"two documents", home, nil, `{"stream":"EVENTS","domain":"eu","seq":1}{}`, Result{Code: CodeStreamError}},
		{"beyond 64 bits", home, nil, `{"stream":"EVENTS","domain":"eu","seq":18446744073709551616}`, Result{Code: CodeStreamError}},
		{"too many requests", home, nil, `{"error":{"code":429,"err_code":10167,"description":"too many requests"},"stream":"EVENTS","seq":0}`, Result{Code: CodeOverloaded}},
		{"in doubt", home, nil, `{"error":{"code":409,"err_code":10158,"description":"x"},"stream":"EVENTS","seq":0}`, Result{Code: CodeOverloaded}},
		{"maximum bytes", home, nil, `{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"EVENTS","seq":0}`, Result{Code: CodeStreamFull}},
		{"no storage", home, nil, `{"error":{"code":500,"err_code":10047,"description":"x"},"stream":"EVENTS","seq":0}`, Result{Code: CodeStreamFull}},
		{"account limit", home, nil, `{"error":{"code":400,"err_code":10002,"description":"x"}}`, Result{Code: CodeStreamFull}},
		{"too large", home, nil, `{"error":{"code":400,"err_code":10054,"description":"x"}}`, Result{Status: Rejected, Code: CodeTooLarge}},
		{"other error", home, nil, `{"error":{"code":400,"err_code":10071,"description":"x"}}`, Result{Code: CodeStreamError}},
		{"error without its code", home, nil, `{"error":{"code":503}}`, Result{Code: CodeStreamError}},
		{"empty error", home, nil, `{"error":{},"stream":"EVENTS","domain":"eu","seq":4}`, Result{Code: CodeStreamError}},
		{"no responders", home, noResponders, ``, Result{Code: CodeStreamUnreachable}},
		{"no responders at home", away, noResponders, ``, Result{Code: CodeHomeUnreachable}},
	} {
		a := readAck(&nats.Msg{Header: c.header, Data: []byte(c.data)})
		got := a.judge(c.m, "eu")
		if (got.Status == Unavailable || got.Status == Rejected) && got.Detail == "" {
			t.Errorf("%s: %s says nothing", c.name, got.Code)
		}
		got.Detail = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestForeignNamesAreShort(t *testing.T) {
	a := puback{stream: []byte(strings.Repeat("x", 500) + "\x00"), domain: []byte("\"\n"), seq: 1}
	if d := a.judge(&Message{Region: "eu"}, "eu").Detail; len(d) > 200 || strings.ContainsAny(d, "\n\x00") {
		t.Errorf("detail %q", d)
	}
}

// The scanner may refuse what it likes, but what it accepts it must read as encoding/json does.
func FuzzScanAck(f *testing.F) {
	for _, s := range []string{
		`{"stream":"EVENTS","domain":"eu","seq":12}`, `{"stream":"EVENTS","domain":"eu","seq":12,"duplicate": true}`, `{}`, `{"seq":01}`,
		`{"seq":1,"seq":2}`, `{"stream":"a\"b","seq":1}`, `{"seq":1}x`, `{"seq":-1}`, `{"seq":1.0}`, `{"duplicate":truex,"seq":1}`, `{"Seq":1,"seq":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, ok := scanAck(data)
		if !ok {
			return
		}
		var v struct {
			Stream    string `json:"stream"`
			Domain    string `json:"domain"`
			Seq       uint64 `json:"seq"`
			Duplicate bool   `json:"duplicate"`
		}
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("%q is read as %+v and is not JSON: %v", data, a, err)
		}
		if v.Stream != string(a.stream) || v.Domain != string(a.domain) || v.Seq != a.seq || v.Duplicate != a.duplicate {
			t.Fatalf("%q is read as %+v, encoding/json reads %+v", data, a, v)
		}
	})
}

func TestTokens(t *testing.T) {
	for _, c := range []struct{ id, gen uint32 }{{0, 0}, {1, 2}, {maxWindow - 1, 1<<32 - 1}} {
		s := string(appendToken(nil, c.id, c.gen))
		id, gen, ok := parseToken(s)
		if !ok || id != c.id || gen != c.gen || len(s) != tokenLen {
			t.Errorf("%+v became %q became %d, %d, %v", c, s, id, gen, ok)
		}
	}
	for _, s := range []string{"", "0", strings.Repeat("0", tokenLen+1), "00000000000g", "+00000000001", "0000_0000001"} {
		if _, _, ok := parseToken(s); ok {
			t.Errorf("%q is taken for a token", s)
		}
	}
}

func BenchmarkReadAck(b *testing.B) {
	m := &nats.Msg{Data: []byte(`{"stream":"EVENTS","domain":"eu","seq":123456}`)}
	b.ReportAllocs()
	for b.Loop() {
		if a := readAck(m); a.seq != 123456 {
			b.Fatal(fmt.Sprint(a))
		}
	}
}
