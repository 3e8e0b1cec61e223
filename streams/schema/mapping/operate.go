package mapping

import (
	"errors"
	"slices"
)

var (
	errInTheWay  = errors.New("something is at the new place already")
	errNoObject  = errors.New("what the new place would be in is no object")
	errEmpty     = errors.New("what the new place would be in is an empty object, and could not be told from none afterwards")
	errNotWrap   = errors.New("is no object with that member alone")
	errNotSingle = errors.New("is no array of one element")
)

// compile makes one step ready.
func compile(s *Step, at path) (func(*run, **node) error, error) {
	if !slices.Contains([]Op{Rename, Move, Copy, Remove, Default, Convert, Wrap, Unwrap, Compute}, s.Op) {
		return nil, flawed("mapping_op", "there is no such operation; there are rename, move, copy, remove, default, convert, wrap, unwrap and compute")
	}
	if err := s.onlyWhat(); err != nil {
		return nil, err
	}
	named := len(at.tail) > 0
	if !named && s.Op != Convert && s.Op != Wrap && s.Op != Unwrap && s.Op != Compute {
		return nil, flawed("mapping_path", "the path ends in *, and elements of arrays have no names: end it in the name of a member")
	}
	switch s.Op {
	case Rename:
		if s.To == "" || s.To == "*" || len(s.To) > MaxPath || s.To == at.tail[len(at.tail)-1] {
			return nil, flawed("mapping_to", `"to" is the new name, of at most %d bytes: not the old one, and not *`, MaxPath)
		}
		return rename(at.tail, s.To), nil
	case Move, Copy:
		to, err := target(s, at)
		if err != nil {
			return nil, err
		}
		return move(at.tail, to.tail, s.Op == Copy), nil
	case Remove:
		return func(_ *run, base **node) error { detach(*base, at.tail); return nil }, nil
	case Default:
		v, err := parse(s.Value)
		if err != nil {
			return nil, flawed("mapping_value", `"value" is no JSON value`)
		}
		return fill(at.tail, v), nil
	case Convert:
		return conversion(s, at.tail)
	case Wrap, Unwrap:
		if s.Array == (s.To != "") {
			return nil, flawed("mapping_to", `either "to" names the member of the object around the value, or "array" is true`)
		}
		if s.Op == Wrap {
			return wrap(at.tail, s.To), nil
		}
		return unwrap(at.tail, s.To), nil
	default:
		return compute(s.CEL, at)
	}
}

// onlyWhat refuses members that the operation does not read: they are a misunderstanding.
func (s *Step) onlyWhat() error {
	for _, m := range []struct {
		name  string
		there bool
		of    []Op
	}{
		{"to", s.To != "", []Op{Rename, Move, Copy, Wrap, Unwrap}},
		{"array", s.Array, []Op{Wrap, Unwrap}},
		{"value", s.Value != nil, []Op{Default}},
		{"type", s.Type != "", []Op{Convert}},
		{"multiply", s.Multiply != "", []Op{Convert}},
		{"divide", s.Divide != "", []Op{Convert}},
		{"table", s.Table != nil, []Op{Convert}},
		{"cel", s.CEL != "", []Op{Compute}},
	} {
		if m.there && !slices.Contains(m.of, s.Op) {
			return flawed("mapping_step", "%q says nothing here: leave it out", m.name)
		}
	}
	return nil
}

// target is where a step moves or copies to.
func target(s *Step, at path) (path, error) {
	to, err := parsePath(s.To)
	if err != nil {
		return to, flawed("mapping_path", `"to": %v`, err)
	}
	switch {
	case !at.beside(to):
		return to, flawed("mapping_path", `%s leads through other arrays: "at" and "to" are the same up to their last *; for another shape compute it`, s.To)
	case len(to.tail) == 0:
		return to, flawed("mapping_path", `"to" ends in *: end it in the name of a member`)
	case slices.Equal(at.tail, to.tail):
		return to, flawed("mapping_path", "from a place to itself")
	case within(to.tail, at.tail):
		return to, flawed("mapping_path", "%s is inside of %s: wrap it", s.To, s.At)
	case within(at.tail, to.tail):
		return to, flawed("mapping_path", "%s is inside of %s: unwrap it", s.At, s.To)
	}
	return to, nil
}

// within says whether a leads on from b.
func within(a, b []string) bool { return len(a) > len(b) && slices.Equal(a[:len(b)], b) }

// owner is the object that a place's last name is looked for in, nil where there is none.
func owner(base *node, tail []string) *node {
	at := reach(base, tail[:len(tail)-1])
	if at == nil {
		return nil
	}
	return *at
}

