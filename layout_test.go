// Package weft_test holds the module to its layout: which folder may import which, and which of them
// may use the heavy dependencies. The rules are data and pure functions; one test checks the module
// against them, the others check that the rules can fail.
package weft_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weft-mesh/weft"

// below lists, for each top-level folder, the other ones that it may import:
// cmd → {relay | hub | consumers} → accounts → streams, never sideways, never up.
var below = map[string][]string{
	"cmd":       {"relay", "hub", "consumers", "accounts", "streams"},
	"relay":     {"accounts", "streams"},
	"hub":       {"accounts", "streams"},
	"consumers": {"accounts", "streams"},
	"accounts":  {"streams"},
	"streams":   {},
}

// confined lists dependencies that only some folders may import, tests included or not.
var confined = []struct {
	dependency string
	folders    []string
	inTests    bool // whether any package's tests may
	why        string
}{
	{"github.com/nats-io/nats-server", []string{"streams/broker", "streams/streamtest"}, true, "the embedded server has one importer"},
	{"github.com/spf13/viper", []string{"cmd"}, false, "libraries take an Options struct"},
	{"github.com/spf13/cobra", []string{"cmd"}, false, "the command line lives in cmd"},
	{"github.com/spf13/pflag", []string{"cmd"}, false, "flags live in cmd"},
	{"flag", []string{"cmd"}, true, "flags live in cmd"},
	{module + "/streams/streamtest", []string{"streams/streamtest", "cmd/rig"}, true, "it is for tests"},
	{module + "/consumers/postgrestest", []string{"consumers/postgrestest"}, true, "it is for tests"},
	{module + "/consumers/idempotency/storetest", nil, true, "it is for tests"},
	{module + "/consumers/group/grouptest", nil, true, "it is for tests"},
	{module + "/accounts/keyring/sealertest", nil, true, "it is for tests"},
	{"testing", []string{"streams/streamtest", "consumers/postgrestest", "consumers/idempotency/storetest", "consumers/group/grouptest", "accounts/keyring/sealertest"}, true, "it is for tests"},
}

// unreachable lists folders whose programs must not link a dependency, not even through others.
var unreachable = []struct{ folder, dependency, why string }{
	{"consumers", "github.com/nats-io/nats-server", "a client library must not bring a server along"},
	{"accounts", "github.com/nats-io/nats-server", "vocabulary must not bring a server along"},
}

// listed is what is read of `go list -json`.
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

// violations names every offence of one package, an empty list if there is none.
func violations(p listed) []string {
	folder, ours := inside(p.ImportPath)
	if !ours || folder == "" {
		return nil
	}
	if _, known := below[top(folder)]; !known {
		return []string{fmt.Sprintf("%s: unknown top-level folder %q", folder, top(folder))}
	}
	var found []string
	report := func(test bool, imports []string) {
		for _, imp := range imports {
			for _, why := range offences(folder, imp, test) {
				what := "imports"
				if test {
					what = "imports in its tests"
				}
				found = append(found, fmt.Sprintf("%s %s %s: %s", folder, what, imp, why))
			}
		}
	}
	report(false, p.Imports)
	report(true, p.TestImports)
	report(true, p.XTestImports)
	for _, u := range unreachable {
		if i := slices.IndexFunc(p.Deps, func(d string) bool { return within(d, u.dependency) }); i >= 0 && within(folder, u.folder) {
			found = append(found, fmt.Sprintf("%s depends on %s, maybe through others: %s", folder, p.Deps[i], u.why))
		}
	}
	return found
}

// offences says what is wrong with one import.
func offences(folder, imp string, test bool) []string {
	var why []string
	if target, ours := inside(imp); ours && top(target) != top(folder) && !slices.Contains(below[top(folder)], top(target)) {
		why = append(why, fmt.Sprintf("%s may import only %s", top(folder), strings.Join(append([]string{"itself"}, below[top(folder)]...), ", ")))
	}
	for _, c := range confined {
		allowed := test && c.inTests || slices.ContainsFunc(c.folders, func(f string) bool { return within(folder, f) })
		if within(imp, c.dependency) && !allowed {
			why = append(why, fmt.Sprintf("only %s may: %s", strings.Join(c.folders, ", "), c.why))
		}
	}
	return why
}

