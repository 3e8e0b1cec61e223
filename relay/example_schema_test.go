package relay_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/schema"
)

// The example of deploy/docs/schemas.md: its schema, its wrong event, and the answer that it shows, but for the names of
// the request.
func TestExampleOfSchemas(t *testing.T) {
	for _, name := range []string{"sh", "curl", "openssl"} {
		tool(t, name)
	}
	text, err := os.ReadFile("../deploy/docs/schemas.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for i, block := range strings.Split(string(text), "\n```") {
		language, code, _ := strings.Cut(block, "\n")
		if i%2 == 1 && (language == "sh" || language == "json") {
			blocks = append(blocks, code)
		}
	}
	if len(blocks) != 3 {
		t.Fatalf("the page has %d blocks of JSON and shell, want a schema, a script and an answer", len(blocks))
	}
	r := newRig(t)
	r.schema("acme", "1.0.0", schema.Active, blocks[0])
	r.settled(post{body: bet(`{}`)}, code("schema_violation"))
	cmd := exec.Command("sh", "-ec", blocks[1]) //nolint:gosec // the documents' own code
	cmd.Dir, cmd.Env = r.dataFolder(), append(os.Environ(), "RELAY="+r.relay.Addr())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, want := map[string]any{}, map[string]any{}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := json.Unmarshal([]byte(blocks[2]), &want); err != nil {
		t.Fatal(err)
	}
	delete(got, "instance")
	delete(want, "instance")
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("answered %s\nthe page has %s", a, b)
	}
	if n := r.stored(); n != 0 {
		t.Errorf("%d events are stored", n)
	}
}
