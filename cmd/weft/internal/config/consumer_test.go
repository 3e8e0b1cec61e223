package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

const webhookFile = `durable: crm
sink:
  kind: webhook
  webhook: {url: 'https://crm.example.com/t0k3n', secret_file: s, state_file: g}
`

func TestConsumerDefaults(t *testing.T) {
	c, err := LoadConsumer(write(t, webhookFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConsumer()
	want.Durable, want.Sink.Kind = "crm", "webhook"
	want.Sink.Webhook.URL, want.Sink.Webhook.SecretFile, want.Sink.Webhook.StateFile = "https://crm.example.com/t0k3n", "s", "g"
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got %+v\nwant %+v", *c, want)
	}
}

// Every example is a configuration, and what it has commented out is the default: a default that changes shows here.
func TestSinkExamples(t *testing.T) {
	for _, kind := range SinkNames() {
		text, ok := SinkExample(kind)
		if !ok {
			t.Errorf("no example of %s", kind)
			continue
		}
		c, err := LoadConsumer(write(t, string(text)), nil)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		all, err := LoadConsumer(write(t, string(uncommented(text))), nil)
		if err != nil {
			t.Errorf("%s with all comments: %v", kind, err)
			continue
		}
		if c.Sink.Kind != kind {
			t.Errorf("the example of %s is of %s", kind, c.Sink.Kind)
		}
		known := map[string]any{}
		for _, s := range settingsOf(c) {
			known[s.key] = s.value.Interface()
		}
		for _, s := range settingsOf(all) {
			if !withoutDefault(s.key) && fmt.Sprint(s.value.Interface()) != fmt.Sprint(known[s.key]) {
				t.Errorf("%s: %s is %v where commented out, and %v by default", kind, s.key, s.value.Interface(), known[s.key])
			}
		}
	}
}

// uncommented takes the # from the lines where a setting follows it at once.
func uncommented(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		indent := line[:len(line)-len(bytes.TrimLeft(line, " "))]
		if rest, ok := bytes.CutPrefix(line[len(indent):], []byte("#")); ok && len(rest) > 1 && rest[0] != ' ' || ok && bytes.HasPrefix(rest, []byte("  ")) && !bytes.HasPrefix(rest, []byte("   ")) && bytes.Contains(rest, []byte(": ")) {
			line = append(bytes.Clone(indent), rest...)
		}
		out = append(out, line...)
	}
	return out
}

// withoutDefault says whether a setting has no default that an example could show.
func withoutDefault(key string) bool {
	switch key {
	case "tenant", "region", "nats.urls", "nats.creds", "nats.ca", "sink.webhook.token_file", "sink.webhook.ca_file",
		"sink.nats.creds", "sink.nats.ca", "sink.nats.domain", "sink.nats.prefix", "group.width", "group.url_file", "group.schema":
		return true
	}
	return false
}

