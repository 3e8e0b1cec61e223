package mapping

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// path is a place in payloads: through the arrays that head leads to, into each of their elements, and from there by
// names alone.
type path struct {
	head [][]string // for each * the names before it
	tail []string   // may be empty after a *
}

// parsePath reads a pointer.
func parsePath(s string) (path, error) {
	var p path
	switch {
	case s == "" || s[0] != '/':
		return p, fmt.Errorf("%q is no path: it starts with /, such as /amount or /legs/*/odds", s)
	case len(s) > MaxPath:
		return p, fmt.Errorf("the path has %d bytes, and %d are possible", len(s), MaxPath)
	case !utf8.ValidString(s):
		return p, fmt.Errorf("the path is no UTF-8")
	}
	tokens := strings.Split(s[1:], "/")
	if len(tokens) > MaxNames {
		return p, fmt.Errorf("the path has %d names, and %d are possible", len(tokens), MaxNames)
	}
	for _, t := range tokens {
		switch name, ok := unescape(t); {
		case t == "*":
			if len(p.tail) == 0 {
				return p, fmt.Errorf("* follows no name: a payload is an object, and arrays in arrays cannot be reached")
			}
			p.head, p.tail = append(p.head, p.tail), nil
		case !ok:
			return p, fmt.Errorf("in %q a ~ is followed by neither 0 nor 1", t)
		case t == "":
			return p, fmt.Errorf("a name of the path is empty")
		default:
			p.tail = append(p.tail, name)
		}
	}
	return p, nil
}

func unescape(t string) (string, bool) {
	for i := range len(t) {
		if t[i] == '~' && (i+1 == len(t) || t[i+1] != '0' && t[i+1] != '1') {
			return "", false
		}
	}
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(t), true
}

func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// sibling is the path with another last name.
func sibling(s, name string) string { return s[:strings.LastIndexByte(s, '/')+1] + escape(name) }

// beside says whether two paths lead through the same arrays.
func (p path) beside(q path) bool {
	return slices.EqualFunc(p.head, q.head, func(a, b []string) bool { return slices.Equal(a, b) })
}

// each calls f with every value that head leads to: the payload, or elements of arrays.
func (p path) each(root *node, f func(base **node) error) error {
	return through(p.head, &root, f)
}

func through(head [][]string, base **node, f func(base **node) error) error {
	if len(head) == 0 {
		return f(base)
	}
	at := reach(*base, head[0])
	if at == nil || (*at).kind != '[' {
		return nil
	}
	for i := range (*at).elements {
		if err := through(head[1:], &(*at).elements[i], f); err != nil {
			return err
		}
	}
	return nil
}

// reach is where names lead from an object, nil where nothing is.
func reach(n *node, names []string) **node {
	at := &n
	for _, name := range names {
		i := (*at).find(name)
		if i < 0 {
			return nil
		}
		at = &(*at).members[i].value
	}
	return at
}

// slot is where tail leads from base: base itself where it has no names.
func slot(base **node, tail []string) **node {
	if len(tail) == 0 {
		return base
	}
	return reach(*base, tail)
}
