package keyring_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

func sealer(t *testing.T) *keyring.AgeSealer {
	t.Helper()
	s, err := keyring.NewAgeSealer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAgeSealerRoundTrip(t *testing.T) {
	s := sealer(t)
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain")
		sealed, err := s.Seal(plain)
		if err != nil {
			rt.Fatal(err)
		}
		if !strings.HasPrefix(sealed, "age:") || strings.ContainsAny(sealed, "\r\n ") {
			rt.Fatalf("not one line of age: and base64: %q", sealed)
		}
		got, err := s.Open(sealed)
		if err != nil || !bytes.Equal(got, plain) {
			rt.Fatalf("got %d bytes, %v; want %d", len(got), err, len(plain))
		}
		again, err := s.Seal(plain)
		if err != nil || again == sealed {
			rt.Fatal("two seals of one secret are the same")
		}
	})
}

func TestAgeSealerRefuses(t *testing.T) {
	s := sealer(t)
	sealed, err := s.Seal([]byte(word))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealer(t).Open(sealed); fault.CodeOf(err) != "sealed_for_other" {
		t.Errorf("another master key: %v", err)
	}
	for _, bad := range []string{"", "age:", sealed[4:], "AGE:" + sealed[4:], "age:!!!", sealed + "\n", sealed[:len(sealed)-4], "kms:" + sealed[4:]} {
		if got, err := s.Open(bad); err == nil || got != nil {
			t.Errorf("Open(%.20q…) gave %d bytes, %v", bad, len(got), err)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(sealed[4:])
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if got, err := s.Open("age:" + base64.StdEncoding.EncodeToString(changed)); err == nil || got != nil {
			t.Fatalf("byte %d flipped: opened", i)
		}
	}
}

func TestAgeSealerFile(t *testing.T) {
	s := sealer(t)
	file := filepath.Join(t.TempDir(), "master.age")
	if err := os.WriteFile(file, s.Identity(), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := keyring.LoadAgeSealer(file)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal([]byte(word))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := loaded.Open(sealed); err != nil || string(got) != word {
		t.Errorf("the loaded sealer does not open: %v", err)
	}
	if _, err := keyring.LoadAgeSealer(file + ".none"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("missing file: %v", err)
	}
	identity := string(s.Identity())
	for name, text := range map[string]string{
		"empty": "", "words": "hello", "cut": identity[:len(identity)-6], "two": identity + identity, "lower": strings.ToLower(identity),
	} {
		if _, err := keyring.ParseAgeSealer([]byte(text)); fault.CodeOf(err) != "identity_malformed" {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(strings.ToUpper(err.Error()), "SECRET-KEY-1"+identity[len(identity)-30:len(identity)-10]) {
			t.Errorf("%s: the error shows the identity", name)
		}
	}
}

func TestAgeSealerDoesNotShowItsIdentity(t *testing.T) {
	s := sealer(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); !strings.HasPrefix(got, "age sealer age1") {
			t.Errorf("%s: %q", verb, got)
		}
	}
}
