package keyring_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/keyring/sealertest"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func sealer(t *testing.T) *keyring.AgeSealer {
	t.Helper()
	s, err := keyring.NewAgeSealer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// turned adds an identity and seals with it.
func turned(t *testing.T, s *keyring.AgeSealer) *keyring.AgeSealer {
	t.Helper()
	more, err := s.Add()
	if err != nil {
		t.Fatal(err)
	}
	ids, _ := more.Masters(t.Context())
	next, err := more.Promote(ids[len(ids)-1])
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// held lets the suite change the identities of a sealer that is immutable.
type held struct{ *keyring.AgeSealer }

func TestAgeSealer(t *testing.T) {
	sealertest.Run(t, func(t *testing.T) sealertest.Subject {
		h := &held{sealer(t)}
		return sealertest.Subject{
			Sealer: h,
			Rotate: func() { h.AgeSealer = turned(t, h.AgeSealer) },
			Retire: func() { h.AgeSealer = h.AgeSealer.Retire() },
		}
	})
}

func TestMemorySealer(t *testing.T) {
	sealertest.Run(t, func(*testing.T) sealertest.Subject {
		s := keyring.NewMemorySealer()
		return sealertest.Subject{Sealer: s, Rotate: s.Rotate, Retire: s.Retire, Down: s.SetDown}
	})
}

// ageFile is an identity file with what an operator does to it.
type ageFile struct {
	t    *testing.T
	path string
	now  *keyring.AgeSealer
	open *keyring.AgeFile
}

func newAgeFile(t *testing.T) *ageFile {
	t.Helper()
	f := &ageFile{t: t, path: filepath.Join(t.TempDir(), "master.age")}
	f.write(sealer(t))
	var err error
	if f.open, err = keyring.OpenAgeFile(f.path); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *ageFile) write(s *keyring.AgeSealer) {
	f.t.Helper()
	f.now = s
	if err := secretfile.Replace(f.path, s.Identity()); err != nil {
		f.t.Fatal(err)
	}
}

// seen waits until the file is read again.
func (f *ageFile) seen() {
	f.t.Helper()
	want, _ := f.now.Masters(context.Background())
	streamtest.Eventually(f.t, 10*time.Second, func() (bool, string) {
		have, _ := f.open.Masters(context.Background())
		return fmt.Sprint(have) == fmt.Sprint(want), fmt.Sprintf("the file holds %v, read are %v", want, have)
	})
}

func TestAgeFile(t *testing.T) {
	sealertest.Run(t, func(t *testing.T) sealertest.Subject {
		f := newAgeFile(t)
		return sealertest.Subject{
			Sealer: f.open,
			Rotate: func() { f.write(turned(t, f.now)); f.seen() },
			Retire: func() { f.write(f.now.Retire()); f.seen() },
		}
	})
}

// A file that is half written, or gone for a moment, must not take the keys away that were read before.
func TestAgeFileKeepsWhatItHas(t *testing.T) {
	f := newAgeFile(t)
	sealed, err := f.open.Seal(t.Context(), []byte(word))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := sealer(t).Seal(t.Context(), []byte(word)) // makes the file be looked at
	if err != nil {
		t.Fatal(err)
	}
	whole := turned(t, f.now)
	for name, spoil := range map[string]func() error{
		"half":  func() error { return os.WriteFile(f.path, whole.Identity()[:100], 0o600) },
		"empty": func() error { return os.WriteFile(f.path, nil, 0o600) },
		"gone":  func() error { return os.Remove(f.path) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for time.Since(begin) < 1200*time.Millisecond { // longer than between two looks
			if got, err := f.open.Open(t.Context(), sealed); err != nil || string(got) != word {
				t.Fatalf("%s: what was readable is not: %v", name, err)
			}
			if _, err := f.open.Open(t.Context(), foreign); fault.CodeOf(err) != "sealed_for_other" {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	f.write(whole)
	f.seen()
}

func TestParseAgeSealer(t *testing.T) {
	s := sealer(t)
	identity := string(s.Identity())
	for name, text := range map[string]string{
		"empty": "", "words": "hello", "cut": identity[:len(identity)-6], "twice": identity + identity, "lower": strings.ToLower(identity),
	} {
		if _, err := keyring.ParseAgeSealer([]byte(text)); fault.CodeOf(err) != "identity_malformed" {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(strings.ToUpper(err.Error()), "SECRET-KEY-1"+identity[len(identity)-30:len(identity)-10]) {
			t.Errorf("%s: the error shows the identity", name)
		}
	}
	if _, err := keyring.OpenAgeFile(filepath.Join(t.TempDir(), "none")); fault.KindOf(err) != fault.NotFound {
		t.Errorf("missing file: %v", err)
	}
	two := turned(t, s)
	again, err := keyring.ParseAgeSealer(two.Identity())
	if err != nil || string(again.Identity()) != string(two.Identity()) {
		t.Errorf("two identities: %v", err)
	}
	if !two.Holds(s) || s.Holds(two) || two.Holds(sealer(t)) || !two.Holds(two.Retire()) {
		t.Error("which file holds the identities of another is not told")
	}
	if _, err := s.Promote("age:0000000000000000"); fault.CodeOf(err) != "no_such_master" {
		t.Errorf("promoting what is not there: %v", err)
	}
}

func TestAgeSealerDoesNotShowItsIdentity(t *testing.T) {
	s := sealer(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); !strings.HasPrefix(got, "age sealer age:") {
			t.Errorf("%s: %q", verb, got)
		}
	}
}
