package accounts

import (
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
)

// DefaultCanaryPercent is the share of keys on whose events a canary is tried.
const DefaultCanaryPercent = 10

// CanaryPercent is the share of keys on whose events the version is tried while it is a canary.
func (s *Schema) CanaryPercent() int { return DefaultCanaryPercent }

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

// Age ranks the parts of a life, which only moves forward from one to the next: before it was ever active, since, and
// retired. Of two records of one version the greater age holds, whatever their clocks say.
func (s *Schema) Age() int {
	switch s.Status {
	case schema.Draft, schema.Canary:
		return 1
	case schema.Active, schema.Deprecated:
		return 2
	case schema.Retired:
		return 3
	default:
		return 0 // no status that is known: less than any other
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

// Step is s after one more step of its life.
func (s *Schema) Step(step SchemaStep) *Schema {
	next := *s
	next.Status = step.Status
	next.Steps = append(slices.Clone(s.Steps), step)
	if len(next.Steps) > MaxSchemaSteps {
		next.Steps = slices.Delete(next.Steps, 1, 1+len(next.Steps)-MaxSchemaSteps)
	}
	return &next
}
