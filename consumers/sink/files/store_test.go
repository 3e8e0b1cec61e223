package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What every store has to do.
func TestStores(t *testing.T) {
	for name, st := range map[string]store{"memory": newMem(), "directory": localDir(t), "s3": fakeS3(t).bucket(t)} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			wants := func(name, want string) {
				t.Helper()
				if data, err := get(ctx, st, name); err != nil || string(data) != want {
					t.Errorf("%s: %q, %v", name, data, err)
				}
			}
			if _, err := st.open(ctx, "a/none"); !errors.Is(err, errMissing) {
				t.Errorf("open: %v", err)
			}
			if names, err := st.list(ctx, "none", ""); err != nil || len(names) > 0 {
				t.Errorf("list: %v, %v", names, err)
			}
			must(st.remove(ctx, "a/none"))

			must(st.put(ctx, "a/dt=2/x.json", []byte("one")))
			must(st.put(ctx, "a/dt=2/x.json", []byte("three")))
			wants("a/dt=2/x.json", "three")
			if err := st.create(ctx, "a/dt=2/x.json", []byte("no")); !errors.Is(err, errTaken) {
				t.Errorf("create of what is there: %v", err)
			}
			wants("a/dt=2/x.json", "three")
			must(st.create(ctx, "a/2", []byte("two")))
			must(st.create(ctx, "a/10", []byte("ten")))
			must(st.put(ctx, "a/1", bytes.Repeat([]byte("x"), 1<<20)))
			must(st.put(ctx, "ab/3", []byte("three")))
			for after, want := range map[string][]string{"": {"1", "10", "2"}, "1": {"10", "2"}, "2": nil, "0": {"1", "10", "2"}} {
				if names, err := st.list(ctx, "a", after); err != nil || !slices.Equal(names, want) {
					t.Errorf("after %q: %v, %v", after, names, err)
				}
			}
			o, err := st.open(ctx, "a/10")
			must(err)
			part := make([]byte, 2)
			if _, err := o.ReadAt(part, 1); err != nil && !errors.Is(err, io.EOF) || string(part) != "en" || o.size != 3 {
				t.Errorf("%q of %d, %v", part, o.size, err)
			}
			must(o.close())
			must(st.remove(ctx, "a/10"))
			if _, err := st.open(ctx, "a/10"); !errors.Is(err, errMissing) {
				t.Errorf("open of what was removed: %v", err)
			}
			must(st.create(ctx, "a/10", []byte("again")))
			race(t, st)

			gone, cancel := context.WithCancel(ctx)
			cancel()
			if err := st.create(gone, "a/late", nil); err == nil || errors.Is(err, errTaken) {
				t.Errorf("create after the end: %v", err)
			}
		})
	}
}

// race has many create one name: one of them succeeds, and its data is there.
func race(t *testing.T, st store) {
	t.Helper()
	for round := range 5 {
		name := fmt.Sprintf("race/%d", round)
		var winners atomic.Int32
		var winner atomic.Value
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				data := fmt.Sprint(w)
				switch err := st.create(t.Context(), name, []byte(data)); {
				case err == nil:
					winners.Add(1)
					winner.Store(data)
				case !errors.Is(err, errTaken):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if data, err := get(t.Context(), st, name); winners.Load() != 1 || err != nil || string(data) != winner.Load() {
			t.Fatalf("%d of 8 created it; it has %q of %v, %v", winners.Load(), data, winner.Load(), err)
		}
	}
}

// What an interrupted write left in a directory is seen by nobody, and removed in time.
func TestHalfAFile(t *testing.T) {
	d := localDir(t)
	if err := errors.Join(d.write(hidden("a/x"), []byte("half")), d.write(hidden(logFolder+"/y-1"), []byte("half"))); err != nil {
		t.Fatal(err)
	}
	if names, err := d.list(t.Context(), "a", ""); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
	if err := d.remove(t.Context(), "a/x"); err != nil {
		t.Fatal(err)
	}
	if err := d.tidy(time.Now(), logFolder); err != nil {
		t.Fatal(err)
	}
	if left := everything(t, d); len(left) != 1 || !strings.HasPrefix(left[0], logFolder) {
		t.Errorf("%v is left before its time", left)
	}
	if err := d.tidy(time.Now().Add(2*staleAfter), logFolder); err != nil {
		t.Fatal(err)
	}
	if left := everything(t, d); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
}

// A directory without room for links or for anything is told apart.
func TestADirectoryThatIsGone(t *testing.T) {
	d := localDir(t)
	s := openIn(t, Options{}, d)
	if err := os.Rename(filepath.Join(d.root, ownFolder), filepath.Join(d.root, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := s.HandleBatch(t.Context(), messages(0, 1)); err == nil {
		t.Error("written")
	}
}
