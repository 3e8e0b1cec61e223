package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

var testNow = time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)

const testNowText = `"2026-03-04T05:06:07.089Z"`

func TestReplaceOccurredAt(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain":               {`{"occurred_at":"old"}`, `{"occurred_at":NOW}`},
		"spaces":              {" {\t\"occurred_at\" :  \"old\" , \"a\" : 1.0e+2 }  ", " {\t\"occurred_at\" :  NOW , \"a\" : 1.0e+2 }  "},
		"nested ones stay":    {`{"payload":{"occurred_at":"x"},"occurred_at":"old","ctx":{"occurred_at":"y"}}`, `{"payload":{"occurred_at":"x"},"occurred_at":NOW,"ctx":{"occurred_at":"y"}}`},
		"in a string":         {`{"a":"\"occurred_at\":\"x\"","occurred_at":"old"}`, `{"a":"\"occurred_at\":\"x\"","occurred_at":NOW}`},
		"escaped name":        {`{"occurred\u005fat":"old"}`, `{"occurred\u005fat":NOW}`},
		"a name like it":      {`{"occurred_at ":"x","Occurred_at":"y","occurred_at":"z"}`, `{"occurred_at ":"x","Occurred_at":"y","occurred_at":NOW}`},
		"escapes stay":        {`{"a":"\u00e9\/\ud83d\ude00é😀","occurred_at":"\u0032","n":1E400,"z":-0}`, `{"a":"\u00e9\/\ud83d\ude00é😀","occurred_at":NOW,"n":1E400,"z":-0}`},
		"other types":         {`{"occurred_at":{"a":[1,2]},"b":1}`, `{"occurred_at":NOW,"b":1}`},
		"number":              {`{"occurred_at":17,"b":1}`, `{"occurred_at":NOW,"b":1}`},
		"null":                {`{"b":[],"occurred_at":null}`, `{"b":[],"occurred_at":NOW}`},
		"invalid UTF-8 stays": {"{\"a\":\"\xff\",\"occurred_at\":\"old\"}", "{\"a\":\"\xff\",\"occurred_at\":NOW}"},
		"duplicates stay two": {`{"occurred_at":"a","occurred_at":"b"}`, `{"occurred_at":NOW,"occurred_at":"b"}`},
		"broken behind it":    {`{"occurred_at":"old",,}`, `{"occurred_at":NOW,,}`},
		"broken before it":    {`{"a":,"occurred_at":"old"}`, `{"a":,"occurred_at":"old"}`},
		"missing":             {`{"a":1}`, `{"a":1}`},
		"array":               {`[{"occurred_at":"old"}]`, `[{"occurred_at":"old"}]`},
		"cut off":             {`{"occurred_at":"ol`, `{"occurred_at":"ol`},
		"empty":               {``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			in := []byte(c.in)
			got := string(replaceOccurredAt(in, testNow))
			if want := strings.ReplaceAll(c.want, "NOW", testNowText); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if string(in) != c.in {
				t.Error("the input was changed")
			}
		})
	}
}

// TestReplaceOccurredAtKeepsEveryOtherByte builds objects in which anything stands before and behind.
func TestReplaceOccurredAtKeepsEveryOtherByte(t *testing.T) {
	value := rapid.Custom(func(t *rapid.T) string {
		v, err := json.Marshal(rapid.OneOf(
			rapid.String().AsAny(), rapid.Int64().AsAny(), rapid.Bool().AsAny(),
			rapid.SliceOf(rapid.String()).AsAny(), rapid.MapOf(rapid.String(), rapid.Int()).AsAny(),
		).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		return string(v)
	})
	rapid.Check(t, func(t *rapid.T) {
		space := func() string { return rapid.StringMatching(`[ \t]{0,3}`).Draw(t, "space") }
		var before, behind strings.Builder
		before.WriteString(space() + "{")
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			before.WriteString(space() + rapid.SampledFrom([]string{`"a"`, `"occurred_at2"`, `"ü"`}).Draw(t, "name") + space() + ":" + value.Draw(t, "before") + ",")
		}
		before.WriteString(space() + `"occurred_at"` + space() + ":" + space())
		for range rapid.IntRange(0, 3).Draw(t, "members") {
			behind.WriteString(space() + "," + `"b"` + ":" + space() + value.Draw(t, "behind"))
		}
		behind.WriteString(space() + "}" + space())
		in := before.String() + value.Draw(t, "old") + behind.String()
		if got, want := string(replaceOccurredAt([]byte(in), testNow)), before.String()+testNowText+behind.String(); got != want {
			t.Fatalf("in   %s\ngot  %s\nwant %s", in, got, want)
		}
	})
}

func FuzzReplaceOccurredAt(f *testing.F) {
	f.Add([]byte(`{"occurred_at":"x"}`))
	f.Add([]byte("{\"a\":\"\xff\",\"occurred_at\":{}}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := replaceOccurredAt(raw, testNow)
		if bytes.Equal(got, raw) {
			return
		}
		at := bytes.Index(got, []byte(testNowText))
		if at < 0 || !bytes.HasPrefix(raw, got[:at]) || !bytes.HasSuffix(raw, got[at+len(testNowText):]) {
			t.Fatalf("%q became %q", raw, got)
		}
	})
}

func TestLineReader(t *testing.T) {
	const limit = 100
	long := strings.Repeat("x", limit+1)
	exact := strings.Repeat("y", limit)
	input := "a\n\n  \r\nb\r\n" + long + "\n" + exact + "\n" + exact + "\r\n" + strings.Repeat("z", 200<<10) + "\nlast"
	type seen struct {
		number int
		text   string
	}
	want := []seen{{1, "a"}, {4, "b"}, {5, "too_large"}, {6, exact}, {7, exact}, {8, "too_large"}, {9, "last"}}
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(input), "bytewise": iotest.OneByteReader(strings.NewReader(input))} {
		l := newLineReader(r, nil)
		l.maxBytes = limit
		for i := 0; ; i++ {
			line, err := l.next()
			if errors.Is(err, io.EOF) {
				if i != len(want) {
					t.Errorf("%s: %d lines, want %d", name, i, len(want))
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got := seen{line.number, string(line.raw)}
			if line.raw == nil {
				got.text = line.refused.Code
			}
			if i >= len(want) || got != want[i] {
				t.Fatalf("%s: line %d is %+v", name, i, got)
			}
		}
	}
}

func TestLineReaderReportsABrokenInput(t *testing.T) {
	l := newLineReader(io.MultiReader(strings.NewReader("{}\n{"), iotest.ErrReader(errors.New("disk gone"))), nil)
	lines := make(chan inputLine, 4)
	var err error
	l.feed(t.Context(), lines, &err)
	if err == nil || err.Error() != "reading stopped after line 1: disk gone" {
		t.Errorf("got %v", err)
	}
}
