package accounts

import (
	"cmp"
	"slices"
	"time"

	"github.com/weft-mesh/weft/streams/schema"
)

// Schema is one version of a schema of a tenant, as the control log holds it. What it says never changes; where it
// stands in its life does.
type Schema struct {
	Tenant   string          `json:"tenant"`
	Subject  string          `json:"subject"` // the event type
	Version  schema.Version  `json:"version"`
	Language schema.Language `json:"language"`
	Message  string          `json:"message,omitempty"` // of protobuf
	Text     []byte          `json:"text"`
	Hash     string          `json:"hash"` // schema.Document.Hash
	Status   schema.Status   `json:"status"`
	Steps    []SchemaStep    `json:"steps"` // oldest first; of more than MaxSchemaSteps the first one and the last ones

	// Run counts how often the version became canary or active. A verdict on how it does belongs to one run.
	Run int `json:"run,omitempty"`
	// Rollbacks counts how often it was taken back from active.
	Rollbacks int `json:"rollbacks,omitempty"`
	// Trial is what it has to show in its present run; nil where it is on no trial.
	Trial *TrialPolicy `json:"trial,omitempty"`
	// Counted is what had been counted of it when the run began.
	Counted Counts `json:"counted,omitzero"`

	// Others are hashes of other contents that were registered under this very version by regions that did not hear of
	// each other, sorted. While there are any the version is in quarantine, in all regions alike.
	Others []string `json:"others,omitempty"`
}

// SchemaStep is who put a version where it stands, and when.
type SchemaStep struct {
	Status schema.Status `json:"status"`
	By     string        `json:"by"` // a principal
	At     time.Time     `json:"at"`
	Why    string        `json:"why,omitempty"`
}

// Bounds of what the control log holds of schemas: every process of the mesh has all of it in memory.
const (
	MaxSchemaText     = 256 << 10 // bytes of one document
	MaxSchemaVersions = 200       // of one event type
	MaxSchemaBytes    = 8 << 20   // of all documents of a tenant
	MaxSchemaSteps    = 32        // told of one version
	MaxSchemaWhy      = 256       // bytes of a step's reason
	MaxCanaries       = 4         // at once, of one major version of an event type
)

// SchemaID names a version among those of all tenants.
func SchemaID(tenant, subject string, v schema.Version) string {
	return tenant + "." + subject + "." + v.String()
}

// ID is SchemaID.
func (s *Schema) ID() string { return SchemaID(s.Tenant, s.Subject, s.Version) }

// Document is what the version says.
func (s *Schema) Document() *schema.Document {
	return &schema.Document{Subject: s.Subject, Version: s.Version, Language: s.Language, Message: s.Message, Text: s.Text}
}

// Quarantined says whether two contents claim the version. Neither may be used: which one a producer meant by it
// cannot be known. The way out is to register the wanted one under another version, and to retire this one.
func (s *Schema) Quarantined() bool { return len(s.Others) > 0 && s.Status != schema.Retired }

// Enforced says whether events are refused by the version.
func (s *Schema) Enforced() bool { return s.Status.Enforced() && !s.Quarantined() }

// Accepts says whether events may name the version.
func (s *Schema) Accepts() bool { return s.Status.Accepts() && !s.Quarantined() }

// CanaryPercent is on what share of the keys the version is tried while it is a canary.
func (s *Schema) CanaryPercent() int {
	if s.Trial == nil {
		return DefaultCanaryPercent
	}
	return s.Trial.Share
}

// Compare ranks two records of one version by what only moves forward, whatever their clocks say: retirement is the end
// of all; then counts how often the version was rolled back; then whether it has been active since. Of the same rank the
// later one holds.
func (s *Schema) Compare(o *Schema) int {
	if a, b := s.age(), o.age(); (a == ended) != (b == ended) {
		return a - b
	}
	return cmp.Or(cmp.Compare(s.Rollbacks, o.Rollbacks), cmp.Compare(s.age(), o.age()))
}

// The parts of a life between two rollbacks.
const (
	unborn = iota // no status that is known: less than any other
	young         // has not been active
	grown         // has
	ended         // for good
)

func (s *Schema) age() int {
	switch s.Status {
	case schema.Draft, schema.Canary:
		return young
	case schema.Active, schema.Deprecated:
		return grown
	case schema.Retired:
		return ended
	default:
		return unborn
	}
}

// Beside is s, with the contents that other claims for the same version noted.
func (s *Schema) Beside(other *Schema) *Schema {
	var all []string
	for _, one := range []*Schema{s, other} {
		if one != nil {
			all = append(append(all, one.Hash), one.Others...)
		}
	}
	slices.Sort(all)
	all = slices.DeleteFunc(slices.Compact(all), func(h string) bool { return h == s.Hash })
	if len(all) == 0 {
		all = nil
	}
	next := *s
	next.Others = all
	return &next
}

// Rise is s after a step that lets it say something about events, and puts it on trial. counted is what is known of it
// from earlier ones.
func (s *Schema) Rise(step SchemaStep, p TrialPolicy, counted Counts) *Schema {
	next := s.Step(step)
	next.Run++
	next.Trial, next.Counted = &p, counted
	return next
}

// RollBack is s, which is active, as a canary again: events that name it are not refused for that, and what judges them
// is another version.
func (s *Schema) RollBack(step SchemaStep, p TrialPolicy, counted Counts) *Schema {
	step.Status = schema.Canary
	next := s.Rise(step, p, counted)
	next.Rollbacks++
	return next
}

// Step is s after one more step of its life, on no trial.
func (s *Schema) Step(step SchemaStep) *Schema {
	next := *s
	next.Status, next.Trial, next.Counted = step.Status, nil, Counts{}
	next.Steps = append(slices.Clone(s.Steps), step)
	if len(next.Steps) > MaxSchemaSteps {
		next.Steps = slices.Delete(next.Steps, 1, 1+len(next.Steps)-MaxSchemaSteps)
	}
	return &next
}
