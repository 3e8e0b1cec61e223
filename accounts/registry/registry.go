// Package registry says whether a version of a schema may be registered, and whether a registered one may take a step
// of its life: it compiles documents and compares them with those that are live.
//
// Hubs ask it before they write a record, the command line to compare versions. All functions are pure and safe for
// concurrent use.
package registry

import (
	"slices"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/compat"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
	"github.com/weft-mesh/weft/streams/schema/protobuf"
)

// Compiled is a document that its language takes; one of the two is not nil.
type Compiled struct {
	JSON  *jsonschema.Schema
	Proto *protobuf.Schema
}

// Compile reads a document. A refusal is a *fault.Error of kind Invalid that says where and what to do.
func Compile(d *schema.Document) (*Compiled, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	if len(d.Text) > accounts.MaxSchemaText {
		return nil, fault.New("schema.compile", fault.Invalid, "schema_too_large", "the document has %d bytes, and %d are possible: split the event type, or drop descriptions and examples", len(d.Text), accounts.MaxSchemaText)
	}
	if d.Language == schema.Protobuf {
		s, err := protobuf.Compile(d.Text, protobuf.Options{Message: d.Message})
		return &Compiled{Proto: s}, err
	}
	s, err := jsonschema.Compile(d.Text, jsonschema.DefaultOptions())
	return &Compiled{JSON: s}, err
}

// Slow says which keyword makes a JSON Schema one that is not checked while the event is decoded; "" is none.
func (c *Compiled) Slow() string {
	if c.JSON == nil {
		return ""
	}
	if streaming, keyword := c.JSON.Streaming(); !streaming {
		return keyword
	}
	return ""
}

// Compare says why a document may not follow others, oldest first; of no level at all, that nothing is asked.
func Compare(m compat.Mode, before []*schema.Document, next *schema.Document) ([]compat.Finding, error) {
	if m.Level == compat.None {
		return nil, nil
	}
	var jsons []compat.Version
	var protos []protobuf.Version
	var all []compat.Finding
	for _, d := range slices.Concat(before, []*schema.Document{next}) {
		if d.Language != next.Language {
			all = append(all, otherLanguage(d, next))
			continue
		}
		c, err := Compile(d)
		if err != nil {
			return nil, err
		}
		if c.JSON != nil {
			jsons = append(jsons, compat.Version{Name: d.Version.String(), Schema: c.JSON})
		} else {
			protos = append(protos, protobuf.Version{Name: d.Version.String(), Schema: c.Proto})
		}
	}
	if n := len(jsons); n > 0 {
		all = append(all, compat.Check(m, jsons[:n-1], jsons[n-1])...)
	}
	if n := len(protos); n > 0 {
		all = append(all, protobuf.Check(m.Level, protos[:n-1], protos[n-1])...)
	}
	return all[:min(len(all), compat.MaxFindings)], nil
}

func otherLanguage(old, next *schema.Document) compat.Finding {
	return compat.Finding{
		Direction: compat.Backward, Against: old.Version.String(), Rule: "language", Old: string(old.Language), New: string(next.Language),
		Detail: "documents of two languages cannot be compared", WayOut: "keep to the language, or register another event type", Proven: true,
	}
}

// Verdict is what the registry makes of a document.
type Verdict struct {
	Hash     string
	Slow     string           // Compiled.Slow
	Known    *accounts.Schema // the version is registered already, with this content
	Against  []string         // the live versions of its major, oldest first
	Findings []compat.Finding // why it may not follow them
}

// Admit judges a document against what its tenant has. An error is a refusal that no mode of compatibility changes.
func Admit(have []*accounts.Schema, d *schema.Document, m compat.Mode) (*Verdict, error) {
	c, err := Compile(d)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Slow: c.Slow(), Against: []string{}, Findings: []compat.Finding{}}
	if v.Hash, err = d.Hash(); err != nil {
		return nil, err
	}
	same := ofSubject(have, d.Subject)
	for _, one := range same {
		if one.Version != d.Version {
			continue
		}
		if one.Hash != v.Hash || one.Quarantined() {
			return nil, fault.New("schema.register", fault.Conflict, "schema_version_taken",
				"%s %s is registered with other content, and a version never changes: register it as %s", d.Subject, d.Version, following(same, d.Version))
		}
		v.Known = one
		return v, nil
	}
	if err := room(have, same, d); err != nil {
		return nil, err
	}
	if err := inOrder(same, d); err != nil {
		return nil, err
	}
	before := live(same, d.Version)
	for _, one := range before {
		v.Against = append(v.Against, one.Version.String())
	}
	found, err := Compare(m, before, d)
	v.Findings = append(v.Findings, found...)
	return v, err
}

