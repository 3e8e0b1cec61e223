package strictjson

import (
	"bytes"
	"hash/maphash"

	"github.com/go-json-experiment/json/jsontext"
)

// names are the names of the members of all open objects. An object of few is searched from its first name on. One of
// many has its names in a hash table, under a seed of the process's own: no input can make it slow.
type names struct {
	all    []span
	plain  []byte // texts of names with escapes
	scope  scope  // of the innermost object
	scopes uint32 // begun so far
	table  []entry
	used   int // of table
}

const fewNames = 16

// span is a name: in the body between its quotes, or in names.plain.
type span struct {
	start, end int32
	key        uint32 // other for most other names
	escaped    bool
}

func keyOf(name []byte) uint32 {
	n := len(name)
	if n == 0 {
		return 0
	}
	return uint32(n) | uint32(name[0])<<8 | uint32(name[n/2])<<16 | uint32(name[n-1])<<24
}

// scope is an object's part of all.
type scope struct {
	first int
	id    uint32 // in the table; 0 where it is not in it
}

type entry struct {
	scope uint32 // 0: free
	hash  uint32
	span  span
}

var seed = maphash.MakeSeed()

// Buffers that grew beyond these are not kept for the next input.
const (
	maxKeptNames = 1 << 12
	maxKeptTable = 1 << 12
)

func (n *names) reset() {
	if cap(n.all) > maxKeptNames {
		n.all = nil
	}
	if cap(n.plain) > maxKeptNames {
		n.plain = nil
	}
	n.all, n.plain, n.scope, n.scopes = n.all[:0], n.plain[:0], scope{}, 0
	if n.used > 0 {
		if n.used = 0; len(n.table) > maxKeptTable {
			n.table = nil
		}
		clear(n.table)
	}
}

// open begins an array or object, and returns what close needs.
func (n *names) open() scope {
	outer := n.scope
	n.scope = scope{first: len(n.all)}
	return outer
}

func (n *names) close(outer scope) {
	n.all = n.all[:n.scope.first]
	n.scope = outer
}

func (n *names) text(body []byte, s span) []byte {
	if s.escaped {
		return n.plain[s.start:s.end]
	}
	return body[s.start:s.end]
}

// add adds the name that stands in body[start:end] with its quotes; it is false where the object has it already.
func (n *names) add(body []byte, start, end int, escaped bool) bool {
	s := span{start: int32(start + 1), end: int32(end - 1)}
	if escaped {
		from := len(n.plain)
		n.plain, _ = jsontext.AppendUnquote(n.plain, body[start:end]) // text accepted it
		s = span{start: int32(from), end: int32(len(n.plain)), escaped: true}
	}
	name := n.text(body, s)
	s.key = keyOf(name)
	if n.scope.id == 0 {
		mine := n.all[n.scope.first:]
		for i := range mine {
			if mine[i].key == s.key && bytes.Equal(n.text(body, mine[i]), name) {
				return false
			}
		}
		n.all = append(n.all, s)
		if len(mine) >= fewNames {
			n.tabulate(body)
		}
		return true
	}
	return n.insert(body, s)
}

// tabulate moves the innermost object's names into the table.
func (n *names) tabulate(body []byte) {
	n.scopes++
	n.scope.id = n.scopes
	for _, s := range n.all[n.scope.first:] {
		n.insert(body, s)
	}
	n.all = n.all[:n.scope.first]
}

func (n *names) insert(body []byte, s span) bool {
	if n.used*2 >= len(n.table) {
		n.grow()
	}
	name := n.text(body, s)
	h := hash(n.scope.id, name)
	for i := int(h) & (len(n.table) - 1); ; i = (i + 1) & (len(n.table) - 1) {
		switch e := &n.table[i]; {
		case e.scope == 0:
			*e = entry{n.scope.id, h, s}
			n.used++
			return true
		case e.hash == h && e.scope == n.scope.id && bytes.Equal(n.text(body, e.span), name):
			return false
		}
	}
}

func hash(scope uint32, name []byte) uint32 {
	return uint32(maphash.Bytes(seed, name)) + scope*0x9e3779b1
}

func (n *names) grow() {
	old := n.table
	n.table = make([]entry, max(8*fewNames, 2*len(old)))
	for _, e := range old {
		if e.scope == 0 {
			continue
		}
		i := int(e.hash) & (len(n.table) - 1)
		for n.table[i].scope != 0 {
			i = (i + 1) & (len(n.table) - 1)
		}
		n.table[i] = e
	}
}
