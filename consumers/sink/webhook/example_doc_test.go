package webhook_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/consumers/sink/webhook"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// The receiver of the document, as it stands there, takes what is signed by its secret, each event once, and nothing else.
func TestReceiverOfTheDocument(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("WEFT_REQUIRE_EXAMPLES") != "" {
		t.Fatal("node is not installed")
	}
	if err != nil {
		t.Skip("node is not installed")
	}
	text, err := os.ReadFile("../../../deploy/docs/sinks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n```js\n")
	code, _, found := strings.Cut(rest, "\n```\n")
	if !found {
		t.Fatal("the document has no example in JavaScript")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"receiver.mjs": code, "crm.secret": "whsec_" + base64.StdEncoding.EncodeToString(secret(1)) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := streamtest.Ports(t).Port(1)
	cmd := exec.Command(node, "receiver.mjs") //nolint:gosec // the document's own code
	cmd.Dir, cmd.Env, cmd.Stderr = dir, append(os.Environ(), fmt.Sprint("PORT=", port)), os.Stderr
	printed, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	o := webhook.Options{URL: fmt.Sprintf("http://127.0.0.1:%d/", port), Secrets: keys(t, 1), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Timeout: patience}
	s := open(t, o)
	streamtest.Eventually(t, patience, func() (bool, string) {
		err := handle(t, s, "e.1")
		return err == nil, fmt.Sprint(err)
	})
	if err := handle(t, s, "e.1"); err != nil { // once more
		t.Error(err)
	}
	o.Secrets = keys(t, 2)
	if err := handle(t, open(t, o), "e.2"); fault.CodeOf(err) != "endpoint_denies" {
		t.Errorf("signed by a stranger: %v", err)
	}
	o.Secrets = keys(t, 2, 1) // while the secret is replaced
	if err := handle(t, open(t, o), "e.3"); err != nil {
		t.Error(err)
	}
	lines := bufio.NewScanner(printed)
	for range 2 {
		if !lines.Scan() || lines.Text() != "e.1" { // as the payload says
			t.Errorf("printed %q", lines.Text())
		}
	}
}
