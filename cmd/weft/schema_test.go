package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func documentOf(s *hub.SchemaSpec) *schema.Document {
	return &schema.Document{Subject: s.Subject, Version: s.Version, Language: s.Language, Message: s.Message, Text: s.Text}
}

// adminOf is the admin address of one region of a mesh.
func adminOf(t *testing.T, data, region string) string {
	t.Helper()
	m, err := meshfile.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Regions {
		if r.Name == region {
			return r.Admin
		}
	}
	t.Fatalf("no region %s in %s", region, data)
	return ""
}

func TestDiffLines(t *testing.T) {
	long := strings.Split(strings.Repeat("x\ny\n", 2000), "\n")
	for name, c := range map[string]struct {
		a, b []string
		want string
	}{
		"the same":       {[]string{"a", "b"}, []string{"a", "b"}, ""},
		"one changed":    {[]string{"a", "b", "c"}, []string{"a", "x", "c"}, "- b|+ x"},
		"added":          {[]string{"a", "c"}, []string{"a", "b", "c"}, "+ b"},
		"removed at end": {[]string{"a", "b"}, []string{"a"}, "- b"},
		"two places":     {[]string{"a", "b", "c", "d"}, []string{"x", "b", "c", "y"}, "- a|+ x|- d|+ y"},
		"from nothing":   {nil, []string{"a"}, "+ a"},
	} {
		if got := strings.Join(diffLines(c.a, c.b), "|"); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := diffLines(append([]string{"a"}, append(long, "b")...), append([]string{"c"}, append(long, "d")...)); len(got) < 4 {
		t.Errorf("texts that are too long for the table: %d lines", len(got))
	}
}

func TestMembersOutOfOrderAreNoDifference(t *testing.T) {
	dir := t.TempDir()
	var docs [2][]string
	for i, text := range []string{`{"type":"object","minProperties":1}`, "{\n \"minProperties\" : 1,\n\"type\":\"object\"}"} {
		file := filepath.Join(dir, fmt.Sprintf("%d.json", i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		spec, err := (&schemaSource{}).spec(newRootCommand(), []string{"acme", "x", "1.0.0", file})
		if err != nil {
			t.Fatal(err)
		}
		docs[i] = plainLines(documentOf(&spec))
	}
	if got := diffLines(docs[0], docs[1]); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// verbs runs weft on the mesh in dir, and checks its exit code and what it says.
func verbs(t *testing.T, dir string) func(code int, args string, says ...string) {
	return func(code int, args string, says ...string) {
		t.Helper()
		got, out, errs := weft(t, dir, append(strings.Fields(args), "--data", "mesh")...)
		if got != code {
			t.Errorf("weft %s: exit code %d\n%s%s", args, got, out, errs)
		}
		for _, want := range says {
			if !strings.Contains(out+errs, want) {
				t.Errorf("weft %s does not say %q:\n%s%s", args, want, out, errs)
			}
		}
	}
}

// A mesh is told schemas as its user tells it.
func TestSchemaVerbs(t *testing.T) {
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	for name, text := range map[string]string{
		"v1.json":       `{"type":"object","properties":{"amount":{"type":"integer","maximum":100}},"required":["amount"]}`,
		"v2.json":       `{"type":"object","properties":{"amount":{"type":"integer","maximum":900}},"required":["amount"]}`,
		"bad.json":      `{"type":"object","properties":{"amount":{"type":"integer","maximum":10}},"required":["amount"]}`,
		"rules.yaml":    "compatibility: {mode: full}\nblocked_fields: [payload.ssn]\nunknown_types: refuse\ncanary: {share: 33, hold: 5m}\n",
		"misspelt.yaml": "blocked_feilds: [payload.ssn]\n",
		"kyc.proto": `syntax = "proto3";
message Done { string country = 1; }`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	step := verbs(t, dir)
	step(0, "schema check acme bet.placed 1.0.0 v1.json", "may be registered", "Nothing was done")
	step(0, "schema ls acme -o json", "[]")
	step(0, "schema register acme bet.placed 1.0.0 v1.json --why first", "registered bet.placed 1.0.0 as draft")
	step(0, "schema register acme bet.placed 1.0.0 v1.json", "registered already", "draft")
	step(1, "schema register acme bet.placed 1.0.0 v2.json", "never changes", "as 1.1.0")
	step(0, "schema promote acme bet.placed 1.0.0", "is active, and was draft")
	step(3, "schema register acme bet.placed 1.1.0 bad.json", "/amount: maximum", "old: 100", "new: 10", "way out: ", "nothing was registered")
	step(3, "schema check acme bet.placed 1.1.0 bad.json -o json", `"way_out"`, `"path": "/amount"`)
	step(0, "schema check acme bet.placed 1.1.0 bad.json --mode none")
	step(3, "schema check acme bet.placed 1.1.0 v2.json --mode full", "forward against 1.0.0")
	step(0, "schema register acme bet.placed 1.1.0 v2.json", "follows 1.0.0")
	step(0, "schema diff acme bet.placed 1.0.0 1.1.0", "-       \"maximum\": 100", "+       \"maximum\": 900", "forward against 1.0.0")
	step(2, "schema promote acme bet.placed 1.1.0 --to canary --share 0", "share")
	step(2, "schema promote acme bet.placed 1.1.0 --to canary --hold soon", "--hold")
	step(1, "schema promote acme bet.placed 1.0.0 --to deprecated --share 5", "another step")
	step(0, "schema promote acme bet.placed 1.1.0 --to canary --share 25 --max-errors 0 --hold 2h -o yaml", "status: canary", "was: draft", "share: 25", "hold: 2h", "max_errors: 0")
	step(0, "schema show acme bet.placed 1.1.0", "tried on the events of 25 % of the keys", "0 checked, 0 failed", "waits for")
	step(0, "schema promote acme bet.placed 1.1.0 --why good --watch 90m", "is active, and was canary", "it had shown: ", "0 checked", "watched for 1h30m")
	step(2, "schema rollback acme bet.placed 1.1.0 --yes", "--why")
	step(0, "schema rollback acme bet.placed 1.1.0", "would make", "canary", "1.0.0 judges its events", "Nothing was done")
	step(0, "schema rollback acme bet.placed 1.1.0 --why complaints --yes", "is canary, and was active", "1.0.0 judges its events")
	step(1, "schema rollback acme bet.placed 1.1.0 --why complaints --yes", "is canary")
	step(0, "schema show acme bet.placed 1.1.0", "complaints")
	step(1, "schema retire acme bet.placed 1.0.0 --yes", "no step")
	step(0, "schema promote acme bet.placed 1.0.0 --to deprecated")
	step(0, "schema retire acme bet.placed 1.0.0", "would make", "also name 1.1.0", "Nothing was done")
	step(0, "schema show acme bet.placed 1.0.0", "is deprecated", "first", `"maximum":100`)
	step(0, "schema retire acme bet.placed 1.0.0 --yes", "is retired")
	step(0, "schema register acme kyc.done 1.0.0 kyc.proto", "registered")
	step(0, "schema show acme kyc.done 1.0.0 -o raw", "message Done")
	step(0, "schema ls acme", "kyc.done", "protobuf", "canary", "retired")
	step(0, "schema rules acme rules.yaml --dry-run", "payload.ssn")
	step(0, "schema rules acme", "compatibility")
	step(0, "schema rules acme rules.yaml", "unknown_types: refuse", "mode: full", "share: 33", "hold: 5m")
	step(0, "schema rules acme -o json", `"payload.ssn"`)
	step(1, "schema rules acme misspelt.yaml", "blocked_feilds")
	step(2, "schema rules acme --dry-run", "goes with a FILE")
	step(2, "schema register acme bet.placed one v1.json", "no version")
	step(2, "schema promote acme bet.placed 1.1.0 --to retired", "schema retire")
	step(1, "schema ls nobody", "no tenant")
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { // from the other region alone
		code, out, errs := weft(t, dir, "schema", "ls", "acme", "--data", "mesh", "--admin", adminOf(t, filepath.Join(dir, "mesh"), "us"))
		return code == 0 && strings.Contains(out, "kyc.done"), out + errs
	})
}
