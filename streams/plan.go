package streams

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
)

// Action is one kind of step of a plan.
type Action string

// The actions, in the order in which Apply takes them.
const (
	Create     Action = "create"
	DropSource Action = "drop-source"
	Update     Action = "update"
	AddSource  Action = "add-source"
)

// Change is one step of a plan.
type Change struct {
	Action Action `json:"action"`
	Stream string `json:"stream"`
	Field  string `json:"field,omitempty"`
	Have   string `json:"have,omitempty"`
	Want   string `json:"want,omitempty"`

	source *jetstream.StreamSource
}

// String is the change as one line.
func (c Change) String() string {
	switch c.Action {
	case Create:
		return fmt.Sprintf("create stream %s", c.Stream)
	case Update:
		return fmt.Sprintf("update %s: %s from %s to %s", c.Stream, c.Field, c.Have, c.Want)
	case DropSource:
		return fmt.Sprintf("drop source of %s: %s", c.Stream, c.Have)
	default:
		return fmt.Sprintf("add source to %s: %s", c.Stream, c.Want)
	}
}

// Plan is the way from present to wanted.
type Plan struct {
	Changes []Change `json:"changes"`
}

// String is the plan as lines, "" when there is nothing to do.
func (p Plan) String() string {
	lines := make([]string, len(p.Changes))
	for i, c := range p.Changes {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}

// field is one setting that a plan compares. What the server fills in by itself is not listed.
type field struct {
	name string
	of   func(*jetstream.StreamConfig) any
	set  func(dst, src *jetstream.StreamConfig)
}

func fields() []field {
	return []field{
		{"subjects", func(c *jetstream.StreamConfig) any { return c.Subjects }, func(d, s *jetstream.StreamConfig) { d.Subjects = s.Subjects }},
		{"replicas", func(c *jetstream.StreamConfig) any { return c.Replicas }, func(d, s *jetstream.StreamConfig) { d.Replicas = s.Replicas }},
		{"max_age", func(c *jetstream.StreamConfig) any { return c.MaxAge }, func(d, s *jetstream.StreamConfig) { d.MaxAge = s.MaxAge }},
		{"max_bytes", func(c *jetstream.StreamConfig) any { return c.MaxBytes }, func(d, s *jetstream.StreamConfig) { d.MaxBytes = s.MaxBytes }},
		{"max_msgs", func(c *jetstream.StreamConfig) any { return c.MaxMsgs }, func(d, s *jetstream.StreamConfig) { d.MaxMsgs = s.MaxMsgs }},
		{"max_msgs_per_subject", func(c *jetstream.StreamConfig) any { return c.MaxMsgsPerSubject }, func(d, s *jetstream.StreamConfig) { d.MaxMsgsPerSubject = s.MaxMsgsPerSubject }},
		{"duplicate_window", func(c *jetstream.StreamConfig) any { return c.Duplicates }, func(d, s *jetstream.StreamConfig) { d.Duplicates = s.Duplicates }},
		{"discard", func(c *jetstream.StreamConfig) any { return c.Discard }, func(d, s *jetstream.StreamConfig) { d.Discard = s.Discard }},
		{"compression", func(c *jetstream.StreamConfig) any { return c.Compression }, func(d, s *jetstream.StreamConfig) { d.Compression = s.Compression }},
		{"deny_delete", func(c *jetstream.StreamConfig) any { return c.DenyDelete }, func(d, s *jetstream.StreamConfig) { d.DenyDelete = s.DenyDelete }},
		{"allow_msg_ttl", func(c *jetstream.StreamConfig) any { return c.AllowMsgTTL }, func(d, s *jetstream.StreamConfig) { d.AllowMsgTTL = s.AllowMsgTTL }},
		{"allow_direct", func(c *jetstream.StreamConfig) any { return c.AllowDirect }, func(d, s *jetstream.StreamConfig) { d.AllowDirect = s.AllowDirect }},
	}
}

// fixedFields can never be changed on a present stream.
func fixedFields() []field {
	return []field{
		{"storage", func(c *jetstream.StreamConfig) any { return c.Storage }, nil},
		{"retention", func(c *jetstream.StreamConfig) any { return c.Retention }, nil},
	}
}

// sourceKey identifies a source. A source whose filter or place differs is another source: editing one in
// place brings in all history again, so it is dropped and the other one added.
func sourceKey(s *jetstream.StreamSource) string {
	api, deliver := "", ""
	if s.External != nil {
		api, deliver = s.External.APIPrefix, s.External.DeliverPrefix
	}
	return fmt.Sprintf("%s from %s via %s, filter %s, start %d", s.Name, api, deliver, s.FilterSubject, s.OptStartSeq)
}

// Diff lists the steps from have to want; have is nil when the stream does not exist.
func Diff(want, have *jetstream.StreamConfig) ([]Change, error) {
	if have == nil {
		return []Change{{Action: Create, Stream: want.Name}}, nil
	}
	for _, f := range fixedFields() {
		if a, b := f.of(have), f.of(want); !reflect.DeepEqual(a, b) {
			return nil, fault.New("streams.diff", fault.Conflict, "immutable", "stream %s has %s %v and should have %v: this cannot be changed in place", want.Name, f.name, a, b)
		}
	}
	var out []Change
	for _, s := range have.Sources {
		if !hasSource(want.Sources, s) {
			out = append(out, Change{Action: DropSource, Stream: want.Name, Have: sourceKey(s), source: s})
		}
	}
	for _, f := range fields() {
		if a, b := f.of(have), f.of(want); !reflect.DeepEqual(a, b) {
			out = append(out, Change{Action: Update, Stream: want.Name, Field: f.name, Have: fmt.Sprint(a), Want: fmt.Sprint(b)})
		}
	}
	for _, s := range want.Sources {
		if !hasSource(have.Sources, s) {
			out = append(out, Change{Action: AddSource, Stream: want.Name, Want: sourceKey(s), source: s})
		}
	}
	return out, nil
}

func hasSource(list []*jetstream.StreamSource, s *jetstream.StreamSource) bool {
	return slices.ContainsFunc(list, func(o *jetstream.StreamSource) bool { return sourceKey(o) == sourceKey(s) })
}

// MakePlan compares the wanted streams with those of the region. It changes nothing.
func MakePlan(ctx context.Context, js jetstream.JetStream, want []jetstream.StreamConfig) (*Plan, error) {
	p := &Plan{Changes: []Change{}}
	for i := range want {
		have, err := present(ctx, js, want[i].Name)
		if err != nil {
			return nil, err
		}
		changes, err := Diff(&want[i], have)
		if err != nil {
			return nil, err
		}
		p.Changes = append(p.Changes, changes...)
	}
	return p, nil
}

// Apply makes the streams as wanted and returns what it did. Doing it twice does nothing the second time. A
// failure leaves every stream usable; calling again goes on from there.
func Apply(ctx context.Context, js jetstream.JetStream, want []jetstream.StreamConfig) (*Plan, error) {
	done := &Plan{Changes: []Change{}}
	for i := range want {
		changes, err := applyOne(ctx, js, &want[i])
		done.Changes = append(done.Changes, changes...)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func applyOne(ctx context.Context, js jetstream.JetStream, want *jetstream.StreamConfig) ([]Change, error) {
	have, err := present(ctx, js, want.Name)
	if err != nil {
		return nil, err
	}
	changes, err := Diff(want, have)
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	if changes[0].Action == Create {
		return changes, call(ctx, "streams.create "+want.Name, func(ctx context.Context) error {
			_, err := js.CreateStream(ctx, *want)
			return err
		})
	}
	// Three updates at most: sources that go, plain settings, sources that come. A source that is dropped
	// and added in one update would be taken for an edit in place.
	for _, action := range []Action{DropSource, Update, AddSource} {
		step := slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.Action != action })
		if len(step) == 0 {
			continue
		}
		edit(have, want, step)
		if err := update(ctx, js, have); err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// edit carries one kind of change into the present configuration.
func edit(have, want *jetstream.StreamConfig, step []Change) {
	for _, c := range step {
		switch c.Action {
		case DropSource:
			have.Sources = slices.DeleteFunc(have.Sources, func(s *jetstream.StreamSource) bool { return sourceKey(s) == sourceKey(c.source) })
		case AddSource:
			have.Sources = append(have.Sources, c.source)
		default:
			for _, f := range fields() {
				if f.name == c.Field {
					f.set(have, want)
				}
			}
		}
	}
}

// present is a stream's configuration, nil when it does not exist.
func present(ctx context.Context, js jetstream.JetStream, name string) (*jetstream.StreamConfig, error) {
	var cfg *jetstream.StreamConfig
	err := call(ctx, "streams.info "+name, func(ctx context.Context) error {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil
		}
		if err == nil {
			cfg = new(s.CachedInfo().Config)
		}
		return err
	})
	return cfg, err
}

func update(ctx context.Context, js jetstream.JetStream, cfg *jetstream.StreamConfig) error {
	return call(ctx, "streams.update "+cfg.Name, func(ctx context.Context) error {
		_, err := js.UpdateStream(ctx, *cfg)
		return err
	})
}
