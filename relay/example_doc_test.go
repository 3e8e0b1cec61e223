package relay_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
)

// example is a fenced block of a document that its reader is meant to run.
type example struct{ document, language, text string }

// examples are the blocks of the document in shell or JavaScript that sign or check signatures.
func examples(t *testing.T, document string) (out []example) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", document))
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(text), "\n```") {
		language, code, _ := strings.Cut(block, "\n")
		if i%2 == 1 && (language == "sh" || language == "js") {
			out = append(out, example{document, language, code})
		}
	}
	return out
}

// tool is the path of a program that an example needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("WEFT_REQUIRE_EXAMPLES") != "" {
		t.Fatalf("%s is not installed", name)
	}
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// The examples of the documents, as they stand there, store what they say.
func TestExamplesOfDocuments(t *testing.T) {
	r := newRig(t)
	dir := r.dataFolder()
	vectors, err := filepath.Abs("../deploy/docs/vectors")
	r.must(err)
	list := append(examples(t, "README.md"), examples(t, "deploy/docs/signing.md")...)
	kinds := map[string]int{}
	for _, e := range list {
		kinds[e.document+" "+e.language]++
		t.Run(e.document+"/"+e.language, func(t *testing.T) {
			var cmd *exec.Cmd
			if e.language == "js" {
				script := filepath.Join(t.TempDir(), "send.mjs")
				r.must(os.WriteFile(script, []byte(e.text), 0o600))
				cmd = exec.Command(tool(t, "node"), script) //nolint:gosec // the documents' own code
			} else {
				tool(t, "curl")
				tool(t, "openssl")
				cmd = exec.Command(tool(t, "sh"), "-ec", e.text) //nolint:gosec // the documents' own code
			}
			before := r.stored()
			var stderr bytes.Buffer
			cmd.Dir, cmd.Stderr = dir, &stderr
			cmd.Env = append(os.Environ(), "RELAY="+r.relay.Addr(), "VECTORS="+vectors)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s%s", err, out, &stderr)
			}
			if strings.Contains(e.text, "VECTORS") {
				if string(out) != "8 signatures are right\n" {
					t.Errorf("said %q", out)
				}
				return
			}
			if !bytes.Contains(out, []byte(`"stored"`)) || r.stored() != before+1 {
				t.Errorf("%d events stored, said: %s%s", r.stored()-before, out, &stderr)
			}
		})
	}
	for kind, n := range map[string]int{"README.md sh": 1, "README.md js": 1, "deploy/docs/signing.md sh": 2, "deploy/docs/signing.md js": 2} {
		if kinds[kind] != n {
			t.Errorf("%d examples %s, want %d: how they are found may be wrong", kinds[kind], kind, n)
		}
	}
}

// dataFolder is a folder with acme's part of the data of weft up, and a key for each scheme besides acme-1.
func (r *rig) dataFolder() string {
	r.t.Helper()
	dir := r.t.TempDir()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, "weft-data", name)
		r.must(os.MkdirAll(filepath.Dir(path), 0o700))
		r.must(os.WriteFile(path, data, 0o600))
	}
	secret := func(kid string, s keyring.Secret) {
		write("tenants/acme/"+kid+".key", []byte(base64.StdEncoding.EncodeToString(s)+"\n"))
	}
	write("pki/ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.ca.Certificate().Raw}))
	pair := r.pair(pki.Spec{CommonName: "client", URIs: []string{acme.URI()}, Client: true})
	write("tenants/acme/client.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	r.must(err)
	write("tenants/acme/client-key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	secret("acme-1", r.secrets["acme-1"])
	for _, scheme := range []string{keyring.StandardWebhooks, keyring.StandardWebhooksV1a, keyring.Body} {
		secret(scheme, r.schemeKey(scheme))
	}
	return dir
}
