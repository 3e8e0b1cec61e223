package app

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
)

func secretLine(n byte) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune('a'+n)), 32)))
}

// Secrets follow their file: two while one is replaced, and a file that is not understood changes nothing.
func TestWebhookSecretsFollowTheirFile(t *testing.T) {
	var signatures []string
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		signatures = strings.Fields(r.Header.Get(signature.WebhookSignature))
	}))
	defer endpoint.Close()
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# the CRM's\n" + secretLine(1) + "\n")
	c := config.DefaultConsumer().Sink
	c.Webhook.URL, c.Webhook.SecretFile, c.Webhook.Allow = endpoint.URL, file, []string{"127.0.0.1"}
	core, logs := observer.New(zap.InfoLevel)
	sink, err := openWebhook(t.Context(), &c, zap.New(core), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	s := sink.(*webhookSink)
	for _, step := range []struct {
		name, text string
		want       int
		log        string
	}{
		{"at first", "", 1, ""},
		{"replaced", secretLine(2) + "\n\n" + secretLine(1), 2, "secrets changed"},
		{"damaged", "whsec_", 2, "not good"},
		{"empty", "\n", 2, "not good"},
		{"too many", strings.Repeat(secretLine(1)+"\n", 5), 2, "not good"},
		{"done", secretLine(2), 1, "secrets changed"},
	} {
		if step.text != "" {
			write(step.text)
		}
		s.reload()
		s.reload() // tells nothing twice
		if err := s.Handle(t.Context(), &consumers.Message{EventID: "e", Raw: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		if len(signatures) != step.want {
			t.Errorf("%s: %d signatures, want %d", step.name, len(signatures), step.want)
		}
		told := logs.TakeAll()
		if step.log == "" && len(told) > 0 || step.log != "" && (len(told) != 1 || !strings.Contains(told[0].Message, step.log)) {
			t.Errorf("%s: the log says %v", step.name, told)
		}
		for _, l := range told {
			if text := fmt.Sprint(l.Message, l.ContextMap()); strings.Contains(text, "aaaa") || strings.Contains(text, "whsec_Y") {
				t.Errorf("%s: the log tells a secret: %s", step.name, text)
			}
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.reload()
	if err := s.Handle(t.Context(), &consumers.Message{EventID: "e", Raw: []byte("{}")}); err != nil || len(signatures) != 1 {
		t.Errorf("without a file: %v, %d signatures", err, len(signatures))
	}
}

func TestWebhookFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := config.DefaultConsumer().Sink
	good.Webhook.URL, good.Webhook.SecretFile = "https://crm.example.com/", write("good", secretLine(1))
	for name, c := range map[string]struct {
		change func(*config.Webhook)
		code   string
	}{
		"no secrets":    {func(w *config.Webhook) { w.SecretFile = filepath.Join(dir, "none") }, "file_unreadable"},
		"empty secrets": {func(w *config.Webhook) { w.SecretFile = write("empty", "# none\n") }, "secret_count"},
		"bad secrets":   {func(w *config.Webhook) { w.SecretFile = write("bad", "whsec_") }, "secret_malformed"},
		"no token":      {func(w *config.Webhook) { w.TokenFile = filepath.Join(dir, "none") }, "file_unreadable"},
		"two tokens":    {func(w *config.Webhook) { w.TokenFile = write("token", "a\nb") }, "invalid_options"},
		"no authority":  {func(w *config.Webhook) { w.CAFile = write("ca", "x") }, "ca_malformed"},
		"state":         {func(w *config.Webhook) { w.StateFile = dir }, "state_file"},
	} {
		bad := good
		c.change(&bad.Webhook)
		if _, err := openWebhook(t.Context(), &bad, zap.NewNop(), nil); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%s)", name, err, fault.CodeOf(err))
		}
	}
}