// room refuses what would let the control log grow without an end.
func room(have, same []*accounts.Schema, d *schema.Document) error {
	total := len(d.Text)
	for _, one := range have {
		total += len(one.Text)
	}
	switch {
	case len(same) >= accounts.MaxSchemaVersions:
		return fault.New("schema.register", fault.Limited, "schema_versions", "%s has %d versions, and no more are possible: go on with another event type", d.Subject, len(same))
	case total > accounts.MaxSchemaBytes:
		return fault.New("schema.register", fault.Limited, "schema_bytes", "the tenant's schemas would have %d bytes, and %d are possible", total, accounts.MaxSchemaBytes)
	}
	return nil
}

// inOrder refuses versions of a major version that are out of order.
func inOrder(same []*accounts.Schema, d *schema.Document) error {
	for _, one := range slices.Backward(same) {
		if !d.Version.NewMajor(one.Version) && d.Version.Compare(one.Version) < 0 {
			return fault.New("schema.register", fault.Conflict, "schema_order",
				"%s has %s already, and versions are registered in order: register it as %s", d.Subject, one.Version, following(same, d.Version))
		}
	}
	return nil
}

// following is the next minor version of v's major that nobody has.
func following(same []*accounts.Schema, v schema.Version) schema.Version {
	for _, one := range same {
		if one.Version.Major == v.Major && one.Version.Compare(v) > 0 {
			v = one.Version
		}
	}
	return schema.Version{Major: v.Major, Minor: v.Minor + 1}
}

func ofSubject(have []*accounts.Schema, subject string) []*accounts.Schema {
	var out []*accounts.Schema
	for _, one := range have {
		if one.Subject == subject {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b *accounts.Schema) int { return a.Version.Compare(b.Version) })
	return out
}

// live are the documents below v, and of its major, that events may name.
func live(same []*accounts.Schema, v schema.Version) []*schema.Document {
	var out []*schema.Document
	for _, one := range same {
		if one.Accepts() && !v.NewMajor(one.Version) && one.Version.Compare(v) < 0 {
			out = append(out, one.Document())
		}
	}
	return out
}

// Step says whether a version may take a step. To become canary or active it has to follow what is live by then: drafts
// are not compared with each other. The findings are why it may not.
func Step(have []*accounts.Schema, s *accounts.Schema, to schema.Status, m compat.Mode) ([]compat.Finding, error) {
	if err := s.Status.May(to); err != nil {
		return nil, err
	}
	if s.Quarantined() && to != schema.Retired {
		return nil, fault.New("schema.step", fault.Conflict, "schema_quarantined",
			"two regions registered other content as %s %s: register the wanted one as %s and retire this", s.Subject, s.Version, following(ofSubject(have, s.Subject), s.Version))
	}
	if !Rises(s.Status, to) {
		return nil, nil
	}
	same := ofSubject(have, s.Subject)
	if err := fewCanaries(same, s, to); err != nil {
		return nil, err
	}
	for _, one := range slices.Backward(same) {
		if one.Accepts() && !s.Version.NewMajor(one.Version) && one.Version.Compare(s.Version) > 0 {
			return nil, fault.New("schema.step", fault.Conflict, "schema_order",
				"%s %s is %s already, and what it was compared with was not this: register it as %s", s.Subject, one.Version, one.Status, following(same, s.Version))
		}
	}
	return Compare(m, live(same, s.Version), s.Document())
}

// fewCanaries bounds how often relays read one event.
func fewCanaries(same []*accounts.Schema, s *accounts.Schema, to schema.Status) error {
	n := 0
	for _, one := range same {
		if one.Status == schema.Canary && !s.Version.NewMajor(one.Version) {
			n++
		}
	}
	if to != schema.Canary || n < accounts.MaxCanaries {
		return nil
	}
	return fault.New("schema.step", fault.Limited, "schema_canaries",
		"%s has %d canaries, and no more are possible at once: promote them, or make them drafts again", s.Subject, n)
}

// Rollback says which version of its major judges the events of an active one after it was taken back: the newest active
// one above it, else the newest one below it that is active, or deprecated: that has to become active again. Nil is none:
// then nothing does.
func Rollback(have []*accounts.Schema, s *accounts.Schema) (judge *accounts.Schema, err error) {
	switch {
	case s.Quarantined():
		return nil, fault.New("schema.rollback", fault.Conflict, "schema_quarantined", "%s %s is in quarantine, and nothing is judged by it: retire it", s.Subject, s.Version)
	case s.Status != schema.Active:
		return nil, fault.New("schema.rollback", fault.Conflict, "schema_step", "%s %s is %s, and what is rolled back is active", s.Subject, s.Version, s.Status)
	}
	for _, one := range ofSubject(have, s.Subject) {
		below := one.Version.Compare(s.Version) < 0
		if one.Version != s.Version && !s.Version.NewMajor(one.Version) && one.Enforced() && (below || one.Status == schema.Active) {
			judge = one
		}
	}
	return judge, nil
}

// Rises says whether a step lets a version say something about events for the first time.
func Rises(from, to schema.Status) bool {
	return from == schema.Draft && (to == schema.Canary || to == schema.Active) || from == schema.Canary && to == schema.Active
}
