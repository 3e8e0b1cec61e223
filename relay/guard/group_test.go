package guard

import (
	"bytes"
	"slices"
	"testing"
)

func entriesOf(t testing.TB, b []byte) (head, []entry, error) {
	t.Helper()
	var out []entry
	h, err := readMessage(b, func(tenant string, keys []byte) {
		for ; len(keys) > 0; keys = keys[len(Key{}):] {
			out = append(out, entry{tenant, Key(keys[:len(Key{})])})
		}
	})
	return h, out, err
}

func TestGroupsAreReadAsWritten(t *testing.T) {
	want := []entry{{"globex", numbered(1)}, {"acme", numbered(2)}, {"globex", numbered(3)}, {"acme", numbered(2)}}
	h := head{process: 7, sent: moment{since: 8, wall: 9}}
	b := appendMessage(nil, h, want) // which sorts want
	got, entries, err := entriesOf(t, b)
	if err != nil || got != h || !slices.Equal(entries, want) {
		t.Errorf("read %v, %v (%v), written %v, %v", got, entries, err, h, want)
	}
	if _, entries, err := entriesOf(t, appendMessage(nil, h, nil)); err != nil || len(entries) > 0 {
		t.Errorf("an empty group: %v, %v", entries, err)
	}
	for n := range b {
		if _, entries, err := entriesOf(t, b[:n]); err == nil && len(entries) != 2 && n != headLength {
			t.Errorf("cut after %d bytes: %v and no error", n, entries)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add(appendMessage(nil, head{process: 1}, []entry{{"acme", numbered(1)}, {"globex", numbered(2)}}))
	f.Add(appendMessage(nil, head{}, nil))
	f.Add([]byte{version})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, entries, err := entriesOf(t, b)
		if err != nil {
			return
		}
		again := appendMessage(nil, h, slices.Clone(entries))
		h2, entries2, err := entriesOf(t, again)
		if err != nil || h2 != h || len(entries2) != len(entries) || len(again) > len(b) && bytes.Equal(again, b) {
			t.Fatalf("%x is read as %v, and then %v (%v)", b, entries, entries2, err)
		}
	})
}

// What cannot be queued any more is not taken, and what waited is told.
func TestQueueIsBoundedAndClosed(t *testing.T) {
	var q queue
	first, isFirst := q.push(entry{"acme", numbered(0)})
	if first == nil || !isFirst {
		t.Fatal("the first entry is not taken as the first")
	}
	for n := range uint64(maxGroup - 1) {
		if g, again := q.push(entry{"acme", numbered(n)}); g != first || again {
			t.Fatalf("entry %d is of another group", n)
		}
	}
	if g, _ := q.push(entry{"acme", numbered(0)}); g != nil {
		t.Error("more than a group waits")
	}
	q.close().settle(false)
	if first.Stored() {
		t.Error("a group that was never sent is called stored")
	}
	if g, _ := q.push(entry{"acme", numbered(0)}); g != nil {
		t.Error("an entry is taken after the end")
	}
}
