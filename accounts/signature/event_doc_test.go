package signature_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The example of the document signs and checks the vectors as it stands there.
func TestExampleOfEventSignatures(t *testing.T) {
	text, err := os.ReadFile("../../deploy/docs/event-signatures.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(text), "\n```js\n")
	code, _, ok2 := strings.Cut(code, "\n```")
	if !ok || !ok2 {
		t.Fatal("the document has no example")
	}
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("WEFT_REQUIRE_EXAMPLES") == "" {
		t.Skip("node is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := filepath.Abs(vectorDir)
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "events.mjs")
	if err := os.WriteFile(script, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, script)
	cmd.Env = append(os.Environ(), "VECTORS="+vectors)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "12 signatures are right\n" {
		t.Errorf("%v: %s", err, out)
	}
}
