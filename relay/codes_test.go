package relay_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/deadletter"
)

// coded are the folders and files whose codes reach a producer.
var coded = []string{
	"intake", "gate", "uplink", "../streams/event", "../accounts/signature", "../accounts/token", "../accounts/revocation",
	"../accounts/keyring/key.go",
}

// foreign are codes of those folders that no answer to a request carries: faults of options, of the control state, of
// what is fetched in the background, and of those who sign and check events and webhooks themselves.
var foreign = []string{
	"options", "hosts", "limits", "region", "window", "timeout", "closed", "ok", "issuer", "algorithms", "public_key",
	"invalid_sig", "sig_present", "invalid_kid", "invalid_webhook_key",
	"jwks_malformed", "jwks_status", "jwks_too_large", "secret_empty",
}

// codesOf finds every constant that is named as a code, and every code that is written where a fault or a problem is
// made.
func codesOf(t *testing.T, folder string) []string {
	t.Helper()
	files := []string{folder}
	if !strings.HasSuffix(folder, ".go") {
		var err error
		if files, err = filepath.Glob(filepath.Join(folder, "*.go")); err != nil || len(files) == 0 {
			t.Fatalf("no code in %s: %v", folder, err)
		}
	}
	var out []string
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && s != "" && !slices.Contains(foreign, s) {
				out = append(out, s)
			}
		}
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, name := range n.Names {
					if s := strings.ToLower(name.Name[:1]) + name.Name[1:]; strings.HasPrefix(s, "code") && i < len(n.Values) {
						add(n.Values[i])
					}
				}
			case *ast.CallExpr:
				switch called := fmt.Sprint(n.Fun); {
				case called == "fail" && len(n.Args) > 1:
					add(n.Args[1])
				case strings.HasSuffix(called, "fault New}") && len(n.Args) > 2:
					add(n.Args[2])
				}
			}
			return true
		})
	}
	return out
}

// A code that a relay may answer has a cause, and deploy/docs/refusals.md says what to do about it; nothing is listed
// that no relay answers.
func TestEveryCodeHasACauseAndAPage(t *testing.T) {
	found := map[string]string{}
	for _, folder := range coded {
		for _, code := range codesOf(t, folder) {
			found[code] = folder
			if _, ok := deadletter.ReasonOf(code); !ok {
				t.Errorf("code %q of %s is not in the table of streams/deadletter", code, folder)
			}
		}
	}
	if len(found) < 60 {
		t.Errorf("only %d codes are found", len(found))
	}
	// built from the name of what is malformed
	for _, name := range []string{"host", "path", "content_type", "content_encoding"} {
		found["invalid_"+name] = "../accounts/signature"
	}
	page, err := os.ReadFile("../deploy/docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			rows[strings.Trim(cells[1], " `")] = line
		}
	}
	for _, r := range deadletter.Reasons() {
		if found[r.Code] == "" {
			t.Errorf("code %q is in the table, and nothing answers it", r.Code)
		}
		want := fmt.Sprintf("| `%s` | %d |", r.Code, r.Status)
		if row := rows[r.Code]; !strings.HasPrefix(row, want) {
			t.Errorf("deploy/docs/refusals.md has %q, want it to begin with %q", row, want)
		}
		delete(rows, r.Code)
	}
	for code := range rows {
		t.Errorf("deploy/docs/refusals.md tells of %q, which is not in the table", code)
	}
}