func TestConsumerProblems(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"durable":         {"durable: crm", "durable: a.b", `c.yaml:1: durable: "a.b" is not`},
		"no kind":         {"kind: webhook", "kind:", `sink.kind: "" is not one of`},
		"kind":            {"kind: webhook", "kind: pigeon", `c.yaml:3: sink.kind: "pigeon" is not one of`},
		"unknown kind":    {"  webhook:", "  webhok:", `sink.webhok: unknown key, did you mean`},
		"another kind":    {"kind: webhook", "kind: webhook\n  postgres: {schema: x}", "c.yaml:4: sink.postgres.schema: is for another sink: sink.kind is webhook"},
		"unknown setting": {"secret_file", "secrets_file", `sink.webhook.secrets_file: unknown key, did you mean "sink.webhook.secret_file"?`},
		"no secret":       {"secret_file: s, ", "", "sink.webhook.secret_file: is required"},
		"no state":        {", state_file: g", "", "sink.webhook.state_file: is required"},
		"URL":             {"https://crm.example.com/t0k3n", "crm.example.com/t0k3n", "c.yaml:4: sink.webhook.url: the URL cannot be read: write it as https://host/path"},
		"plain URL":       {"https://crm.example.com/t0k3n", "http://crm.example.com/t0k3n", "sink.webhook.url: the URL is not https"},
		"private URL":     {"https://crm.example.com/t0k3n", "https://10.0.0.1/t0k3n", "sink.webhook.url: the URL's address 10.0.0.1 is not dialled"},
		"allow":           {", state_file", ", allow: [10.0.0.0/8, ten], state_file", `sink.webhook.allow[1]: "ten" is neither`},
		"deny":            {", state_file", ", deny: [''], state_file", `sink.webhook.deny[0]: "" is neither`},
		"timeout":         {", state_file", ", timeout: 1h, state_file", "sink.webhook.timeout: 1h0m0s is not between"},
		"concurrency":     {", state_file", ", concurrency: 0, state_file", "sink.webhook.concurrency: 0 is not between"},
		"told":            {", state_file", ", most_told: -1s, state_file", "sink.webhook.most_told: -1s is not between"},
		"unordered":       {", state_file", ", unordered: maybe, state_file", "sink.webhook.unordered: is not true or false"},
		"from":            {"durable: crm", "durable: crm\nfrom: yesterday", `from: "yesterday" must be all, new`},
		"topic":           {"durable: crm", "durable: crm\ntopics: [a, B]", `topics[1]: "B" is not`},
		"no credentials":  {"durable: crm", "durable: crm\nnats: {urls: ['tls://a:1']}", "nats.creds: is required with nats.urls"},
		"address":         {"durable: crm", "durable: crm\nnats: {urls: ['a:1'], creds: c}", `nats.urls[0]: "a:1" is not tls://host:port`},
		"ack wait":        {"durable: crm", "durable: crm\nack_wait: 1ms", "ack_wait: 1ms is not between"},
		"window":          {"durable: crm", "durable: crm\nreorder_window: 1h", "reorder_window: 1h0m0s is not between"},
		"window, ack":     {"durable: crm", "durable: crm\nreorder_window: 1m\nack_wait: 30s", "ack_wait: 30s is not between 1m1s"},
		"retry":           {"durable: crm", "durable: crm\nretry: {first: 2s, most: 1s}", "retry.most: 1s is not between"},
		"group width":     {"durable: crm", "durable: crm\ngroup: {width: 5, url_file: u}", "group.width: 5 is not one of"},
		"group database":  {"durable: crm", "durable: crm\ngroup: {width: 4}", "group.url_file: is required"},
		"no group":        {"durable: crm", "durable: crm\ngroup: {failover: 1m}", "group.width: is required"},
		"hasty failover":  {"durable: crm", "durable: crm\ngroup: {width: 4, url_file: u, failover: 1s}", "group.failover: 1s is not between"},
		"breaker":         {"durable: crm", "durable: crm\nbreaker: {first: 2s, most: 1s}", "breaker.most: 1s is not between"},
		"pause":           {"durable: crm", "durable: crm\nbreaker: {first: 0s}", "breaker.first: 0s is not between"},
		"metrics":         {"durable: crm", "durable: crm\nlisten: {metrics: x}", `listen.metrics: "x" is not host:port`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadConsumer(write(t, strings.Replace(webhookFile, c.old, c.new, 1)), nil)
			if _, ok := errors.AsType[Problems](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && (fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "t0k3n")) {
				t.Errorf("kind %s of %q", fault.KindOf(err), err)
			}
		})
	}
}

