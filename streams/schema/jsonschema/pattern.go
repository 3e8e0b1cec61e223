package jsonschema

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// pattern is a regular expression: RE2, which takes time linear in the text. Those that are small enough also have
// a table, which takes one step for each byte of ASCII text.
type pattern struct {
	source string
	re     *regexp.Regexp
	table  *table
}

// String is the pattern as the schema has it. With MatchString it makes a pattern one of the library's.
func (p *pattern) String() string { return p.source }

// MatchString says whether s contains a match.
func (p *pattern) MatchString(s string) bool { return p.re.MatchString(s) }

func (p *pattern) match(b []byte) bool {
	if p.table != nil {
		if yes, ok := p.table.match(b, utf8.RuneSelf); ok {
			return yes
		}
	}
	return p.re.Match(b)
}

// quick matches a text between its quotes, as it stands in the input; it is no answer where that has an escape before
// the answer is known.
func (p *pattern) quick(quoted []byte) (yes, ok bool) {
	if p.table == nil {
		return false, false
	}
	return p.table.match(quoted, '\\')
}

// compilePattern reads an ECMA-262 expression as RE2. \uXXXX becomes \x{XXXX}; what RE2 lacks is refused.
func compilePattern(source string, limit int) (*pattern, error) {
	if len(source) > limit {
		return nil, fmt.Errorf("a pattern of %d bytes, the limit is %d", len(source), limit)
	}
	if !utf8.ValidString(source) {
		return nil, fmt.Errorf("a pattern that is no UTF-8")
	}
	text := translate(source)
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%w (patterns are RE2: no look-around, no back references)", err)
	}
	return &pattern{source: source, re: re, table: newTable(text)}, nil
}

// translate writes the escape that RE2 does not know in the way that it does.
func translate(source string) string {
	if !strings.Contains(source, `\u`) {
		return source
	}
	var b strings.Builder
	for i := 0; i < len(source); i++ {
		if source[i] != '\\' || i+1 == len(source) {
			b.WriteByte(source[i])
			continue
		}
		i++
		if source[i] == 'u' && i+4 < len(source) {
			if _, err := strconv.ParseUint(source[i+1:i+5], 16, 32); err == nil {
				b.WriteString(`\x{` + source[i+1:i+5] + `}`)
				i += 4
				continue
			}
		}
		b.WriteByte('\\')
		b.WriteByte(source[i])
	}
	return b.String()
}

// table is a deterministic automaton over ASCII. States are rows of 128 next states.
type table struct {
	next   [][utf8.RuneSelf]uint8
	accept []bool // a match that does not depend on what follows: true for ever
	ends   []bool // a match if the text ends here
}

const maxStates = 64

// match walks b; it is no answer where b is not ASCII, or has the byte to stop at.
func (t *table) match(b []byte, stop byte) (yes, ok bool) {
	state := uint8(0)
	for _, c := range b {
		if t.accept[state] {
			return true, true
		}
		if c >= utf8.RuneSelf || c == stop {
			return false, false
		}
		state = t.next[state][c]
	}
	return t.accept[state] || t.ends[state], true
}

// newTable is nil for an expression that is too large or looks around.
func newTable(text string) *table {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(prog.Inst) > 512 {
		return nil
	}
	b := &builder{prog: prog, index: map[string]uint8{}, table: &table{}}
	if !b.build() {
		return nil
	}
	return b.table
}

// builder makes a table by the subset construction.
type builder struct {
	prog  *syntax.Prog
	index map[string]uint8 // of states, by their sets of instructions
	sets  [][]uint32
	table *table
}

func (b *builder) build() bool {
	first, ok := b.closure([]uint32{uint32(b.prog.Start)}, true, false)
	if !ok {
		return false
	}
	if _, ok = b.state(first); !ok {
		return false
	}
	for i := 0; i < len(b.sets); i++ {
		for c := range rune(utf8.RuneSelf) {
			var step []uint32
			for _, pc := range b.sets[i] {
				if inst := &b.prog.Inst[pc]; inst.MatchRune(c) {
					step = append(step, inst.Out)
				}
			}
			// A search may begin at every byte, but a text begins once.
			set, ok := b.closure(append(step, uint32(b.prog.Start)), false, false)
			if !ok {
				return false
			}
			state, ok := b.state(set)
			if !ok {
				return false
			}
			b.table.next[i][c] = state
		}
	}
	return true
}

// state is the number of a set of instructions.
func (b *builder) state(set []uint32) (uint8, bool) {
	key := fmt.Sprint(set)
	if n, ok := b.index[key]; ok {
		return n, true
	}
	if len(b.sets) == maxStates {
		return 0, false
	}
	accepts := func(set []uint32) bool {
		for _, pc := range set {
			if b.prog.Inst[pc].Op == syntax.InstMatch {
				return true
			}
		}
		return false
	}
	ended, ok := b.closure(set, len(b.sets) == 0, true)
	if !ok {
		return 0, false
	}
	n := uint8(len(b.sets))
	b.index[key] = n
	b.sets = append(b.sets, set)
	b.table.next = append(b.table.next, [utf8.RuneSelf]uint8{})
	b.table.accept = append(b.table.accept, accepts(set))
	b.table.ends = append(b.table.ends, accepts(ended))
	return n, true
}

// closure follows what consumes nothing, at the beginning or the end of the text or at neither. Instructions that
// wait for the end stay in the set. It is not ok where the expression looks at lines or words.
func (b *builder) closure(from []uint32, begin, end bool) ([]uint32, bool) {
	seen := make([]bool, len(b.prog.Inst))
	var set []uint32
	stack := slices.Clone(from)
	for len(stack) > 0 {
		pc := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		inst := &b.prog.Inst[pc]
		switch inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			stack = append(stack, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			stack = append(stack, inst.Out)
		case syntax.InstEmptyWidth:
			switch syntax.EmptyOp(inst.Arg) {
			case syntax.EmptyBeginText:
				if end {
					return nil, false // $^ : the end that is also the beginning would need a state of its own
				}
				if begin {
					stack = append(stack, inst.Out)
				}
			case syntax.EmptyEndText:
				set = append(set, pc)
				if end {
					stack = append(stack, inst.Out)
				}
			default:
				return nil, false
			}
		case syntax.InstFail:
		default:
			set = append(set, pc)
		}
	}
	slices.Sort(set)
	return set, true
}