func rename(tail []string, name string) func(*run, **node) error {
	old := tail[len(tail)-1]
	return func(r *run, base **node) error {
		in := owner(*base, tail)
		if in == nil {
			return nil
		}
		if in.find(name) >= 0 { // even if nothing is renamed: the way back could not tell
			return errInTheWay
		}
		i := in.find(old)
		if i < 0 {
			return nil
		}
		in.members[i].name = name
		return r.grow(max(len(name)-len(old), 0))
	}
}

func move(from, to []string, keep bool) func(*run, **node) error {
	return func(r *run, base **node) error {
		if reach(*base, to) != nil { // even if nothing moves: the way back could not tell
			return errInTheWay
		}
		at := reach(*base, from)
		if at == nil {
			return nil
		}
		if err := free(*base, to); err != nil {
			return err
		}
		v := *at
		if keep {
			if err := r.grow(v.size()); err != nil {
				return err
			}
			v = v.clone()
		} else {
			detach(*base, from)
		}
		return put(*base, to, v)
	}
}

// free says whether a place can be made such that taking its value away again leaves what was there before.
func free(base *node, to []string) error {
	for _, name := range to[:len(to)-1] {
		at := base.find(name)
		if at < 0 {
			return nil
		}
		base = base.members[at].value
		if base.kind != '{' {
			return errNoObject
		}
		if len(base.members) == 0 {
			return errEmpty
		}
	}
	return nil
}

// put makes a place, with the objects on the way.
func put(base *node, to []string, v *node) error {
	for _, name := range to[:len(to)-1] {
		i := base.find(name)
		if i < 0 {
			base.members = append(base.members, member{name, &node{kind: '{'}})
			i = len(base.members) - 1
		}
		if base = base.members[i].value; base.kind != '{' {
			return errNoObject
		}
	}
	if base.kind != '{' {
		return errNoObject
	}
	last := to[len(to)-1]
	if i := base.find(last); i >= 0 {
		base.members[i].value = v
		return nil
	}
	base.members = append(base.members, member{last, v})
	return nil
}

// detach takes a value away, and the objects below base that it leaves empty.
func detach(base *node, tail []string) {
	i := base.find(tail[0])
	if i < 0 {
		return
	}
	if len(tail) > 1 {
		in := base.members[i].value
		before := len(in.members)
		detach(in, tail[1:])
		if before == 0 || len(in.members) > 0 {
			return
		}
	}
	base.members = slices.Delete(base.members, i, i+1)
}

func fill(tail []string, v *node) func(*run, **node) error {
	return func(r *run, base **node) error {
		if reach(*base, tail) != nil {
			return nil
		}
		if err := r.grow(v.size()); err != nil {
			return err
		}
		return put(*base, tail, v.clone())
	}
}

func wrap(tail []string, name string) func(*run, **node) error {
	return func(r *run, base **node) error {
		at := slot(base, tail)
		if at == nil {
			return nil
		}
		outer := &node{kind: '['}
		if name != "" {
			outer.kind, outer.members = '{', []member{{name, *at}}
		} else {
			outer.elements = []*node{*at}
		}
		*at = outer
		return r.grow(len(name) + len(`{"":}`))
	}
}

func unwrap(tail []string, name string) func(*run, **node) error {
	return func(_ *run, base **node) error {
		at := slot(base, tail)
		switch {
		case at == nil:
		case name == "":
			if (*at).kind != '[' || len((*at).elements) != 1 {
				return errNotSingle
			}
			*at = (*at).elements[0]
		default:
			if len((*at).members) != 1 || (*at).members[0].name != name {
				return errNotWrap
			}
			*at = (*at).members[0].value
		}
		return nil
	}
}

// inverse is the step that undoes s.
func (s *Step) inverse() (Step, error) {
	switch s.Op {
	case Rename:
		return Step{Op: Rename, At: sibling(s.At, s.To), To: lastName(s.At)}, nil
	case Move:
		return Step{Op: Move, At: s.To, To: s.At}, nil
	case Copy:
		return Step{Op: Remove, At: s.To}, nil
	case Wrap:
		return Step{Op: Unwrap, At: s.At, To: s.To, Array: s.Array}, nil
	case Unwrap:
		return Step{Op: Wrap, At: s.At, To: s.To, Array: s.Array}, nil
	case Convert:
		return s.inverseConversion()
	case Remove:
		return Step{}, errors.New("what is removed cannot come back")
	}
	return Step{}, errors.New("it has no inverse")
}

// lastName is the last name of a pointer, as it is.
func lastName(s string) string {
	p, err := parsePath(s)
	if err != nil || len(p.tail) == 0 {
		return ""
	}
	return p.tail[len(p.tail)-1]
}
