package protobuf_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/compat"
	"github.com/weft-mesh/weft/streams/schema/protobuf"
)

func compile(t testing.TB, source string) *protobuf.Schema {
	t.Helper()
	s, err := protobuf.Compile([]byte("syntax = \"proto3\"; "+source), protobuf.Options{Message: "M"})
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return s
}

func TestCheck(t *testing.T) {
	const other = "message N { int32 x = 1; } message O { int32 x = 1; } enum E { A = 0; B = 1; } "
	for _, c := range []struct{ name, before, after, backward, forward string }{
		{"the same", "message M { string a = 1; }", "message M { string a = 1; }", "", ""},
		{"a field is added", "message M { string a = 1; }", "message M { string a = 1; repeated int32 b = 2; }", "", ""},
		{"a field is removed", "message M { string a = 1; string b = 2; }", "message M { string a = 1; }", "/b removed", "/b removed"},
		{"a field is removed, its number reserved", "message M { string a = 1; }", "message M { reserved 1; }", "/a removed", "/a removed"},
		{"a field is removed, all reserved", "message M { string a = 1; }", `message M { reserved 1; reserved "a"; }`, "", ""},
		{"a reserved number is used", `message M { reserved 1; }`, "message M { string a = 1; }", "/a reserved", "/a reserved"},
		{"a reserved name is used", `message M { reserved "a"; }`, "message M { string a = 1; }", "/a reserved", "/a reserved"},
		{"reserved numbers are freed", `message M { reserved 1 to 4; }`, "message M { reserved 1 to 2, 4; }", " unreserved", " unreserved"},
		{"reserved ranges are cut in two", `message M { reserved 1 to 4; }`, "message M { reserved 1 to 2, 3 to 9; }", "", ""},
		{"a type is widened", "message M { int32 a = 1; }", "message M { int64 a = 1; }", "", "/a type"},
		{"a type is narrowed", "message M { uint64 a = 1; }", "message M { uint32 a = 1; }", "/a type", ""},
		{"the wire agrees, JSON does not", "message M { string a = 1; }", "message M { bytes a = 1; }", "/a type", "/a type"},
		{"zigzag", "message M { sint32 a = 1; }", "message M { int32 a = 1; }", "/a type", "/a type"},
		{"one becomes many", "message M { int32 a = 1; }", "message M { repeated int32 a = 1; }", "/a cardinality", "/a cardinality"},
		{"a field is renamed", "message M { int32 a = 1; }", "message M { int32 b = 1; }", "/a name", "/a name"},
		{"a field is renamed, not in JSON", "message M { int32 a = 1; }", `message M { int32 b = 1 [json_name = "a"]; }`, "", ""},
		{"a name moves", "message M { int32 a = 1; }", `message M { int32 a = 2; reserved 1; }`, "/a name", "/a name"},
		{"into a oneof", "message M { int32 a = 1; int32 b = 2; }", "message M { oneof o { int32 a = 1; int32 b = 2; } }", "/a oneof, /b oneof", "/a oneof, /b oneof"},
		{"a oneof grows", "message M { oneof o { int32 a = 1; } }", "message M { oneof o { int32 a = 1; int32 b = 2; } }", "", ""},
		{"optional", "message M { int32 a = 1; }", "message M { optional int32 a = 1; }", "", ""},
		{"within a message", other + "message M { repeated N n = 1; }", strings.Replace(other, "x = 1", "y = 1", 1) + "message M { repeated N n = 1; }", "/n/x name", "/n/x name"},
		{"another message of the same fields", other + "message M { N n = 1; }", other + "message M { O n = 1; }", "", ""},
		{"a message becomes an enum", other + "message M { N n = 1; }", other + "message M { E n = 1; }", "/n type", "/n type"},
		{"values of a map", "message M { map<string, int32> m = 1; }", "message M { map<string, int64> m = 1; }", "", "/m/* type"},
		{"a map becomes a list", other + "message M { map<int32, int32> m = 1; }", other + "message M { repeated N m = 1; }", "/m map", "/m map"},
		{"a value is added", other + "message M { E e = 1; }", strings.Replace(other, "B = 1;", "B = 1; C = 2;", 1) + "message M { E e = 1; }", "", ""},
		{"a value is removed", other + "message M { E e = 1; }", strings.Replace(other, "B = 1;", "", 1) + "message M { E e = 1; }", "/e value removed", "/e value removed"},
		{"a value is removed and reserved", other + "message M { E e = 1; }", strings.Replace(other, "B = 1;", `reserved 1; reserved "B";`, 1) + "message M { E e = 1; }", "", ""},
		{"a value is renamed", other + "message M { E e = 1; }", strings.Replace(other, "B = 1;", "C = 1;", 1) + "message M { E e = 1; }", "/e value renamed", "/e value renamed"},
		{"a value gets another number", other + "message M { E e = 1; }", strings.Replace(other, "B = 1;", "B = 2;", 1) + "message M { E e = 1; }", "/e value renamed", "/e value renamed"},
		{"recursion", "message M { M m = 1; int32 a = 2; }", "message M { M m = 1; int64 a = 2; }", "", "/a type"},
		{"protobuf's own", `import "google/protobuf/timestamp.proto"; message M { google.protobuf.Timestamp t = 1; }`, "message T { int64 seconds = 1; int32 nanos = 2; } message M { T t = 1; }", "/t type", "/t type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := []protobuf.Version{{Name: "1.0.0", Schema: compile(t, c.before)}}
			after := protobuf.Version{Name: "1.1.0", Schema: compile(t, c.after)}
			for level, want := range map[compat.Level]string{compat.Backward: c.backward, compat.Forward: c.forward, compat.None: ""} {
				found := protobuf.Check(level, before, after)
				var got []string
				for _, f := range found {
					got = append(got, f.Path+" "+f.Rule)
					if f.WayOut == "" || f.Detail == "" || f.Against != "1.0.0" {
						t.Errorf("a finding that lacks something: %+v", f)
					}
				}
				if strings.Join(got, ", ") != want {
					t.Errorf("%s: got %q, want %q", level, got, want)
				}
			}
		})
	}
}

