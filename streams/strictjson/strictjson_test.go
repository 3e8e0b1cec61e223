package strictjson_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/strictjson"
)

type token struct {
	kind       jsontext.Kind
	start, end int
	depth      int
}

// scanned are the tokens of one value; ok says that it ended as it should.
func scanned(s *strictjson.Scanner, body []byte) (all []token, ok bool) {
	s.Reset(body)
	for {
		next, first, kind := s.Next(), s.Peek(), s.PeekKind()
		t := token{}
		t.kind, t.start, t.end = s.Read()
		if t.kind == 0 {
			return all, false
		}
		if kind != t.kind || next != t.start || first != body[t.start] || s.Offset() != t.end {
			panic(fmt.Sprintf("read %v, looked ahead at %d %q %v", t, next, first, kind))
		}
		t.depth = s.Depth()
		all = append(all, t)
		if t.depth == 0 {
			return all, true
		}
	}
}

// judged is what jsontext says of the same, which reads a name's colon or a value's comma later.
func judged(body []byte) (all []token, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	for {
		start := int(d.InputOffset())
		t, err := d.ReadToken()
		if err != nil {
			return all, err
		}
		for strings.IndexByte(" \t\r\n,:", body[start]) >= 0 {
			start++
		}
		all = append(all, token{t.Kind(), start, int(d.InputOffset()), d.StackDepth()})
		if d.StackDepth() == 0 {
			return all, nil
		}
	}
}

// agree holds the scanner to jsontext's reading of the same input: the same tokens at the same places, the same verdict.
func agree(t *testing.T, s *strictjson.Scanner, body []byte) {
	t.Helper()
	before := bytes.Clone(body)
	got, ok := scanned(s, body)
	want, err := judged(body)
	if ok != (err == nil) || len(got) > len(want) {
		t.Fatalf("%q: read %v, %v, and jsontext says %v, %v", body, got, ok, want, err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%q: token %d is read as %v, and by jsontext as %v", body, i, got[i], want[i])
		}
	}
	if !bytes.Equal(body, before) {
		t.Fatal("the input was changed")
	}
	if ok {
		return
	}
	if told := s.Err(); told == nil || told.Error() != err.Error() {
		t.Fatalf("%q: %v is told, and jsontext says %v", body, told, err)
	}
	if kind, start, end := s.Read(); kind != 0 || start != end || s.PeekKind() != 0 {
		t.Fatalf("%q: %v is read after a failure", body, kind)
	}
}

var inputs = []string{
	``, ` `, `0`, `-0`, `-`, `01`, `1.`, `.1`, `1.5e`, `1e+`, `1E-07`, `1e5x`, `-1.25e+10 `, `9e999`, `tru`, `true`, `truex`, `false`, `null`, `nul`, `N`, "\ufeff1",
	`""`, `"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u00e9\/\b\f\n\r\t\"\\"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ud83dx"`, `"\ud83d\u0041"`, `"\ude00"`, `"\uD83D\uDE00"`, `"é😀"`, "\"\xff\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "\"\xf4\x90\x80\x80\"", "\"a\x00\"", "\"\x7f\"", "\"\n\"",
	`{}`, `{ }`, `[]`, `[ ]`, `{`, `[`, `}`, `]`, `{]`, `[}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1}}`, `[1,]`, `[,1]`, `[1 2]`, `[1,,2]`, `{1:2}`, `{"a":1,2}`, `[1:2]`, `{"a":[{"b":[]},{"b":{}}],"c":null}`, `["a":1]`, `{"a",1}`, `{"a":1:2}`,
	`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\u0061":1,"a":2}`, `{"\u0061":1,"\u0061":2}`, `{"":1,"":2}`, `{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}`, `{"a":{"b":1},"b":2,"a":3}`, `{"é":1,"\u00e9":2}`, `{"\u00e9":1,"\u00e8":2}`,
	`[[[[[[]]]]]]`, "\t[\r\n1\n,\t2 ] ", `[1]x`, `"a""b"`, `{"a":1} {}`,
}

func TestAgrees(t *testing.T) {
	var s strictjson.Scanner
	for _, in := range inputs {
		agree(t, &s, []byte(in))
		agree(t, &s, []byte(`{"around":[`+in+`,`+in+`]}`))
		for cut := range in {
			agree(t, &s, []byte(in[:cut]))
		}
	}
}

// wide is an object with n members and one name again at the end, in another spelling where escaped; none if n is
// not above again.
func wide(n, again int, escaped bool) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range n {
		fmt.Fprintf(&b, `"name%d":{"name%d":[{"x":1}]},`, i, i)
	}
	last := fmt.Sprintf("name%d", again)
	if escaped {
		last = `\u006e` + last[1:]
	}
	fmt.Fprintf(&b, `"%s":0}`, last)
	return b.Bytes()
}