// inside strips the module's path; ours is false for a package of another module.
func inside(path string) (folder string, ours bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func top(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	return first
}

// within says whether path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func TestLayout(t *testing.T) {
	packages := list(t)
	if len(packages) < 10 {
		t.Fatalf("only %d packages listed: the check sees nothing", len(packages))
	}
	for _, p := range packages {
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
}

func list(t *testing.T) []listed {
	t.Helper()
	// What another program reads does not count for the cache of test results; what this one walks does.
	for folder := range below {
		if err := filepath.WalkDir(folder, func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
	var out, problems bytes.Buffer
	// -e: a package that does not build (an import cycle, say) is still listed, and its offence named.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("go list: %v\n%s", err, problems.String())
	}
	var packages []listed
	for dec := json.NewDecoder(&out); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}

func TestLayoutRules(t *testing.T) {
	const (
		server = "github.com/nats-io/nats-server/v2/server"
		viper  = "github.com/spf13/viper"
	)
	own := func(folder string) string { return module + "/" + folder }
	cases := map[string]struct {
		p    listed
		want string // part of the only violation, "" for none
	}{
		"down":                      {listed{ImportPath: own("relay/intake"), Imports: []string{own("accounts/keyring"), own("streams"), "fmt"}}, ""},
		"within a role":             {listed{ImportPath: own("relay"), Imports: []string{own("relay/intake")}}, ""},
		"command to role":           {listed{ImportPath: own("cmd/weft"), Imports: []string{own("hub"), own("relay")}}, ""},
		"sideways":                  {listed{ImportPath: own("relay/intake"), Imports: []string{own("hub")}}, "relay/intake imports " + own("hub") + ": relay may import only itself, accounts, streams"},
		"sideways in tests":         {listed{ImportPath: own("hub"), XTestImports: []string{own("consumers")}}, "hub imports in its tests"},
		"up to a role":              {listed{ImportPath: own("accounts/grant"), Imports: []string{own("relay")}}, "accounts may import only itself, streams"},
		"up to accounts":            {listed{ImportPath: own("streams/event"), Imports: []string{own("accounts")}}, "streams may import only itself"},
		"up to the command":         {listed{ImportPath: own("hub"), Imports: []string{own("cmd/weft/internal/config")}}, "hub may import only"},
		"unknown folder":            {listed{ImportPath: own("util/strings")}, `unknown top-level folder "util"`},
		"prefix is not a folder":    {listed{ImportPath: own("relay"), Imports: []string{own("accountsx")}}, "relay may import only"},
		"root":                      {listed{ImportPath: module, Imports: []string{own("hub")}}, ""},
		"other modules":             {listed{ImportPath: "example.com/x", Imports: []string{server, own("hub")}}, ""},
		"server in the broker":      {listed{ImportPath: own("streams/broker"), Imports: []string{server}}, ""},
		"server elsewhere":          {listed{ImportPath: own("streams"), Imports: []string{server}}, "only streams/broker, streams/streamtest may"},
		"server in tests":           {listed{ImportPath: own("hub"), TestImports: []string{server}}, ""},
		"server through others":     {listed{ImportPath: own("consumers"), Deps: []string{"fmt", server}}, "consumers depends on " + server},
		"server linked by a role":   {listed{ImportPath: own("hub"), Deps: []string{server}}, ""},
		"viper in the command":      {listed{ImportPath: own("cmd/weft/internal/config"), Imports: []string{viper}}, ""},
		"viper in a library":        {listed{ImportPath: own("hub"), Imports: []string{viper}}, "hub imports " + viper + ": only cmd may"},
		"viper in a library's test": {listed{ImportPath: own("hub"), TestImports: []string{viper}}, "hub imports in its tests " + viper},
		"cobra in a library":        {listed{ImportPath: own("relay"), Imports: []string{"github.com/spf13/cobra/doc"}}, "only cmd may"},
		"pflag in a library":        {listed{ImportPath: own("streams"), Imports: []string{"github.com/spf13/pflag"}}, "only cmd may"},
		"flag in a library":         {listed{ImportPath: own("accounts"), Imports: []string{"flag"}}, "only cmd may"},
		"test kit in a program":     {listed{ImportPath: own("cmd/weft"), Imports: []string{own("streams/streamtest")}}, "only streams/streamtest, cmd/rig may"},
		"test kit in a test":        {listed{ImportPath: own("relay"), XTestImports: []string{own("streams/streamtest")}}, ""},
		"testing in a program":      {listed{ImportPath: own("hub"), Imports: []string{"testing"}}, "only streams/streamtest, consumers/postgrestest, consumers/idempotency/storetest, consumers/group/grouptest, accounts/keyring/sealertest may"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := violations(c.p)
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("unexpected: %q", got)
			case c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)):
				t.Errorf("got %q, want one with %q", got, c.want)
			}
		})
	}
}
