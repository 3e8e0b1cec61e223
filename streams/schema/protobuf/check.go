package protobuf

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weft-mesh/weft/streams/schema/compat"
)

// Version is a schema with its name.
type Version struct {
	Name   string
	Schema *Schema
}

// Check compares a new version with those before it, oldest first. No finding: it may follow. Readers are taken to
// ignore fields and values of enums that they do not know, as protobuf's do.
func Check(level compat.Level, before []Version, next Version) []compat.Finding {
	if !level.Transitive() && len(before) > 1 {
		before = before[len(before)-1:]
	}
	backward, forward := level.Directions()
	var all []compat.Finding
	for i := len(before) - 1; i >= 0; i-- {
		old := before[i]
		if backward {
			c := comparison{direction: compat.Backward, against: old.Name, evolve: true, seen: map[pair]bool{}}
			c.messages(old.Schema.message, next.Schema.message, "")
			all = append(all, c.found...)
		}
		if forward {
			c := comparison{direction: compat.Forward, against: old.Name, evolve: !backward, seen: map[pair]bool{}}
			c.messages(old.Schema.message, next.Schema.message, "")
			all = append(all, c.found...)
		}
	}
	return all[:min(len(all), compat.MaxFindings)]
}

type pair struct{ old, next protoreflect.FullName }

// comparison is one of two versions, in one direction.
type comparison struct {
	direction compat.Level
	against   string
	evolve    bool // tell also what no version may do to its numbers and names
	seen      map[pair]bool
	found     []compat.Finding
}

func (c *comparison) tell(d protoreflect.Descriptor, path, rule, before, after, detail string) {
	c.found = append(c.found, compat.Finding{
		Direction: c.direction, Against: c.against, Path: path, Schema: string(d.FullName()), Rule: rule,
		Old: before, New: after, Detail: detail, WayOut: ways[rule], Proven: true,
	})
}

var ways = map[string]string{
	"removed":        "reserve the number and the name: reserved 3; reserved \"name\";",
	"reserved":       "take a number and a name that no version had",
	"unreserved":     "keep the number or the name reserved for ever",
	"type":           "add a field of another number and name, and let the old one be",
	"cardinality":    "add a field of another number and name, and let the old one be",
	"name":           "keep the name; where another is wanted in code, set json_name to the old one",
	"oneof":          "leave the field where it was, and add one to the oneof",
	"required":       "leave the field optional, and check for it in the reader",
	"value removed":  "reserve the number and the name in the enum",
	"value renamed":  "keep the name of the number, and add an alias or another value",
	"value for zero": "keep the first value of the enum: it is what readers take for a value that is not there",
	"enum is closed": "keep the enum as it was",
	"map":            "add a field of another number and name, and let the old one be",
}

func (c *comparison) messages(old, next protoreflect.MessageDescriptor, path string) {
	at := pair{old.FullName(), next.FullName()}
	if c.seen[at] {
		return
	}
	c.seen[at] = true
	for _, f := range fields(old) {
		g := next.Fields().ByNumber(f.Number())
		if g == nil {
			c.removed(f, next, path)
			continue
		}
		c.fields(f, g, path+"/"+f.JSONName())
	}
	for _, g := range fields(next) {
		if old.Fields().ByNumber(g.Number()) == nil {
			c.added(g, old, path+"/"+g.JSONName())
		}
	}
	if c.evolve {
		c.reserved(old, next, path)
	}
}

func show(f protoreflect.FieldDescriptor) string {
	return fmt.Sprintf("%s %s = %d", typeName(f), f.Name(), f.Number())
}

func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map<" + typeName(f.MapKey()) + ", " + typeName(f.MapValue()) + ">"
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func (c *comparison) removed(f protoreflect.FieldDescriptor, next protoreflect.MessageDescriptor, path string) {
	at := path + "/" + f.JSONName()
	if f.Cardinality() == protoreflect.Required && c.direction == compat.Forward {
		c.tell(f, at, "required", show(f), "", "readers of the old version refuse a message without the field")
		return
	}
	if !c.evolve {
		return
	}
	switch g := next.Fields().ByName(f.Name()); {
	case g != nil:
		c.tell(f, at, "name", show(f), show(g), "the name moved to another number: JSON and the wire disagree")
	case !next.ReservedRanges().Has(f.Number()):
		c.tell(f, at, "removed", show(f), "", "the number is free to be used for something else")
	case !next.ReservedNames().Has(f.Name()):
		c.tell(f, at, "removed", show(f), fmt.Sprintf("reserved %d", f.Number()), "the name is free to be used for something else, in JSON")
	}
}

func (c *comparison) added(g protoreflect.FieldDescriptor, old protoreflect.MessageDescriptor, path string) {
	if g.Cardinality() == protoreflect.Required && c.direction == compat.Backward {
		c.tell(g, path, "required", "", show(g), "messages of the old version do not have the field")
	}
	if c.evolve && (old.ReservedRanges().Has(g.Number()) || old.ReservedNames().Has(g.Name())) {
		c.tell(g, path, "reserved", "reserved", show(g), "an earlier version had a field of this number or name")
	}
}

func (c *comparison) reserved(old, next protoreflect.MessageDescriptor, path string) {
	for i := range old.ReservedRanges().Len() {
		r := old.ReservedRanges().Get(i)
		if !covers(next.ReservedRanges(), next, r) {
			c.tell(next, path, "unreserved", fmt.Sprintf("reserved %d to %d", r[0], r[1]-1), "", "numbers of fields that an earlier version had are free again")
		}
	}
	for i := range old.ReservedNames().Len() {
		n := old.ReservedNames().Get(i)
		if !next.ReservedNames().Has(n) && next.Fields().ByName(n) == nil {
			c.tell(next, path, "unreserved", "reserved "+string(n), "", "the name of a field that an earlier version had is free again")
		}
	}
}

