package lazyfs_test

import (
	"os"
	"testing"

	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
)

func TestLoseMetadata(t *testing.T) {
	cases := map[string]struct {
		files bool // SyncNames
		do    func(m *mounted)
		want  map[string]string
		names int
	}{
		"create":          {false, func(m *mounted) { m.put("f", "x", true) }, map[string]string{"f": "-"}, 1},
		"synced create":   {false, func(m *mounted) { m.put("f", "x", true); m.syncDir(".") }, map[string]string{"f": "x"}, 0},
		"only the name":   {false, func(m *mounted) { m.put("f", "x", false); m.syncDir(".") }, map[string]string{"f": ""}, 0},
		"fsync of a file": {true, func(m *mounted) { m.put("f", "x", true) }, map[string]string{"f": "x"}, 0},
		"fsync of a file below new directories": {true, func(m *mounted) {
			m.must(os.MkdirAll(m.path("a/b"), 0o755))
			m.put("a/b/f", "x", true)
			m.put("a/b/g", "x", false)
		}, map[string]string{"a/b/f": "x", "a/b/g": "-"}, 1},
		"a synced file in a lost directory": {false, func(m *mounted) {
			m.must(os.Mkdir(m.path("a"), 0o755))
			m.put("a/f", "x", true)
			m.syncDir("a")
		}, map[string]string{"a/f": "-"}, 1},
		"rename": {false, func(m *mounted) {
			m.put("f", "x", true)
			m.syncDir(".")
			m.must(os.Rename(m.path("f"), m.path("g")))
		}, map[string]string{"f": "x", "g": "-"}, 1},
		"rename over": {false, func(m *mounted) {
			m.put("f", "old", true)
			m.put("g", "new", true)
			m.syncDir(".")
			m.must(os.Rename(m.path("g"), m.path("f")))
			m.wants("f", "new")
		}, map[string]string{"f": "old", "g": "new"}, 1},
		"atomic write": {false, func(m *mounted) {
			m.put("f", "old", true)
			m.syncDir(".")
			m.put("f.tmp", "new", true)
			m.must(os.Rename(m.path("f.tmp"), m.path("f")))
		}, map[string]string{"f": "old", "f.tmp": "-"}, 2},
		"remove": {false, func(m *mounted) {
			m.put("f", "x", true)
			m.syncDir(".")
			m.must(os.Remove(m.path("f")))
			m.wants("f", "-")
			m.put("f", "y", true)
		}, map[string]string{"f": "x"}, 2},
		"remove all": {false, func(m *mounted) {
			m.must(os.Mkdir(m.path("a"), 0o755))
			m.put("a/f", "x", true)
			m.syncDir("a")
			m.syncDir(".")
			m.must(os.RemoveAll(m.path("a")))
			m.wants("a/f", "-")
		}, map[string]string{"a/f": "x"}, 2},
		"directory moved after a change in it": {false, func(m *mounted) {
			m.must(os.Mkdir(m.path("a"), 0o755))
			m.put("a/f", "x", true)
			m.syncDir("a")
			m.syncDir(".")
			m.must(os.Remove(m.path("a/f")))
			m.must(os.Rename(m.path("a"), m.path("b")))
			m.syncDir(".")
		}, map[string]string{"b/f": "x", "a": "-"}, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := mount(t, lazyfs.Options{LoseMetadata: true, SyncNames: c.files})
			c.do(m)
			if loss := m.blink(); loss.Names != c.names {
				t.Errorf("rolled %d names back, want %d", loss.Names, c.names)
			}
			for name, want := range c.want {
				m.wants(name, want)
			}
		})
	}
}
