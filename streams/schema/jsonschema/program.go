package jsonschema

// program is a schema as a Run executes it. Every subschema that asserts something is a node; references are
// pointers, so that a recursive schema is a graph with cycles, which always pass through a member or an element.
type program struct {
	root  *node
	nodes int32
}

// kinds is a set of JSON types; integer is a part of number.
type kinds uint8

const (
	kindNull kinds = 1 << iota
	kindBoolean
	kindNumber
	kindInteger
	kindString
	kindArray
	kindObject

	anyKind = kindNull | kindBoolean | kindNumber | kindInteger | kindString | kindArray | kindObject
)

var kindNames = [...]struct {
	kind kinds
	name string
}{
	{kindNull, "null"}, {kindBoolean, "boolean"}, {kindNumber, "number"}, {kindInteger, "integer"},
	{kindString, "string"}, {kindArray, "array"}, {kindObject, "object"},
}

// node is one subschema. A part is nil where it asserts nothing.
type node struct {
	id     int32
	kinds  kinds  // what a value may be; none: no value is valid
	where  string // its place in the document
	number *numberRules
	text   *textRules
	enum   *valueSet
	one    *valueSet // const
	object *objectRules
	array  *arrayRules
	logic  *logic
}

type bound struct {
	number
	rule string // the keyword
	text string // as the schema has it
}

type numberRules struct {
	min, max   *bound // inclusive
	above      *bound // exclusiveMinimum
	below      *bound // exclusiveMaximum
	multipleOf *bound
}

type textRules struct {
	minLength, maxLength int // code points; maxLength -1: none
	pattern              *pattern
	format               *format
}

type objectRules struct {
	members    []member
	index      map[string]int32 // of members, where there are many
	bits       int              // members whose presence matters
	plain      bool             // of a member that is declared nothing else is asked
	required   []int32          // indexes of members
	patterns   []patternMember
	additional *node // nil: anything
	names      *node
	min, max   int // max -1: none
	dependents []dependent
}

// member is a name that the schema knows: one of properties, or one that is only required or depended on.
type member struct {
	name     string
	declared bool  // in properties
	node     *node // nil: anything
	bit      int32 // -1 where presence does not matter
	direct   bool  // a name in the input without an escape is this one as it stands
}

type patternMember struct {
	pattern *pattern
	node    *node
}

// dependent says: where the member of bit is, those of needs are too.
type dependent struct {
	rule  string
	on    int32 // index of a member
	needs []int32
}

// find is the index of a member, or -1.
func (o *objectRules) find(name []byte) int32 {
	if o.index != nil {
		if i, ok := o.index[string(name)]; ok {
			return i
		}
		return -1
	}
	for i := range o.members {
		if o.members[i].name == string(name) {
			return int32(i)
		}
	}
	return -1
}

type arrayRules struct {
	prefix                   []*node // nil elements: anything
	rest                     *node
	restRule                 string // the keyword that rest comes from
	min, max                 int    // max -1: none
	unique                   bool
	contains                 *node
	minContains, maxContains int
}

// logic are the subschemas that apply to the same value, and what their verdicts mean.
type logic struct {
	slots        []*node
	asserted     int // slots[:asserted] must all be valid: $ref, allOf
	anyOf, oneOf group
	not          int // index of a slot, or -1
	condition    int // if
	then         int
	otherwise    int
	dependents   []dependentSchema
}

type group struct{ from, to int }

func (g group) size() int { return g.to - g.from }

type dependentSchema struct {
	on   int32 // index of a member of objectRules
	slot int
}
