package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/fault"
)

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parsed(t *testing.T, add func(*pflag.FlagSet), args ...string) *pflag.FlagSet {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	add(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return flags
}

func TestDefaultsNeedOnlyARegion(t *testing.T) {
	t.Setenv("WEFT_REGION", "eu")
	hub, err := LoadHub("", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultHub()
	want.Region = "eu"
	if !reflect.DeepEqual(*hub, want) {
		t.Errorf("hub %+v\nwant %+v", *hub, want)
	}
	relay, err := LoadRelay("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if relay.Limits.Body != 512<<10 || relay.Limits.ReadTimeout != 5*time.Second || relay.ID == "" {
		t.Errorf("relay %+v", *relay)
	}
}

// TestEverySettingFromEverySource sets each setting alone in the file, the environment and by flag, and
// expects the same value and the right origin: a setting that one source forgets fails here.
func TestEverySettingFromEverySource(t *testing.T) {
	hub := map[string]string{
		"region": "us", "server": "2", "data": "/d", "listen.nats": "h:1", "listen.leaf": "h:2", "listen.route": "h:3",
		"listen.admin": "h:4", "listen.metrics": "h:5", "peers": "ap=tls://a:1,tls://b:2;cn=tls://c:3", "routes": "tls://a:1,tls://b:2",
		"sync": "always", "sync_interval": "2s", "max_store": "3GiB", "route_advertise": "h:6",
		"dedupe_window": "7s", "ask_peers": "4s", "repair_every": "9s", "repair_after": "11s", "repair_bucket": "13s", "durability": "relaxed", "log.level": "error", "log.format": "json",
	}
	relay := map[string]string{
		"region": "us", "id": "r1", "data": "/d", "listen.https": "h:1", "listen.metrics": "h:2", "hosts": "a,b:1", "hub": "tls://a:1",
		"limits.body": "1MiB", "limits.read_timeout": "1m", "limits.ack_timeout": "3s", "limits.remote_timeout": "6s", "limits.window": "7", "limits.requests": "2048", "limits.drain": "0s",
		"log.level": "warn", "log.format": "console", "tokens.issuers": fileOnly,
		"tls.client_cas": "acme=/a,globex=/b", "tls.crl": "/a,https://b/c", "tls.crl_refresh": "9s", "tls.crl_stale": "warn",
		"tls.ocsp": "stapled", "tls.ocsp_responder": "aia", "tls.ocsp_refresh": "8s", "tls.ocsp_unreachable": "warn",
	}
	everySource(t, "hub", hub, HubFlags, func(path string, f *pflag.FlagSet) ([]Value, error) {
		_, v, err := ResolveHub(path, f)
		return v, err
	})
	everySource(t, "relay", relay, RelayFlags, func(path string, f *pflag.FlagSet) ([]Value, error) {
		_, v, err := ResolveRelay(path, f)
		return v, err
	})
}

// fileOnly stands for a setting that has too much structure for a flag or a variable.
const fileOnly = "in the file alone"

func everySource(t *testing.T, role string, texts map[string]string, add func(*pflag.FlagSet), load func(string, *pflag.FlagSet) ([]Value, error)) {
	base := "region: eu\n"
	values, err := load(write(t, base), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(values) != len(texts) {
		t.Fatalf("%s has %d settings, the test knows %d", role, len(values), len(texts))
	}
	for _, v := range values {
		if texts[v.Key] == fileOnly {
			continue // TestTokenIssuers sets it
		}
		t.Run(role+"/"+v.Key, func(t *testing.T) {
			text, s := texts[v.Key], setting{key: v.Key}
			value := func(origin string, values []Value, err error) any {
				if err != nil {
					t.Fatalf("%s: %v", origin, err)
				}
				for _, got := range values {
					if got.Key == v.Key {
						if !strings.HasPrefix(got.Origin, origin) {
							t.Errorf("origin %q, want %q", got.Origin, origin)
						}
						return got.Value
					}
				}
				return nil
			}
			path := write(t, base)
			viaFlag, err := load(path, parsed(t, add, "--"+s.flag(), text))
			a := value("flag --"+s.flag(), viaFlag, err)

			section, key, nested := strings.Cut(v.Key, ".")
			line := section + ": '" + text + "'\n"
			if nested {
				line = section + ":\n  " + key + ": '" + text + "'\n"
			}
			path = write(t, strings.TrimPrefix(base+line, map[bool]string{true: base}[v.Key == "region"]))
			inFile, err := load(path, nil)
			c := value(path+":", inFile, err)

			t.Setenv(s.env(), text)
			viaEnv, err := load(path, nil)
			b := value("env "+s.env(), viaEnv, err)
			if !reflect.DeepEqual(a, b) || !reflect.DeepEqual(a, c) || reflect.DeepEqual(a, v.Value) {
				t.Errorf("flag %v, env %v, file %v, default %v", a, b, c, v.Value)
			}
		})
	}
}

func TestShortListReplacesLongerDefault(t *testing.T) {
	c := DefaultRelay()
	c.Hub = []string{"tls://a:1", "tls://b:1", "tls://c:1"}
	if _, err := resolve(write(t, "region: eu\nhub: ['tls://x:1']\n"), nil, &c); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Hub, []string{"tls://x:1"}) {
		t.Errorf("hub %v", c.Hub)
	}
}

func TestPeersInTheFile(t *testing.T) {
	c, err := LoadHub(write(t, "region: eu\npeers:\n- {name: us, leaf: [tls://u:1, tls://v:2]}\n- name: ap\n  leaf:\n  - tls://a:1\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Peer{{"us", []string{"tls://u:1", "tls://v:2"}}, {"ap", []string{"tls://a:1"}}}
	if !reflect.DeepEqual(c.Peers, want) {
		t.Errorf("peers %+v", c.Peers)
	}
}

func TestHubProblems(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"no region":       {"server: 0", "region: is required"},
		"server":          {"region: eu\nserver: 3", "c.yaml:2: server: 3 is not 0, 1 or 2"},
		"unknown section": {"region: eu\nlistne: {nats: 'a:1'}", `c.yaml:2: listne: unknown key, did you mean`},
		"unknown, nested": {"region: eu\nlisten: {https: 'a:1'}", "listen.https: unknown key"},
		"misplaced":       {"region: eu\nadmin: 'a:1'", `admin: unknown key, did you mean "listen.admin"?`},
		"dashes":          {"region: eu\nmax-store: 1GiB", `max-store: unknown key, did you mean "max_store"?`},
		"far from all":    {"region: eu\nzzzzzzzzz: 1", "zzzzzzzzz: unknown key"},
		"twice":           {"region: eu\nregion: us", "c.yaml:2: region: is set twice"},
		"two documents":   {"region: eu\n---\nregion: us", "more than one YAML document"},
		"not a mapping":   {"- a", "not a mapping"},
		"yaml":            {"region: [", "c.yaml: line"},
		"bare duration":   {"region: eu\nsync_interval: 5", "c.yaml:2: sync_interval: is not a duration with its unit"},
		"bad duration":    {"region: eu\nsync_interval: soon", "sync_interval: is not a duration"},
		"fraction":        {"region: eu\nserver: 1.5", "server: is not a whole number"},
		"bool as text":    {"region: true", "region: is not a text"},
		"section":         {"region: eu\nlisten: 5", "listen: "},
		"same address":    {"region: eu\nlisten: {nats: 'h:1', leaf: 'h:1'}", "listen.leaf: h:1 is already used by listen.nats"},
		"no port":         {"region: eu\nlisten: {nats: 'h'}", `listen.nats: "h" is not host:port`},
		"own region":      {"region: eu\npeers: [{name: eu, leaf: ['tls://a:1']}]", `peers[0].name: "eu" is this region itself`},
		"peer twice":      {"region: eu\npeers: [{name: us, leaf: ['tls://a:1']}, {name: us, leaf: ['tls://a:2']}]", "c.yaml:2: peers[1].name: \"us\" is listed twice"},
		"peer, plain":     {"region: eu\npeers: [{name: us, leaf: ['nats://a:1']}]", `"nats://a:1" is not tls://host:port`},
		"route, path":     {"region: eu\nroutes: ['tls://a:1/x']", `routes[0]: "tls://a:1/x" is not tls://host:port`},
		"sync":            {"region: eu\nsync: never", `sync: "never" is not one of interval, always`},
		"store":           {"region: eu\nmax_store: 5", "max_store: 5 is less than 1MiB"},
		"durability":      {"region: eu\ndurability: high", "is not one of strict, relaxed"},
		"log":             {"region: eu\nlog: {level: loud}", "log.level"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadHub(write(t, c.yaml), nil)
			found, ok := errors.AsType[Problems](err)
			if !ok || len(found) == 0 {
				t.Fatalf("no problems: %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q", err, c.want)
			}
			if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "\n") {
				t.Errorf("kind %s of %q", fault.KindOf(err), err)
			}
		})
	}
}

func TestRelayProblems(t *testing.T) {
	for name, c := range map[string]struct{ yaml, want string }{
		"id":      {"id: Relay 1", "id: \"Relay 1\" is not"},
		"host":    {"hosts: ['https://a']", "hosts[0]"},
		"no hub":  {"hub: []", "hub: is empty"},
		"hub":     {"hub: ['a:4222']", `hub[0]: "a:4222" is not tls://host:port`},
		"body":    {"limits: {body: 1GiB}", "limits.body: 1GiB is not between"},
		"timeout": {"limits: {read_timeout: 0s}", "limits.read_timeout: 0s is not between"},
		"window":  {"limits: {window: 0}", "limits.window: 0 is not between"},
		"guard":   {"limits: {requests: 7}", "limits.requests: 7 is not between"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadRelay(write(t, "region: eu\n"+c.yaml), nil)
			if _, ok := errors.AsType[Problems](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := LoadRelay(write(t, "region: eu\nhosts: ['a.example', 'a.example:443', '10.0.0.1', '::1', '[::1]:443']"), nil); err != nil {
		t.Error(err)
	}
}

func TestProblemsNameTheirSource(t *testing.T) {
	t.Setenv("WEFT_SYNC", "never")
	_, err := LoadHub(write(t, "region: eu\n"), parsed(t, HubFlags, "--server", "9"))
	for _, want := range []string{"env WEFT_SYNC: sync: ", "flag --server: server: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestEmptyFileAndEmptySections(t *testing.T) {
	for _, content := range []string{"", "# nothing\n", "region:\n", "listen:\nlog:\n", "---\n"} {
		_, err := LoadHub(write(t, content), parsed(t, HubFlags, "--region", "eu"))
		if err != nil {
			t.Errorf("%q: %v", content, err)
		}
	}
	if _, err := LoadHub(filepath.Join(t.TempDir(), "none"), nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("missing file: %v", err)
	}
	if _, err := LoadHub(t.TempDir(), nil); fault.CodeOf(err) != "config_unreadable" {
		t.Errorf("a directory: %v", err)
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"0": 0, "1": 1, "512KiB": 512 << 10, "8GiB": 8 << 30, "8 gib": 8 << 30, "1.5MiB": 3 << 19, "10MB": 10e6, "2kb": 2000, "7B": 7, "1TiB": 1 << 40,
	} {
		if got, err := ParseByteSize(text); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "lots", "1.5B", "9999999TiB", "9223372036854775808", "1e3", "0x10", "NaN", "Inf", "1_000", "--1"} {
		if got, err := ParseByteSize(text); err == nil {
			t.Errorf("%q: %d, want an error", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		b := ByteSize(rapid.Int64().Draw(t, "size"))
		if got, err := ParseByteSize(b.String()); err != nil || got != b {
			t.Fatalf("%d is written %s and read %d, %v", b, b, got, err)
		}
	})
}

// FuzzFile feeds any bytes as a configuration file: it is refused or understood, never a panic.
func FuzzFile(f *testing.F) {
	f.Add([]byte("region: eu\npeers: [{name: us, leaf: ['tls://a:1']}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? {x: 1}\n: y"))
	f.Add([]byte("listen: &x {nats: 'a:1'}\nlog: *x"))
	path := filepath.Join(f.TempDir(), "f.yaml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := LoadHub(path, nil); err == nil && c.Validate() != nil {
			t.Errorf("loaded what is not valid: %v", c.Validate())
		}
	})
}