// covers says whether each number of r is reserved, or used by a field, which is told of for itself.
func covers(ranges protoreflect.FieldRanges, m protoreflect.MessageDescriptor, r [2]protoreflect.FieldNumber) bool {
	for n := r[0]; n < r[1]; {
		end := n
		for i := range ranges.Len() {
			if s := ranges.Get(i); s[0] <= n && n < s[1] {
				end = s[1]
			}
		}
		if m.Fields().ByNumber(n) != nil {
			end = n + 1
		}
		if end == n {
			return false
		}
		n = end
	}
	return true
}

func (c *comparison) fields(f, g protoreflect.FieldDescriptor, path string) {
	if f.JSONName() != g.JSONName() {
		c.tell(g, path, "name", f.JSONName(), g.JSONName(), "JSON knows the field by its name")
	}
	switch {
	case f.IsMap() != g.IsMap():
		c.tell(g, path, "map", show(f), show(g), "a map is another form of JSON")
		return
	case f.IsList() != g.IsList():
		c.tell(g, path, "cardinality", f.Cardinality().String(), g.Cardinality().String(), "JSON has one value here and a list there")
		return
	}
	switch required := protoreflect.Required; {
	case c.direction == compat.Backward && g.Cardinality() == required && f.Cardinality() != required:
		c.tell(g, path, "required", show(f), show(g), "messages of the old version need not have the field")
	case c.direction == compat.Forward && f.Cardinality() == required && g.Cardinality() != required:
		c.tell(g, path, "required", show(f), show(g), "readers of the old version refuse a message without the field")
	}
	if a, b := union(f), union(g); a != b {
		c.tell(g, path, "oneof", a, b, "writing one field of a oneof clears the others")
	}
	if f.IsMap() {
		c.types(f.MapKey(), g.MapKey(), path+"/*")
		c.types(f.MapValue(), g.MapValue(), path+"/*")
		return
	}
	c.types(f, g, path)
}

// union is the name of the oneof that a field is in, "" if none.
func union(f protoreflect.FieldDescriptor) string {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return string(o.Name())
	}
	return ""
}

func (c *comparison) types(f, g protoreflect.FieldDescriptor, path string) {
	from, to := f.Kind(), g.Kind()
	if c.direction == compat.Forward {
		from, to = to, from
	}
	switch {
	case !reads(from, to):
		c.tell(g, path, "type", typeName(f), typeName(g), "values of the one type are not read as the other, on the wire or in JSON")
	case f.Message() != nil:
		if wellKnown(f.Message()) || wellKnown(g.Message()) {
			if f.Message().FullName() != g.Message().FullName() {
				c.tell(g, path, "type", typeName(f), typeName(g), "protobuf's own messages have JSON forms of their own")
			}
			return
		}
		c.messages(f.Message(), g.Message(), path)
	case f.Enum() != nil:
		c.enums(f.Enum(), g.Enum(), path)
	}
}

func wellKnown(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Package() == "google.protobuf"
}

// reads says whether values written as from are read as to, on the wire and in JSON. Narrowing loses values; bool and
// numbers, and string and bytes, agree on the wire but not in JSON.
func reads(from, to protoreflect.Kind) bool {
	if from == to {
		return true
	}
	const (
		int32Kind, uint32Kind = protoreflect.Int32Kind, protoreflect.Uint32Kind
		int64Kind, uint64Kind = protoreflect.Int64Kind, protoreflect.Uint64Kind
	)
	switch from {
	case int32Kind:
		return to == int64Kind
	case uint32Kind:
		return to == int64Kind || to == uint64Kind
	case protoreflect.Sint32Kind:
		return to == protoreflect.Sint64Kind
	}
	return false
}

func (c *comparison) enums(old, next protoreflect.EnumDescriptor, path string) {
	at := pair{old.FullName(), next.FullName()}
	if c.seen[at] {
		return
	}
	c.seen[at] = true
	if old.Values().Get(0).Number() != next.Values().Get(0).Number() {
		c.tell(next, path, "value for zero", string(old.Values().Get(0).Name()), string(next.Values().Get(0).Name()), "the first value is the one that a missing field has")
	}
	if old.IsClosed() != next.IsClosed() {
		c.tell(next, path, "enum is closed", fmt.Sprint(old.IsClosed()), fmt.Sprint(next.IsClosed()), "a closed enum drops numbers that it does not know")
	}
	for i := range old.Values().Len() {
		v := old.Values().Get(i)
		w := next.Values().ByName(v.Name())
		switch {
		case w != nil && w.Number() == v.Number():
		case w != nil:
			c.tell(next, path, "value renamed", fmt.Sprintf("%s = %d", v.Name(), v.Number()), fmt.Sprintf("%s = %d", w.Name(), w.Number()), "JSON and the wire disagree on the value")
		case next.Values().ByNumber(v.Number()) != nil:
			if c.direction == compat.Backward || c.evolve {
				c.tell(next, path, "value renamed", fmt.Sprintf("%s = %d", v.Name(), v.Number()), string(next.Values().ByNumber(v.Number()).Name()), "JSON knows the value by its name")
			}
		case c.evolve && (!next.ReservedRanges().Has(v.Number()) || !next.ReservedNames().Has(v.Name())):
			c.tell(next, path, "value removed", fmt.Sprintf("%s = %d", v.Name(), v.Number()), "", "the number or the name is free to be used for something else")
		}
	}
}
