package broker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// held is a store with two streams, one of which has a consumer, that is held.
func held(t *testing.T) (*keep, string) {
	t.Helper()
	o := Options{StoreDir: t.TempDir()}
	store := o.messagesDir()
	for _, s := range []string{"ONE", "TWO"} {
		write(t, store, "A", "streams", s, "meta.inf")
		write(t, store, "A", "streams", s, "msgs", "1.blk")
	}
	write(t, store, "A", "streams", "ONE", "obs", "mine", "meta.inf")
	k := newKeep(&o)
	if err := k.hold(); err != nil {
		t.Fatal(err)
	}
	return k, store
}

func gone(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return err != nil
}

func TestKeepPutsBackWhatWasDeleted(t *testing.T) {
	one, two, mine := filepath.Join("A", "streams", "ONE"), filepath.Join("A", "streams", "TWO"), filepath.Join("A", "streams", "ONE", "obs", "mine")
	cases := map[string]struct {
		remove             []string // below the store
		streams, consumers []string
		back               []string
	}{
		"nothing":                       {},
		"a stream":                      {[]string{two}, []string{two}, nil, []string{two}},
		"a description only":            {[]string{filepath.Join(two, "meta.inf")}, []string{two}, nil, []string{two}},
		"a consumer":                    {[]string{mine}, nil, []string{mine}, []string{mine}},
		"a stream with its consumer":    {[]string{one}, []string{one}, []string{mine}, []string{one}},
		"the account":                   {[]string{"A"}, []string{one, two}, []string{mine}, []string{"A"}},
		"a message file: not ours":      {[]string{filepath.Join(one, "msgs", "1.blk")}, nil, nil, nil},
		"everything, the root included": {[]string{"."}, []string{one, two}, []string{mine}, []string{"A"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			k, store := held(t)
			for _, r := range c.remove {
				if err := os.RemoveAll(filepath.Join(store, r)); err != nil {
					t.Fatal(err)
				}
			}
			streams, consumers, err := k.missing()
			if err != nil || !slices.Equal(streams, c.streams) || !slices.Equal(consumers, c.consumers) {
				t.Errorf("missing: %v, %v, %v; want %v, %v", streams, consumers, err, c.streams, c.consumers)
			}
			back, err := k.restore()
			if err != nil || !slices.Equal(back, c.back) {
				t.Errorf("put back: %v, %v; want %v", back, err, c.back)
			}
			for _, s := range []string{one, two, mine} {
				raw, err := os.ReadFile(filepath.Join(store, s, "meta.inf"))
				if err != nil || len(raw) == 0 {
					t.Errorf("%s: %q, %v", s, raw, err)
				}
			}
			if !gone(t, k.aside) {
				t.Error("second names are left")
			}
		})
	}
}

// What the server wrote into its files while it was held is not undone.
func TestKeepLeavesWhatStands(t *testing.T) {
	k, store := held(t)
	write(t, store, "A", "streams", "ONE", "meta.inf") // by a rename, as the server does
	path := filepath.Join(store, "A", "streams", "ONE", "meta.inf")
	if err := os.WriteFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if back, err := k.restore(); err != nil || len(back) > 0 {
		t.Errorf("%v, %v", back, err)
	}
	if raw, _ := os.ReadFile(path); string(raw) != "new" {
		t.Errorf("the description is %q", raw)
	}
}

// A process that is killed between the server's deletion and the end of its start has lost nothing either.
func TestKeepOfAKilledStart(t *testing.T) {
	k, store := held(t)
	if err := os.RemoveAll(filepath.Join(store, "A")); err != nil {
		t.Fatal(err)
	}
	if err := k.hold(); err != nil {
		t.Fatal(err)
	}
	if gone(t, filepath.Join(store, "A", "streams", "ONE", "msgs", "1.blk")) {
		t.Error("the next start does not put back what the last one lost")
	}
	if streams, consumers, err := k.missing(); err != nil || len(streams)+len(consumers) > 0 {
		t.Errorf("missing: %v, %v, %v", streams, consumers, err)
	}
	if gone(t, k.aside) {
		t.Error("nothing is held")
	}
}

// A process that is killed while it drops leaves nothing that the next start puts back: streams may have been removed
// since, and a durable would be back at an old position.
func TestKeepOfAKilledDrop(t *testing.T) {
	k, store := held(t)
	if err := os.Rename(k.aside, k.spent); err != nil { // and killed before the rest
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(store, "A", "streams", "TWO")); err != nil { // by its owner
		t.Fatal(err)
	}
	if err := k.hold(); err != nil {
		t.Fatal(err)
	}
	if !gone(t, filepath.Join(store, "A", "streams", "TWO")) {
		t.Error("a stream that was removed is back")
	}
	if err := k.drop(); err != nil {
		t.Fatal(err)
	}
	if !gone(t, k.aside) || !gone(t, k.spent) {
		t.Error("second names are left")
	}
}
