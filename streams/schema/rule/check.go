package rule

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/fault"
)

// The rules that a Violation may name.
const (
	Blocked  = "blocked_fields"
	Required = "required_fields"
)

// Bounds of what Check tells.
const (
	MaxViolations = 33 // one more than people are told, so that whoever tells them knows that there are more
	maxPointer    = 256
)

// Violation is one way in which an event breaks a rule. It never quotes a value.
type Violation struct {
	Pointer string // RFC 6901, from the event's root; of a long one, the innermost enclosing value that fits in 256 bytes
	Rule    string // Blocked or Required
	Path    string // as the set names it
}

// Checker is a compiled Set.
type Checker struct {
	paths []path
	need  *need               // the required ones, nil without any
	ban   *ban                // the blocked ones, nil without any
	types map[string]*Checker // what is asked of one type besides
}

type path struct {
	rule, text string
	names      []string
}

// Empty says that no event of any type can break the rules: it need not be asked.
func (c *Checker) Empty() bool { return len(c.paths) == 0 && len(c.types) == 0 }

// Of is what is asked of events of one type besides, nil where that is nothing.
func (c *Checker) Of(eventType []byte) *Checker { return c.types[string(eventType)] }

// General says whether anything is asked of events of all types.
func (c *Checker) General() bool { return len(c.paths) > 0 }

// Check walks an event's bytes, at most as deep as paths lead. What is asked of its type besides is asked of Of. The error is not nil where they are no strict JSON.
func (c *Checker) Check(raw []byte) ([]Violation, error) {
	if len(c.paths) == 0 {
		return nil, nil
	}
	w := walk{checker: c, dec: jsontext.NewDecoder(bytes.NewReader(raw))}
	var all []place
	for i := range c.paths {
		all = w.enter(all, place{path: i})
	}
	if err := w.value(all); err != nil {
		return nil, fault.New("rule.check", fault.Invalid, "json", "the event is no strict JSON: %v", err)
	}
	return w.found, nil
}

// place is how far along a path a value stands: the name at is the next one.
type place struct{ path, at int }

// walk is one pass over an event.
type walk struct {
	checker *Checker
	dec     *jsontext.Decoder
	tokens  []string // of the pointer to the present value
	found   []Violation
}

// enter adds a place, and behind ** the one after it too, which stands for no member at all.
func (w *walk) enter(all []place, p place) []place {
	if slices.Contains(all, p) {
		return all
	}
	all = append(all, p)
	if names := w.checker.paths[p.path].names; names[p.at] == "**" {
		all = w.enter(all, place{p.path, p.at + 1})
	}
	return all
}

// value reads one value on which places stand.
func (w *walk) value(places []place) error {
	if len(places) == 0 {
		return w.dec.SkipValue()
	}
	switch w.dec.PeekKind() {
	case '{':
		return w.object(places)
	case '[':
		return w.array(places)
	default:
		w.missing(places, nil) // a scalar has no members
		return w.dec.SkipValue()
	}
}

func (w *walk) array(places []place) error {
	if _, err := w.dec.ReadToken(); err != nil {
		return err
	}
	for i := 0; w.dec.PeekKind() != ']'; i++ {
		w.tokens = append(w.tokens, strconv.Itoa(i))
		if err := w.value(places); err != nil {
			return err
		}
		w.tokens = w.tokens[:len(w.tokens)-1]
	}
	_, err := w.dec.ReadToken()
	return err
}

func (w *walk) object(places []place) error {
	if _, err := w.dec.ReadToken(); err != nil {
		return err
	}
	there := map[place]bool{} // required names that this object has
	for w.dec.PeekKind() != '}' {
		token, err := w.dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		w.tokens = append(w.tokens, name)
		if err := w.value(w.member(places, name, there)); err != nil {
			return err
		}
		w.tokens = w.tokens[:len(w.tokens)-1]
	}
	w.missing(places, there)
	_, err := w.dec.ReadToken()
	return err
}

// member is where places lead through a member, whose value comes next. Null is no value that is required.
func (w *walk) member(places []place, name string, there map[place]bool) []place {
	var next []place
	for _, p := range places {
		path := &w.checker.paths[p.path]
		want := path.names[p.at]
		switch {
		case want == "**":
			next = w.enter(next, p)
			continue
		case want != "*" && want != name:
			continue
		}
		last := p.at == len(path.names)-1
		switch {
		case !last:
			there[p] = true // what is below it tells for itself
			next = w.enter(next, place{p.path, p.at + 1})
		case path.rule == Blocked:
			w.tell(path)
		case w.dec.PeekKind() != 'n':
			there[p] = true
		}
	}
	return next
}

// missing tells which required names a value does not have.
func (w *walk) missing(places []place, there map[place]bool) {
	for _, p := range places {
		path := &w.checker.paths[p.path]
		if path.rule == Required && !there[p] {
			w.tokens = append(w.tokens, path.names[p.at])
			w.tell(path)
			w.tokens = w.tokens[:len(w.tokens)-1]
		}
	}
}

func (w *walk) tell(p *path) {
	v := Violation{Pointer: pointer(w.tokens), Rule: p.rule, Path: p.text}
	if len(w.found) < MaxViolations && !slices.Contains(w.found, v) {
		w.found = append(w.found, v)
	}
}

func pointer(tokens []string) string {
	var b strings.Builder
	for _, token := range tokens {
		token = strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
		if b.Len()+1+len(token) > maxPointer {
			break
		}
		b.WriteString("/" + token)
	}
	return b.String()
}
