package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
	"github.com/go-json-experiment/json/jsontext"
)

// The variables of expressions.
const (
	varPayload = "payload" // as it is before the step
	varItem    = "item"    // the element of the last array on the way
)

// Bounds of expressions beside MaxExpression and MaxCost.
const (
	maxNesting = 32     // of an expression, and of a value that it makes
	maxMemory  = 20_000 // elements, in CEL's count, that an evaluation may have at once
)

// environment has what expressions may say: CEL's standard functions and those for strings. None reads a clock or
// anything outside of the payload.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable(varPayload, cel.MapType(cel.StringType, cel.DynType)),
		cel.ParserExpressionSizeLimit(MaxExpression), cel.ParserRecursionLimit(maxNesting),
		ext.Strings(ext.StringsVersion(4), ext.StringsMaxPrecision(maxNesting)),
	)
})

var environmentOfItems = sync.OnceValues(func() (*cel.Env, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	return env.Extend(cel.Variable(varItem, cel.DynType))
})

// evaluation is an expression's failure on one payload.
type evaluation struct {
	detail string
	cause  error
}

func (e *evaluation) Error() string { return e.detail }

// compute compiles an expression. A whole number of 64 bits is an int in it, and any other number is a string of its
// digits, so that nothing is rounded unless the expression says double(…); a double is no result.
func compute(text string, at path) (func(*run, **node) error, error) {
	if text == "" || len(text) > MaxExpression {
		return nil, flawed("mapping_expression", `"cel" is the expression, of at most %d bytes`, MaxExpression)
	}
	env, err := environment()
	if len(at.head) > 0 {
		env, err = environmentOfItems()
	}
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, flawed("mapping_expression", "%s", firstLine(issues.Err()))
	}
	if t := ast.OutputType(); !writable(t.Kind()) {
		return nil, flawed("mapping_expression", "it makes a %s, and JSON has none that is exact: make an int, a string, a bool, a list or a map", t)
	}
	program, err := env.Program(ast, cel.CostLimit(MaxCost), cel.MemoryLimit(maxMemory))
	if err != nil {
		return nil, flawed("mapping_expression", "%s", firstLine(err))
	}
	return func(r *run, base **node) error {
		if len(at.tail) > 1 && !reachable(*base, at.tail[:len(at.tail)-1]) {
			return errNoObject
		}
		value, _, err := program.Eval(&variables{r, *base})
		if err != nil {
			return failed(err)
		}
		n, err := written(value, maxNesting)
		if err != nil {
			return err
		}
		if err := r.grow(n.size()); err != nil {
			return err
		}
		if len(at.tail) == 0 {
			*base = n
			return nil
		}
		return put(*base, at.tail, n)
	}, nil
}

// reachable says whether nothing but objects, or nothing, is on the way.
func reachable(n *node, names []string) bool {
	for _, name := range names {
		i := n.find(name)
		if i < 0 {
			return n.kind == '{'
		}
		n = n.members[i].value
	}
	return n.kind == '{'
}

func writable(k types.Kind) bool {
	switch k {
	case types.DynKind, types.AnyKind, types.BoolKind, types.IntKind, types.UintKind, types.StringKind, types.ListKind, types.MapKind, types.NullTypeKind:
		return true
	default:
		return false
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimPrefix(line, "ERROR: ")
}

func failed(err error) error {
	if e, ok := errors.AsType[interpreter.EvalCancelledError](err); ok {
		switch e.Cause {
		case interpreter.CostLimitExceeded:
			return &evaluation{fmt.Sprintf("the expression costs more than %d", MaxCost), err}
		case interpreter.MemoryLimitExceeded:
			return &evaluation{"the expression needs too much memory", err}
		}
	}
	return &evaluation{"the expression has no value for this payload", err}
}

// variables gives expressions the payload, made when they ask.
type variables struct {
	r    *run
	item *node
}

func (v *variables) ResolveName(name string) (any, bool) {
	switch name {
	case varPayload:
		if v.r.computed == nil {
			v.r.computed = v.r.root.plain()
		}
		return v.r.computed, true
	case varItem:
		return v.item.plain(), true
	}
	return nil, false
}

func (*variables) Parent() interpreter.Activation { return nil }

// plain is the value as expressions see it.
func (n *node) plain() any {
	switch n.kind {
	case '{':
		m := make(map[string]any, len(n.members))
		for _, one := range n.members {
			m[one.name] = one.value.plain()
		}
		return m
	case '[':
		list := make([]any, 0, len(n.elements))
		for _, one := range n.elements {
			list = append(list, one.plain())
		}
		return list
	case '"':
		return n.text()
	case '0':
		if i, err := strconv.ParseInt(string(n.raw), 10, 64); err == nil {
			return i
		}
		return string(n.raw)
	case 't', 'f':
		return n.kind == 't'
	}
	return types.NullValue
}

var errTooDeep = errors.New("the expression makes a value that is nested too deep")

// written is an expression's result as JSON; members of a map in the order of their names.
func written(v ref.Val, depth int) (*node, error) {
	if depth == 0 {
		return nil, errTooDeep
	}
	switch v := v.(type) {
	case types.Int:
		return &node{kind: '0', raw: strconv.AppendInt(nil, int64(v), 10)}, nil
	case types.Uint:
		return &node{kind: '0', raw: strconv.AppendUint(nil, uint64(v), 10)}, nil
	case types.String:
		return quoted(string(v)), nil
	case types.Bool:
		text := strconv.FormatBool(bool(v))
		return &node{kind: kindOfBool(bool(v)), raw: []byte(text)}, nil
	case types.Null:
		return &node{kind: 'n', raw: []byte("null")}, nil
	case traits.Lister:
		n := &node{kind: '['}
		for it := v.Iterator(); it.HasNext() == types.True; {
			e, err := written(it.Next(), depth-1)
			if err != nil {
				return nil, err
			}
			n.elements = append(n.elements, e)
		}
		return n, nil
	case traits.Mapper:
		return writtenMap(v, depth)
	}
	return nil, fmt.Errorf("the expression makes a %s, and JSON has none that is exact", v.Type().TypeName())
}

func kindOfBool(b bool) jsontext.Kind {
	if b {
		return 't'
	}
	return 'f'
}

func writtenMap(m traits.Mapper, depth int) (*node, error) {
	values := map[string]ref.Val{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, errors.New("the expression makes a map whose keys are no strings")
		}
		values[string(name)] = m.Get(key)
	}
	n := &node{kind: '{'}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v, err := written(values[name], depth-1)
		if err != nil {
			return nil, err
		}
		n.members = append(n.members, member{name, v})
	}
	return n, nil
}
