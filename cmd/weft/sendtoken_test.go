package main

import (
	"slices"
	"strings"
	"testing"
)

// The token file is read again for each request, so that it may be replaced while a long file is sent.
func TestSendWithATokenFile(t *testing.T) {
	f := newFakeRelay(t)
	path := f.write("token", []byte("first.token.x\n"))
	f.enter = func(n int, _ []string) { f.write("token", []byte("second.token.x\n")) }
	f.send(testEvents(40), "--batch", "20", "--concurrency", "1", "--token-file", path).expect(t, 0, "40 sent: 40 stored")
	if want := []string{"Bearer first.token.x", "Bearer second.token.x"}; !slices.Equal(f.tokens, want) {
		t.Errorf("sent %q, want %q", f.tokens, want)
	}
}

func TestSendRefusesWhatIsNoToken(t *testing.T) {
	f := newFakeRelay(t)
	for name, content := range map[string]string{"empty": " \n", "two": "secret.one secret.two", "JSON": `{"access_token": "secret.one"}`, "too long": strings.Repeat("secret", 20000)} {
		r := f.send(testEvents(1), "--token-file", f.write("token", []byte(content)))
		if r.code == 0 || !strings.Contains(r.stderr, "does not hold one access token") || strings.Contains(r.stderr, "secret") || len(f.tokens) != 0 {
			t.Errorf("%s: exit code %d, %q, %d requests", name, r.code, r.stderr, len(f.tokens))
		}
	}
	if r := f.send(testEvents(1), "--token-file", f.path("missing")); r.code == 0 || !strings.Contains(r.stderr, "cannot read the token file") {
		t.Errorf("a missing file: %d %q", r.code, r.stderr)
	}
}
