package streams

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
)

// Action is what a Change does.
type Action string

// The actions, in the order in which Apply takes them for one stream.
const (
	Create     Action = "create"
	DropSource Action = "drop-source"
	Update     Action = "update"
	AddSource  Action = "add-source"
)

// Change is one difference between a wanted and a present stream.
type Change struct {
	Action      Action `json:"action"`
	Stream      string `json:"stream"`
	Field       string `json:"field,omitempty"`
	Want        string `json:"want,omitempty"`
	Have        string `json:"have,omitempty"`
	Destructive bool   `json:"destructive,omitempty"` // the server may remove stored messages
}

// String is one line, such as "~ EVENTS MaxAge: 1h0m0s -> 168h0m0s".
func (c Change) String() string {
	var line string
	switch c.Action {
	case Create:
		line = "+ " + c.Stream + ": " + c.Want
	case DropSource:
		line = "- " + c.Stream + " source: " + c.Have
	case AddSource:
		line = "+ " + c.Stream + " source: " + c.Want
	default:
		line = fmt.Sprintf("~ %s %s: %s -> %s", c.Stream, c.Field, c.Have, c.Want)
	}
	if c.Destructive {
		line += "  (removes stored messages)"
	}
	return line
}

// field is one compared setting of a stream. What is not in the table (placement, metadata, consumer limits)
// is left as the server or an operator made it.
type field struct {
	name  string
	get   func(*jetstream.StreamConfig) any
	fixed bool // the server cannot change it in place
	stays bool // once on, the server does not turn it off
	limit bool // a lower value removes messages; 0 and below stand for no limit
}

func fields() []field {
	type config = jetstream.StreamConfig
	return []field{
		{name: "Storage", get: func(c *config) any { return c.Storage }, fixed: true},
		{name: "Retention", get: func(c *config) any { return c.Retention }, fixed: true},
		{name: "DenyDelete", get: func(c *config) any { return c.DenyDelete }, stays: true},
		{name: "DenyPurge", get: func(c *config) any { return c.DenyPurge }, stays: true},
		{name: "Subjects", get: func(c *config) any { return strings.Join(slices.Sorted(slices.Values(c.Subjects)), " ") }},
		{name: "Replicas", get: func(c *config) any { return max(1, c.Replicas) }},
		{name: "MaxAge", get: func(c *config) any { return c.MaxAge }, limit: true},
		{name: "MaxBytes", get: func(c *config) any { return orUnlimited(c.MaxBytes) }, limit: true},
		{name: "MaxMsgs", get: func(c *config) any { return orUnlimited(c.MaxMsgs) }, limit: true},
		{name: "MaxMsgsPerSubject", get: func(c *config) any { return orUnlimited(c.MaxMsgsPerSubject) }, limit: true},
		{name: "MaxMsgSize", get: func(c *config) any { return orUnlimited(int64(c.MaxMsgSize)) }},
		{name: "MaxConsumers", get: func(c *config) any { return orUnlimited(int64(c.MaxConsumers)) }},
		{name: "Discard", get: func(c *config) any { return c.Discard }},
		{name: "Duplicates", get: func(c *config) any { return c.Duplicates }},
		{name: "Compression", get: func(c *config) any { return c.Compression }},
		{name: "AllowDirect", get: func(c *config) any { return c.AllowDirect }},
		{name: "AllowMsgTTL", get: func(c *config) any { return c.AllowMsgTTL }, stays: true},
		{name: "AllowRollup", get: func(c *config) any { return c.AllowRollup }},
		{name: "AllowAtomicPublish", get: func(c *config) any { return c.AllowAtomicPublish }},
		{name: "AllowBatchPublish", get: func(c *config) any { return c.AllowBatchPublish }},
		{name: "NoAck", get: func(c *config) any { return c.NoAck }},
		{name: "Sealed", get: func(c *config) any { return c.Sealed }, stays: true},
		{name: "SubjectTransform", get: func(c *config) any { return deref(c.SubjectTransform) }},
		{name: "RePublish", get: func(c *config) any { return deref(c.RePublish) }},
		{name: "Mirror", get: func(c *config) any { return mirror(c.Mirror) }, fixed: true},
	}
}

func orUnlimited(n int64) int64 {
	if n <= 0 {
		return -1
	}
	return n
}

func deref[T any](p *T) string {
	if p == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *p)
}

func mirror(s *jetstream.StreamSource) string {
	if s == nil {
		return "none"
	}
	return sourceText(s)
}

// removes says whether going from have to want lowers a limit.
func (f field) removes(want, have any) bool {
	if !f.limit {
		return false
	}
	w, h := reflect.ValueOf(want).Int(), reflect.ValueOf(have).Int()
	return w > 0 && (h <= 0 || w < h)
}

// Diff is what has to be done to have so that it becomes want, in the order of doing it; have nil means that
// the stream does not exist. A source whose filter, place or start differs is never edited in place, which
// would bring all of its history in again: it is dropped and added. What the server cannot change is an error
// of kind Conflict.
func Diff(want, have *jetstream.StreamConfig) ([]Change, error) {
	d, err := compare(want, have)
	if err != nil {
		return nil, err
	}
	return d.changes(), nil
}

