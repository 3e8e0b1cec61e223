// Package sealertest is what every keyring.Sealer has to pass: the age file, the one in memory, and drivers of
// key management services.
//
// Tests of implementations call Run; it starts no goroutine that outlives it.
package sealertest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// Subject is a Sealer with what an operator can do to its master keys.
type Subject struct {
	Sealer keyring.Sealer
	Rotate func()        // another master key seals from now on; the old ones open
	Retire func()        // only the one that seals is left
	Down   func(on bool) // the service answers nothing, or answers again; nil where there is no service
}

// Run tests what fresh makes; each call makes one with master keys of its own.
func Run(t *testing.T, fresh func(t *testing.T) Subject) {
	for name, test := range map[string]func(*testing.T, Subject, Subject){
		"round trip": roundTrip, "refusals": refusals, "rotation": rotation, "outage": outage, "no secret is shown": silent,
	} {
		t.Run(name, func(t *testing.T) { test(t, fresh(t), fresh(t)) })
	}
}

func roundTrip(t *testing.T, s, _ Subject) {
	master := masters(t, s)[0]
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain")
		sealed := seal(rt, s, plain)
		if keyring.MasterOf(sealed) != master {
			rt.Fatalf("the text does not name its master key %s: %.60q", master, sealed)
		}
		if strings.ContainsAny(sealed, "\r\n ") {
			rt.Fatalf("more than one word: %q", sealed)
		}
		got, err := s.Sealer.Open(rt.Context(), sealed)
		if err != nil || !bytes.Equal(got, plain) {
			rt.Fatalf("got %d bytes, %v; want %d", len(got), err, len(plain))
		}
		if seal(rt, s, plain) == sealed {
			rt.Fatal("two seals of one secret are the same")
		}
	})
}

func refusals(t *testing.T, s, other Subject) {
	sealed := seal(t, s, []byte("a secret"))
	if got, err := other.Sealer.Open(t.Context(), sealed); fault.CodeOf(err) != "sealed_for_other" || fault.KindOf(err) != fault.Denied || got != nil {
		t.Errorf("another master key: %d bytes, %v", len(got), err)
	}
	master := keyring.MasterOf(sealed)
	body := sealed[len(master)+1:]
	provider, _, _ := strings.Cut(master, ":")
	for _, bad := range []string{"", ":", "::", body, master, master + ":", master + ":!!!", sealed + "\n", strings.ToUpper(provider) + sealed[len(provider):], "x" + sealed, provider + ":" + body} {
		if got, err := s.Sealer.Open(t.Context(), bad); fault.CodeOf(err) != "sealed_malformed" || fault.KindOf(err) != fault.Invalid || got != nil {
			t.Errorf("Open(%.30q…) gave %d bytes, %v", bad, len(got), err)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		got, err := s.Sealer.Open(t.Context(), master+":"+base64.StdEncoding.EncodeToString(changed))
		if fault.CodeOf(err) != "sealed_damaged" || fault.KindOf(err) != fault.Invalid || got != nil {
			t.Fatalf("byte %d flipped: %d bytes, %v", i, len(got), err)
		}
	}
}

func rotation(t *testing.T, s, _ Subject) {
	first := masters(t, s)
	old := seal(t, s, []byte("old"))
	s.Rotate()
	second := masters(t, s)
	if len(first) != 1 || len(second) != 2 || second[0] == first[0] || !slices.Contains(second, first[0]) {
		t.Fatalf("master keys were %v and are %v", first, second)
	}
	fresh := seal(t, s, []byte("new"))
	if keyring.MasterOf(fresh) != second[0] {
		t.Errorf("sealed with %s, not with the first of %v", keyring.MasterOf(fresh), second)
	}
	for sealed, want := range map[string]string{old: "old", fresh: "new"} {
		if got, err := s.Sealer.Open(t.Context(), sealed); err != nil || string(got.Bytes()) != want {
			t.Errorf("%s after the rotation: %v", want, err)
		}
	}
	s.Retire()
	if left := masters(t, s); !slices.Equal(left, second[:1]) {
		t.Errorf("after the retirement: %v", left)
	}
	if _, err := s.Sealer.Open(t.Context(), old); fault.CodeOf(err) != "sealed_for_other" {
		t.Errorf("a retired master key: %v", err)
	}
	if _, err := s.Sealer.Open(t.Context(), fresh); err != nil {
		t.Errorf("the master key that is left: %v", err)
	}
}

func outage(t *testing.T, s, _ Subject) {
	if s.Down == nil {
		return // nothing between the caller and the key
	}
	sealed := seal(t, s, []byte("a secret"))
	s.Down(true)
	_, openErr := s.Sealer.Open(t.Context(), sealed)
	_, sealErr := s.Sealer.Seal(t.Context(), nil)
	_, listErr := s.Sealer.Masters(t.Context())
	for name, err := range map[string]error{"open": openErr, "seal": sealErr, "masters": listErr} {
		if fault.CodeOf(err) != "kms_unavailable" || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s while the service is away: %v", name, err)
		}
	}
	s.Down(false)
	if got, err := s.Sealer.Open(t.Context(), sealed); err != nil || string(got.Bytes()) != "a secret" {
		t.Errorf("after the service is back: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Sealer.Open(gone, sealed); fault.CodeOf(err) != "kms_unavailable" {
		t.Errorf("with a context that has ended: %v", err)
	}
}

func silent(t *testing.T, s, other Subject) {
	const word = "hunter2hunter2"
	sealed := seal(t, s, []byte(word))
	got, err := s.Sealer.Open(t.Context(), sealed)
	if err != nil {
		t.Fatal(err)
	}
	_, refused := other.Sealer.Open(t.Context(), sealed)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		for name, v := range map[string]any{"secret": got, "sealer": s.Sealer, "error": refused} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, word) || strings.Contains(text, "68756e74") || strings.Contains(strings.ToUpper(text), "SECRET-KEY") {
				t.Errorf("%s of the %s shows too much: %s", verb, name, text)
			}
		}
	}
	if strings.Contains(sealed, word) {
		t.Error("not sealed at all")
	}
}

func seal(t interface {
	Helper()
	Fatal(args ...any)
	Context() context.Context
}, s Subject, plain []byte) string {
	t.Helper()
	sealed, err := s.Sealer.Seal(t.Context(), plain)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func masters(t *testing.T, s Subject) []string {
	t.Helper()
	ids, err := s.Sealer.Masters(t.Context())
	if err != nil || len(ids) == 0 {
		t.Fatalf("master keys: %v, %v", ids, err)
	}
	return ids
}