// Names of objects of all widths, nested in each other, are told apart and found again.
func TestNames(t *testing.T) {
	var s strictjson.Scanner
	for _, n := range []int{0, 1, 15, 16, 17, 18, 63, 64, 65, 1000, 5000} {
		for _, again := range []int{0, n / 2, n - 1, n} {
			for _, escaped := range []bool{false, true} {
				body := wide(n, again, escaped)
				agree(t, &s, body)
				if _, ok := scanned(&s, body); ok != (again >= n || again < 0) {
					t.Errorf("%d members and name%d again: %v", n, again, ok)
				}
			}
		}
		inner := wide(n, n, false)
		agree(t, &s, []byte(fmt.Sprintf(`{"a":%s,"b":%s,"c":[%s,%s],"a":1}`, inner, inner, inner, inner)))
		agree(t, &s, append(append(wide(n, n, true)[:len(wide(n, n, true))-1], `,"inner":`...), append(wide(n, 0, false), '}')...))
	}
}

// One byte changed in what is valid.
func TestMutations(t *testing.T) {
	seed := uint64(len(inputs))
	random := rand.New(rand.NewPCG(seed, 1))
	raw, err := os.ReadFile("../event/testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var s strictjson.Scanner
	const of = "{}[]:,\"\\u0d8 \n1e.-atf\x00\xff\xc3"
	for range 20_000 {
		body := bytes.Clone(raw)
		for range 1 + random.IntN(2) {
			body[random.IntN(len(body))] = of[random.IntN(len(of))]
		}
		agree(t, &s, body)
	}
}

func TestJSONTestSuite(t *testing.T) {
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set: it names the folder with vectors/")
	}
	files, err := filepath.Glob(filepath.Join(dir, "vectors", "json-parsing", "*.json"))
	if err != nil || len(files) < 300 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	var s strictjson.Scanner
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(file, "100000_opening_arrays") || strings.Contains(file, "open_array_object") {
			// Deeper than jsontext reads: what reads events stops long before.
			if _, ok := scanned(&s, text); ok {
				t.Errorf("%s is accepted", file)
			}
			continue
		}
		agree(t, &s, text)
	}
}

func TestPointer(t *testing.T) {
	var s strictjson.Scanner
	s.Reset([]byte(`{"a":[1,{"b/c":2}]}`))
	var all []string
	for kind := jsontext.Kind(1); kind != 0; {
		if kind, _, _ = s.Read(); kind != 0 {
			all = append(all, string(s.Pointer()))
		}
	}
	if got := strings.Join(all, " "); got != " /a /a /a/0 /a/1 /a/1/b~1c /a/1/b~1c /a/1 /a " {
		t.Errorf("%q", got)
	}
}

func TestInRange(t *testing.T) {
	var s strictjson.Scanner
	for in, want := range map[string]bool{`1e308`: true, `1e309`: false, `-1E+400`: false, `1e-400`: true, `123`: true, strings.Repeat("9", 308): true, strings.Repeat("9", 310): false} {
		s.Reset([]byte(in))
		if _, start, end := s.Read(); end != len(in) || s.InRange(start, end) != want {
			t.Errorf("%.20s: %v", in, !want)
		}
	}
}

func TestNothing(t *testing.T) {
	var s strictjson.Scanner
	if kind, _, _ := s.Read(); kind != 0 || s.Err() != io.EOF {
		t.Error(kind, s.Err())
	}
}

// The same buffers read one input after the other without new memory.
func TestAllocations(t *testing.T) {
	raw, err := os.ReadFile("../event/testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	var s strictjson.Scanner
	if n := testing.AllocsPerRun(100, func() {
		s.Reset(raw)
		for kind := jsontext.Kind(1); kind != 0; {
			kind, _, _ = s.Read()
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzScanner(f *testing.F) {
	for _, in := range inputs {
		f.Add([]byte(in))
	}
	f.Add(wide(20, 3, true))
	f.Fuzz(func(t *testing.T, body []byte) {
		if bytes.Count(body, []byte("[")) > 9000 || bytes.Count(body, []byte("{")) > 9000 {
			return // jsontext reads 10,000 levels
		}
		var s strictjson.Scanner
		agree(t, &s, body)
	})
}

func BenchmarkRead(b *testing.B) {
	raw, err := os.ReadFile("../event/testdata/reference.json")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("strictjson", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		var s strictjson.Scanner
		for b.Loop() {
			s.Reset(raw)
			for kind := jsontext.Kind(1); kind != 0; {
				kind, _, _ = s.Read()
			}
		}
	})
	b.Run("jsontext", func(b *testing.B) {
		b.SetBytes(int64(len(raw)))
		d := jsontext.NewDecoder(new(bytes.Buffer))
		for b.Loop() {
			d.Reset(bytes.NewBuffer(raw))
			for {
				if _, err := d.ReadToken(); err != nil {
					break
				}
			}
		}
	})
}