func TestSinkProblems(t *testing.T) {
	for _, c := range []struct{ kind, settings, want string }{
		{"postgres", "schema: s", "sink.postgres.url_file: is required"},
		{"postgres", "url_file: u", "sink.postgres.schema: is required"},
		{"postgres", "horizon: 1m", "sink.postgres.horizon: 1m0s is not between"},
		{"postgres", "retention: 1h", "sink.postgres.retention: 1h0m0s is not between"},
		{"postgres", "batch: 0", "sink.postgres.batch: 0 is not between"},
		{"postgres", "linger: -1s", "sink.postgres.linger: -1s is not between"},
		{"postgres", "workers: 65", "sink.postgres.workers: 65 is not between"},
		{"postgres", "timeout: 1ms", "sink.postgres.timeout: 1ms is not between"},
		{"postgres", "url: 'postgres://u:t0k3n@h/d'", "sink.postgres.url: unknown key, did you mean"},
		{"files", "raw: true", "sink.files.dir: is one of two"},
		{"files", "dir: d, s3: {bucket: b}", "sink.files.dir: is one of two"},
		{"files", "s3: {bucket: b, endpoint: 'https://h'}", `sink.files.s3.endpoint: "https://h" is not host`},
		{"files", "s3: {bucket: b, prefix: /a}", `sink.files.s3.prefix: "/a" begins or ends`},
		{"files", "s3: {bucket: b, access_key: a}", "sink.files.s3.access_key: and sink.files.s3.secret_key_file need each other"},
		{"files", "s3: {bucket: b, secret_key: t0k3n}", "sink.files.s3.secret_key: unknown key, did you mean"},
		{"files", "dir: d, batch: 10001", "sink.files.batch: 10001 is not between"},
		{"files", "dir: d, linger: 2h", "sink.files.linger: 2h0m0s is not between"},
		{"files", "dir: d, file_bytes: 1KiB", "sink.files.file_bytes: 1KiB is not between"},
		{"files", "dir: d, remember: 10", "sink.files.remember: 10 is not between 5000"},
		{"files", "dir: d, horizon: 1s", "sink.files.horizon: 1s is not between"},
		{"files", "dir: d, timeout: 0s", "sink.files.timeout: 0s is not between"},
		{"nats", "stream: s", "sink.nats.urls: is empty"},
		{"nats", "urls: ['nats://u:t0k3n@h:1']", "sink.nats.urls[0]: is not tls://host:port"},
		{"nats", "urls: ['h:1']", "sink.nats.urls[0]: is not tls://host:port"},
		{"nats", "urls: ['tls://h:1']", "sink.nats.stream: is required"},
		{"nats", "batch: 0", "sink.nats.batch: 0 is not between"},
		{"nats", "linger: -1s", "sink.nats.linger: -1s is not between"},
		{"nats", "remember: 1", "sink.nats.remember: 1 is not between 512"},
		{"nats", "timeout: 0s", "sink.nats.timeout: 0s is not between"},
	} {
		text := fmt.Sprintf("durable: d\nsink: {kind: %[1]s, %[1]s: {%[2]s}}\n", c.kind, c.settings)
		_, err := LoadConsumer(write(t, text), nil)
		if _, ok := errors.AsType[Problems](err); !ok || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "t0k3n") {
			t.Errorf("%s of %s: %v, want %q", c.settings, c.kind, err, c.want)
		}
	}
}

func TestConsumerSettingsFromFlagsAndEnvironment(t *testing.T) {
	t.Setenv("WEFT_SINK_WEBHOOK_TIMEOUT", "3s")
	t.Setenv("WEFT_SINK_WEBHOOK_UNORDERED", "true")
	t.Setenv("WEFT_SINK_WEBHOOK_ALLOW", "10.0.0.0/8,::1")
	flags := parsed(t, ConsumerFlags, "--durable", "other", "--url", "tls://a:1,tls://b:2", "--creds", "c", "--topic", "a,b", "--from", "7d", "--retry-attempts", "-1", "--sink", "webhook")
	c, err := LoadConsumer(write(t, webhookFile), flags)
	if err != nil {
		t.Fatal(err)
	}
	w := c.Sink.Webhook
	if w.Timeout != 3*time.Second || !w.Unordered || len(w.Allow) != 2 {
		t.Errorf("from the environment: %+v", w)
	}
	if c.Durable != "other" || len(c.NATS.URLs) != 2 || c.NATS.Creds != "c" || len(c.Topics) != 2 || c.From != "7d" || c.Retry.Attempts != -1 {
		t.Errorf("from flags: %+v", c)
	}
	if f := flags.Lookup("sink-webhook-url"); f != nil {
		t.Error("settings of one sink are flags")
	}
}