// delta is a difference in the form in which Apply works it off.
type delta struct {
	want      *jetstream.StreamConfig
	create    bool
	drop, add []*jetstream.StreamSource
	fields    []Change
}

func compare(want, have *jetstream.StreamConfig) (*delta, error) {
	const op = "streams.diff"
	for _, s := range want.Sources {
		if len(s.SubjectTransforms) > 0 {
			return nil, fault.New(op, fault.Invalid, "transform", "%s: source %s has subject transforms; use a filter", want.Name, s.Name)
		}
	}
	d := &delta{want: want, create: have == nil}
	if have == nil {
		return d, nil
	}
	if want.Name != have.Name {
		return nil, fault.New(op, fault.Invalid, "other_stream", "%s compared with %s", want.Name, have.Name)
	}
	for _, f := range fields() {
		w, h := f.get(want), f.get(have)
		if w == h || (f.name == "Duplicates" && w == time.Duration(0)) {
			continue
		}
		if f.fixed || (f.stays && h == true) {
			return nil, fault.New(op, fault.Conflict, "immutable", "%s: %s is %v and cannot become %v: the stream would have to be made anew", want.Name, f.name, h, w)
		}
		d.fields = append(d.fields, Change{Action: Update, Stream: want.Name, Field: f.name,
			Want: fmt.Sprint(w), Have: fmt.Sprint(h), Destructive: f.removes(w, h)})
	}
	d.drop = missing(have.Sources, want.Sources)
	d.add = missing(want.Sources, have.Sources)
	return d, nil
}

// missing are the sources of list that other has not in exactly this form.
func missing(list, other []*jetstream.StreamSource) []*jetstream.StreamSource {
	var out []*jetstream.StreamSource
	for _, s := range list {
		if !slices.ContainsFunc(other, func(o *jetstream.StreamSource) bool { return equalSource(s, o) }) {
			out = append(out, s)
		}
	}
	return out
}

func equalSource(x, y *jetstream.StreamSource) bool { return sourceText(x) == sourceText(y) }

// sourceText names everything that makes a source what it is.
func sourceText(s *jetstream.StreamSource) string {
	var b strings.Builder
	b.WriteString(s.Name)
	if s.FilterSubject != "" {
		b.WriteString(" " + s.FilterSubject)
	}
	if api, deliver := external(s); api != "" {
		fmt.Fprintf(&b, " from %s", api)
		if deliver != "" {
			fmt.Fprintf(&b, " to %s", deliver)
		}
	}
	if s.OptStartSeq > 0 {
		fmt.Fprintf(&b, " start %d", s.OptStartSeq)
	}
	if s.OptStartTime != nil {
		fmt.Fprintf(&b, " start %s", s.OptStartTime.UTC().Format(time.RFC3339Nano))
	}
	for _, t := range s.SubjectTransforms {
		fmt.Fprintf(&b, " transform %s>%s", t.Source, t.Destination)
	}
	if s.Consumer != nil {
		fmt.Fprintf(&b, " consumer %+v", *s.Consumer)
	}
	return b.String()
}

// external is where a source reads: the API prefix of another region and the subjects that it delivers to.
func external(s *jetstream.StreamSource) (api, deliver string) {
	switch {
	case s.External != nil:
		return s.External.APIPrefix, s.External.DeliverPrefix
	case s.Domain != "":
		return "$JS." + s.Domain + ".API", ""
	}
	return "", ""
}

func (d *delta) changes() []Change {
	if d.create {
		return []Change{{Action: Create, Stream: d.want.Name, Want: describe(d.want)}}
	}
	var out []Change
	for _, s := range d.drop {
		out = append(out, Change{Action: DropSource, Stream: d.want.Name, Have: sourceText(s)})
	}
	out = append(out, d.fields...)
	for _, s := range d.add {
		out = append(out, Change{Action: AddSource, Stream: d.want.Name, Want: sourceText(s)})
	}
	return out
}

// describe is a stream in one line, for the plan of a stream to come.
func describe(c *jetstream.StreamConfig) string {
	text := fmt.Sprintf("%s, %d replicas, %d sources", strings.Join(c.Subjects, " "), max(1, c.Replicas), len(c.Sources))
	if c.MaxAge > 0 {
		text += ", at most " + c.MaxAge.String()
	}
	if c.MaxBytes > 0 {
		text += fmt.Sprintf(", at most %s", bytesText(c.MaxBytes))
	}
	return text
}

// merged is have with the wanted settings and the given sources; what the table does not know stays.
func merged(want, have *jetstream.StreamConfig, sources []*jetstream.StreamSource) jetstream.StreamConfig {
	c := *want
	c.Sources = sources
	if c.Duplicates == 0 {
		c.Duplicates = have.Duplicates
	}
	if c.Description == "" {
		c.Description = have.Description
	}
	if c.Placement == nil {
		c.Placement = have.Placement
	}
	c.Metadata = maps.Clone(have.Metadata)
	c.ConsumerLimits = have.ConsumerLimits
	c.FirstSeq = have.FirstSeq
	return c
}