func TestRequired(t *testing.T) {
	source := func(label string) *protobuf.Schema {
		s, err := protobuf.Compile([]byte(fmt.Sprintf(`syntax = "proto2"; message M { %s }`, label)), protobuf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	optional, required := source("optional int32 a = 1;"), source("required int32 a = 1;")
	nothing := source(`reserved 1; reserved "a";`)
	for _, c := range []struct {
		name          string
		level         compat.Level
		before, after *protobuf.Schema
		refused       bool
	}{
		{"made required", compat.Backward, optional, required, true},
		{"made required, forward", compat.Forward, optional, required, false},
		{"made optional", compat.Backward, required, optional, false},
		{"made optional, forward", compat.Forward, required, optional, true},
		{"added", compat.Backward, nothing, required, true},
		{"removed, forward", compat.Forward, required, nothing, true},
	} {
		found := protobuf.Check(c.level, []protobuf.Version{{Name: "1", Schema: c.before}}, protobuf.Version{Name: "2", Schema: c.after})
		has := false
		for _, f := range found {
			has = has || f.Rule == "required"
		}
		if has != c.refused {
			t.Errorf("%s: got %v", c.name, found)
		}
	}
}

func TestTransitive(t *testing.T) {
	first, second, third := compile(t, "message M { int64 a = 1; }"), compile(t, "message M { int32 a = 1; }"), compile(t, "message M { int32 a = 1; int32 b = 2; }")
	before := []protobuf.Version{{Name: "1", Schema: first}, {Name: "2", Schema: second}}
	next := protobuf.Version{Name: "3", Schema: third}
	if got := protobuf.Check(compat.Full, before, next); got != nil {
		t.Errorf("got %v", got)
	}
	if got := protobuf.Check(compat.FullTransitive, before, next); len(got) != 1 || got[0].Against != "1" {
		t.Errorf("got %v", got)
	}
}

func TestPoison(t *testing.T) {
	for _, c := range []struct{ name, source, message, code string }{
		{"no proto", "message {", "", protobuf.CodeInvalid},
		{"an unknown type", `syntax = "proto3"; message M { Nope n = 1; }`, "", protobuf.CodeInvalid},
		{"a number twice", `syntax = "proto3"; message M { int32 a = 1; int32 b = 1; }`, "", protobuf.CodeInvalid},
		{"another file", `syntax = "proto3"; import "other.proto"; message M { }`, "", protobuf.CodeImport},
		{"a file of the machine", `syntax = "proto3"; import "/etc/passwd"; message M { }`, "", protobuf.CodeImport},
		{"itself", `syntax = "proto3"; import "schema.proto"; message M { }`, "", protobuf.CodeInvalid},
		{"too many bytes", "// " + strings.Repeat("x", 300<<10), "", protobuf.CodeTooLarge},
		{"too deep", strings.Repeat("message M { ", 100) + strings.Repeat("}", 100), "", protobuf.CodeTooLarge},
		{"too deep an option", `option x = ` + strings.Repeat("{ a: ", 10000), "", protobuf.CodeTooLarge},
		{"no message", `syntax = "proto3"; enum E { A = 0; }`, "", protobuf.CodeMessage},
		{"two messages", `syntax = "proto3"; message M { } message N { }`, "", protobuf.CodeMessage},
		{"another message", `syntax = "proto3"; package p; message M { message N { } }`, "p.M.O", protobuf.CodeMessage},
		{"below a leaf", `syntax = "proto3"; package p; message M { }`, "p.M.N.O", protobuf.CodeMessage},
	} {
		_, err := protobuf.Compile([]byte(c.source), protobuf.Options{Message: c.message})
		if fault.CodeOf(err) != c.code || fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", c.name, err, c.code)
		}
	}
	s, err := protobuf.Compile([]byte(`syntax = "proto3"; package p.q; message M { message N { } }`), protobuf.Options{Message: "p.q.M.N"})
	if err != nil || s.Message().FullName() != "p.q.M.N" {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	const secret = "4111111111111111"
	s := compile(t, `import "google/protobuf/any.proto"; message M { string a = 1; int32 n = 2; repeated M m = 3; google.protobuf.Any x = 4; }`)
	for raw, valid := range map[string]bool{
		`{}`: true, `{"a":"x","n":1,"m":[{"a":"y"}]}`: true, `{"n":"1"}`: true, `{"n":1.0}`: true,
		`{"a":1}`: false, `{"n":` + secret + `}`: false, `{"other":"` + secret + `"}`: false, `[]`: false, `{"m":[{"a":"` + secret + `","n":"` + secret + `"}]}`: false,
		`{"x":{"@type":"type.googleapis.com/M","a":"` + secret + `"}}`: false,
	} {
		got := s.Validate([]byte(raw))
		if (len(got) == 0) != valid {
			t.Errorf("%s: got %v", raw, got)
		}
		if strings.Contains(fmt.Sprint(got), secret) {
			t.Errorf("it quotes the value: %v", got)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`syntax = "proto3"; message M { map<string, M> m = 1; oneof o { int32 a = 2; E e = 3; } reserved 4 to 6; enum E { A = 0; } }`, `{"m":{"x":{}}}`)
	f.Add(`syntax = "proto2"; message M { required int32 a = 1 [default = 3]; optional group G = 2 { } extensions 100 to max; }`, `{"a":1}`)
	f.Add(`edition = "2023"; message M { int32 a = 1 [features.field_presence = IMPLICIT]; }`, `{}`)
	f.Fuzz(func(t *testing.T, source, value string) {
		s, err := protobuf.Compile([]byte(source), protobuf.Options{MaxBytes: 2048})
		if err != nil {
			return
		}
		s.Validate([]byte(value))
		v := protobuf.Version{Name: "1", Schema: s}
		if found := protobuf.Check(compat.Full, []protobuf.Version{v}, v); found != nil {
			t.Errorf("a version may not follow itself: %v", found)
		}
	})
}
