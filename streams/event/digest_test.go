package event_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/event"
)

func digest(tb testing.TB, raw string) string {
	tb.Helper()
	sum, err := event.Digest([]byte(raw))
	if err != nil {
		tb.Fatalf("%s: %v", raw, err)
	}
	return hex.EncodeToString(sum[:])
}

const said = `{"event_id":"e","event_type":"a.b","key":{"user_id":"u"},"source_seq":1,"payload":{"a":1,"b":[true,null,"x"],"c":{"d":2,"e":1.5}}}`

// Regions of different versions compare digests: they never change.
func TestDigestVectors(t *testing.T) {
	for raw, canonical := range map[string]string{
		said: `{"event_type":"a.b","key":{"user_id":"u"},"payload":{"a":1,"b":[true,null,"x"],"c":{"d":2,"e":1.5}},"source_seq":1}`,
		`{}`: `{}`,
		`{"event_type":"\u0061","payload":{"\ud83d\ude00":1,"\ufb33":9007199254740993,"b":1.50,"a":1E2}}`: "{\"event_type\":\"a\",\"payload\":{\"a\":100,\"b\":1.5,\"\U0001f600\":1,\"\ufb33\":9007199254740993}}",
	} {
		if got, want := digest(t, raw), sha256.Sum256([]byte(canonical)); got != hex.EncodeToString(want[:]) {
			t.Errorf("%s: the digest is not that of %s", raw, canonical)
		}
	}
}

func TestSameDigest(t *testing.T) {
	for name, raw := range map[string]string{
		"white space":            strings.NewReplacer(",", " ,\n\t", ":", " : ", "{", "{ ").Replace(said),
		"order of members":       `{"payload":{"c":{"e":1.5,"d":2},"b":[true,null,"x"],"a":1},"source_seq":1,"key":{"user_id":"u"},"event_type":"a.b"}`,
		"other event_id":         strings.Replace(said, `"e"`, `"f"`, 1),
		"members not covered":    strings.Replace(said, `{`, `{"occurred_at":"2026-01-31T12:00:00Z","ctx":{"x":1},"sig":{},`, 1),
		"escapes":                strings.NewReplacer(`"payload"`, `"p\u0061yload"`, `"x"`, `"\u0078"`).Replace(said),
		"spelling of a fraction": strings.Replace(said, "1.5", "15e-1", 1),
	} {
		if digest(t, raw) != digest(t, said) {
			t.Errorf("%s: other digest", name)
		}
	}
}

func TestOtherDigest(t *testing.T) {
	seen := map[string]string{digest(t, said): "the original"}
	for name, raw := range map[string]string{
		"type":             strings.Replace(said, "a.b", "a.c", 1),
		"user":             strings.Replace(said, `"u"`, `"v"`, 1),
		"key":              strings.Replace(said, `"u"`, `"u","x":1`, 1),
		"source_seq":       strings.Replace(said, `"source_seq":1`, `"source_seq":2`, 1),
		"no source_seq":    strings.Replace(said, `"source_seq":1,`, "", 1),
		"value":            strings.Replace(said, `"d":2`, `"d":3`, 1),
		"string, number":   strings.Replace(said, `"d":2`, `"d":"2"`, 1),
		"null":             strings.Replace(said, `"d":2`, `"d":null`, 1),
		"order of a list":  strings.Replace(said, `[true,null`, `[null,true`, 1),
		"2^53":             strings.Replace(said, `"d":2`, `"d":9007199254740992`, 1),
		"2^53+1":           strings.Replace(said, `"d":2`, `"d":9007199254740993`, 1),
		"-2^53-1":          strings.Replace(said, `"d":2`, `"d":-9007199254740993`, 1),
		"22 digits":        strings.Replace(said, `"d":2`, `"d":1000000000000000000001`, 1),
		"22 digits, other": strings.Replace(said, `"d":2`, `"d":1000000000000000000002`, 1),
		"no payload":       `{"event_type":"a.b","key":{"user_id":"u"},"source_seq":1}`,
	} {
		sum := digest(t, raw)
		if other, ok := seen[sum]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[sum] = name
	}
}

func TestDigestRefusesWhatDecodeRefuses(t *testing.T) {
	for _, v := range vectors(t, "bad.json") {
		if !v.Syntax && v.Code != event.CodeNotObject {
			continue
		}
		_, err := event.Digest(v.raw())
		got, ok := errors.AsType[*event.Error](err)
		if !ok || got.Code != v.Code || got.Syntax != v.Syntax {
			t.Errorf("%s: got %v, want %s", v.Name, err, v.Code)
		}
	}
}

// values are JSON values without numbers that have two spellings.
func values(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 4
		if depth > 0 {
			kinds = 6
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.Int64().Draw(t, "int")
		case 1:
			return rapid.String().Draw(t, "string")
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return nil
		case 4:
			return rapid.SliceOfN(values(depth-1), 0, 4).Draw(t, "list")
		default:
			return rapid.MapOfN(rapid.String(), values(depth-1), 0, 4).Draw(t, "object")
		}
	})
}

// write spells a value in one of many ways.
func write(b []byte, v any, r *rand.Rand) []byte {
	space := func() { b = append(b, []string{"", "", " ", "\n", "\t ", "\r\n"}[r.IntN(6)]...) }
	space()
	switch v := v.(type) {
	case map[string]any:
		b = append(b, '{')
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for i, name := range names {
			if i > 0 {
				b = append(b, ',')
			}
			b = write(b, name, r)
			b = append(b, ':')
			b = write(b, v[name], r)
		}
		b = append(b, '}')
	case []any:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = write(b, v[i], r)
		}
		b = append(b, ']')
	case string:
		b = append(b, '"')
		for _, c := range v {
			if c < 0x10000 && (c < ' ' || c == '"' || c == '\\' || r.IntN(4) == 0) {
				b = append(b, `\u`+strings.Repeat("0", 4-len(strconv.FormatInt(int64(c), 16)))+strconv.FormatInt(int64(c), 16)...)
			} else {
				b = append(b, string(c)...)
			}
		}
		b = append(b, '"')
	default:
		text, _ := json.Marshal(v)
		b = append(b, text...)
	}
	space()
	return b
}

func TestDigestIsOfContentAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.MapOfN(rapid.String(), values(3), 0, 5).Draw(t, "payload")
		e := map[string]any{
			"event_id": "e", "event_type": "a.b", "schema_version": "1.0.0", "occurred_at": "2026-01-31T12:00:00Z",
			"key": map[string]any{"user_id": "u"}, "source_seq": rapid.Uint64().Draw(t, "seq"), "payload": payload,
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)) //nolint:gosec // spelling
		one, two := write(nil, e, r), write(nil, e, r)
		sum, err := event.Digest(one)
		if err != nil {
			t.Fatalf("%s: %v", one, err)
		}
		if other, err := event.Digest(two); err != nil || other != sum {
			t.Fatalf("%s\n%s: %v", one, two, err)
		}
		for _, raw := range [][]byte{one, two} {
			var d event.Event
			if err := event.Decode(raw, &d); err != nil || d.SourceSeq != e["source_seq"] || string(d.Raw) != string(trim(raw)) {
				t.Fatalf("%s: %+v, %v", raw, d, err)
			}
		}
		payload["one more"] = int64(rapid.IntRange(math.MinInt32, math.MaxInt32).Draw(t, "more"))
		e["event_type"] = "a.c"
		if other, err := event.Digest(write(nil, e, r)); err != nil || other == sum {
			t.Fatalf("changed, and the digest is the same (%v)", err)
		}
	})
}
