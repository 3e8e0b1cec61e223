package hub

import (
	"cmp"
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/compat"
)

// SchemaSpec asks for a version of a schema.
type SchemaSpec struct {
	Subject  string          `json:"subject"`
	Version  schema.Version  `json:"version"`
	Language schema.Language `json:"language"`
	Message  string          `json:"message,omitempty"`
	Text     []byte          `json:"text"`
	Why      string          `json:"why,omitempty"`
	Mode     compat.Level    `json:"mode,omitempty"` // another than the tenant's: of a dry run alone
}

// SchemaView is what the admin API tells of a version.
type SchemaView struct {
	Tenant      string                `json:"tenant"`
	Subject     string                `json:"subject"`
	Version     schema.Version        `json:"version"`
	Language    schema.Language       `json:"language"`
	Message     string                `json:"message,omitempty"`
	Status      schema.Status         `json:"status"`
	Quarantined bool                  `json:"quarantined"`
	Hash        string                `json:"hash"`
	Others      []string              `json:"others,omitempty"` // hashes of other contents that claimed the version
	Bytes       int                   `json:"bytes"`
	Steps       []accounts.SchemaStep `json:"steps"`
	Rollbacks   int                   `json:"rollbacks,omitempty"`
	Trial       *TrialView            `json:"trial,omitempty"` // where one version alone was asked for and is on trial
	Text        string                `json:"text,omitempty"`  // where one version alone was asked for
}

// SchemaReport is what became of a registration, or with DryRun what would.
type SchemaReport struct {
	SchemaView
	DryRun   bool              `json:"dry_run"`
	Existed  bool              `json:"existed"` // it was registered already, with the same content: nothing was done
	Mode     compat.Level      `json:"mode"`
	Enforced bool              `json:"enforced"`          // the tenant's rules refuse what has findings
	Against  []string          `json:"against"`           // live versions that it may be compared with, oldest first
	Findings []compat.Finding  `json:"findings"`          // none: it is compatible
	Slow     string            `json:"slow,omitempty"`    // a keyword for which each payload is read a second time
	Mapping  *MappingView      `json:"mapping,omitempty"` // that carries payloads between this major version and the other one that lives
	Samples  []registry.Sample `json:"samples,omitempty"` // what that mapping makes of its samples
}

// SchemaStepSpec asks for a step of a version's life.
type SchemaStepSpec struct {
	Status schema.Status       `json:"status"`
	Why    string              `json:"why,omitempty"`
	Trial  *accounts.TrialSpec `json:"trial,omitempty"` // of what becomes canary or active: other than the tenant's rules say
}

// SchemaStepReport is what became of a step, or with DryRun what would.
type SchemaStepReport struct {
	SchemaView
	DryRun   bool             `json:"dry_run"`
	Was      schema.Status    `json:"was"`
	Enforced bool             `json:"enforced"` // the tenant's rules refuse what has findings
	Left     []schema.Version `json:"left"`     // other versions of the subject that events may name
	Findings []compat.Finding `json:"findings"`

	Judge  *schema.Version       `json:"judge,omitempty"`  // of a rollback: what judges the version's events from now on; nil: nothing does
	Policy *accounts.TrialPolicy `json:"policy,omitempty"` // what the version has to show from now on
	Shown  *TrialView            `json:"shown,omitempty"`  // how it did in the trial that the step ends
}

func viewSchema(s *accounts.Schema) SchemaView {
	return SchemaView{
		Tenant: s.Tenant, Subject: s.Subject, Version: s.Version, Language: s.Language, Message: s.Message, Status: s.Status,
		Quarantined: s.Quarantined(), Hash: s.Hash, Others: s.Others, Bytes: len(s.Text), Steps: s.Steps, Rollbacks: s.Rollbacks,
	}
}

// Schemas lists a tenant's versions by subject and version, of one subject or with "" of all.
func (h *Hub) Schemas(tenant, subject string) ([]SchemaView, error) {
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, noSuchTenant("schema.ls", tenant)
	}
	out := []SchemaView{}
	for _, s := range h.State().TenantSchemas(tenant, subject) {
		out = append(out, viewSchema(s))
	}
	return out, nil
}

// Schema is one version with its text.
func (h *Hub) Schema(tenant, subject, version string) (*SchemaView, error) {
	s, err := h.findSchema("schema.show", tenant, subject, version)
	if err != nil {
		return nil, err
	}
	v := viewSchema(s)
	v.Text, v.Trial = string(s.Text), h.viewTrial(s)
	return &v, nil
}

func (h *Hub) findSchema(op, tenant, subject, version string) (*accounts.Schema, error) {
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, noSuchTenant(op, tenant)
	}
	v, err := schema.ParseVersion(version)
	if err != nil {
		return nil, err
	}
	s, ok := h.State().Schemas[accounts.SchemaID(tenant, subject, v)]
	if !ok {
		return nil, fault.New(op, fault.NotFound, "no_such_schema", "tenant %q has no schema %s %s: list them with `weft schema ls %s`", tenant, subject, v, tenant)
	}
	return s, nil
}

// RegisterSchema takes a version as a draft, in any region. What is registered already with the same content stays as
// it is. With dryRun it is judged alone, and incompatibility is told in the report instead of refused.
func (h *Hub) RegisterSchema(ctx context.Context, tenant string, spec SchemaSpec, dryRun bool, by string) (*SchemaReport, error) {
	const op = "schema.register"
	if err := h.mayWriteSchema(op, tenant, spec.Why); err != nil {
		return nil, err
	}
	rules := h.State().RulesOf(tenant)
	mode := rules.Mode()
	if spec.Mode != "" {
		if !dryRun {
			return nil, fault.New(op, fault.Invalid, "schema_mode", "what is compatible is the tenant's to say, not the version's: a mode is for checks alone")
		}
		var err error
		if mode.Level, err = compat.ParseLevel(string(spec.Mode)); err != nil {
			return nil, err
		}
	}
	h.schemas.Lock()
	defer h.schemas.Unlock()
	d := &schema.Document{Subject: spec.Subject, Version: spec.Version, Language: spec.Language, Message: spec.Message, Text: spec.Text}
	verdict, err := registry.Admit(h.State().TenantSchemas(tenant, ""), d, mode)
	if err != nil {
		return nil, err
	}
	s := verdict.Known
	if s == nil {
		s = (&accounts.Schema{Tenant: tenant, Subject: d.Subject, Version: d.Version, Language: d.Language, Message: d.Message, Text: d.Text, Hash: verdict.Hash}).
			Step(accounts.SchemaStep{Status: schema.Draft, By: by, At: h.opts.Now().UTC().Truncate(time.Second), Why: spec.Why})
	}
	r := &SchemaReport{SchemaView: viewSchema(s), DryRun: dryRun, Existed: verdict.Known != nil, Mode: mode.Level, Enforced: rules.Enforced(), Against: verdict.Against, Findings: verdict.Findings, Slow: verdict.Slow}
	if err := h.mapped(r, s, dryRun); err != nil {
		return nil, err
	}
	if dryRun || r.Existed {
		return r, nil
	}
	if err := incompatible(op, s, r.Findings); err != nil && r.Enforced {
		return nil, err
	}
	return r, h.state.Put(ctx, control.KindSchema, s.ID(), s, by)
}

// mapped adds to a report what is mapped to the version, and refuses one that lives beside another major version
// without a mapping that works.
func (h *Hub) mapped(r *SchemaReport, s *accounts.Schema, dryRun bool) error {
	if r.Existed {
		return nil
	}
	have := h.State().TenantSchemas(s.Tenant, s.Subject)
	m, err := registry.Beside(have, h.State().TenantMappings(s.Tenant, s.Subject), s.Document(), registry.NotRetired)
	if m == nil || err != nil {
		return err
	}
	view := viewMapping(m)
	r.Mapping = &view
	if _, r.Samples, err = tryMapping(append(have, s), m); err != nil || dryRun {
		return err
	}
	return unmapped(m, r.Samples)
}

// StepSchema puts a version where it is to stand next, in any region. With dryRun nothing happens, and incompatibility
// is told in the report instead of refused.
func (h *Hub) StepSchema(ctx context.Context, tenant, subject, version string, spec SchemaStepSpec, dryRun bool, by string) (*SchemaStepReport, error) {
	const op = "schema.step"
	if err := h.mayWriteSchema(op, tenant, spec.Why); err != nil {
		return nil, err
	}
	h.schemas.Lock()
	defer h.schemas.Unlock()
	s, err := h.findSchema(op, tenant, subject, version)
	if err != nil {
		return nil, err
	}
	policy, err := h.trialAfter(s, &spec)
	if err != nil {
		return nil, err
	}
	return h.step(ctx, s, accounts.SchemaStep{Status: spec.Status, By: by, At: h.opts.Now().UTC().Truncate(time.Second), Why: spec.Why}, policy, dryRun)
}

// trialAfter is what a version has to show after a step: what it had to before if it is on trial, else what the tenant's
// rules say, and in any case what the step says.
func (h *Hub) trialAfter(s *accounts.Schema, spec *SchemaStepSpec) (*accounts.TrialPolicy, error) {
	if spec.Trial != nil && !registry.Rises(s.Status, spec.Status) {
		return nil, fault.New("schema.step", fault.Invalid, "schema_trial", "what becomes canary or active for the first time is on trial, and from %s to %s is another step", s.Status, spec.Status)
	}
	policy := cmp.Or(s.Trial, h.trialOf(s.Tenant)).With(spec.Trial)
	return &policy, policy.Validate()
}

// step is called with schemas held.
func (h *Hub) step(ctx context.Context, s *accounts.Schema, step accounts.SchemaStep, policy *accounts.TrialPolicy, dryRun bool) (*SchemaStepReport, error) {
	all := h.State().TenantSchemas(s.Tenant, s.Subject)
	rules := h.State().RulesOf(s.Tenant)
	found, err := registry.Step(all, s, step.Status, rules.Mode())
	if err != nil {
		return nil, err
	}
	if err := h.mayRise(all, s, step.Status); err != nil {
		return nil, err
	}
	next := s.Step(step)
	if registry.Rises(s.Status, step.Status) {
		next = s.Rise(step, *policy, h.State().Counted(s))
	}
	r := h.stepReport(all, s, next, dryRun)
	r.Findings = append(r.Findings, found...)
	if dryRun {
		return r, nil
	}
	if err := incompatible("schema.step", s, found); err != nil && r.Enforced {
		return nil, err
	}
	return r, h.state.Put(ctx, control.KindSchema, next.ID(), next, step.By)
}

func (h *Hub) stepReport(all []*accounts.Schema, s, next *accounts.Schema, dryRun bool) *SchemaStepReport {
	r := &SchemaStepReport{
		SchemaView: viewSchema(next), DryRun: dryRun, Was: s.Status, Enforced: h.State().RulesOf(s.Tenant).Enforced(),
		Left: []schema.Version{}, Findings: []compat.Finding{}, Policy: next.Trial, Shown: h.viewTrial(s),
	}
	for _, one := range all {
		if one.Version != s.Version && one.Accepts() {
			r.Left = append(r.Left, one.Version)
		}
	}
	return r
}

func (h *Hub) mayWriteSchema(op, tenant, why string) error {
	if err := h.requireOpen(op); err != nil {
		return err
	}
	if _, ok := h.State().Tenant(tenant); !ok {
		return noSuchTenant(op, tenant)
	}
	if len(why) > accounts.MaxSchemaWhy || !utf8.ValidString(why) {
		return fault.New(op, fault.Invalid, "schema_why", "the reason is longer than %d bytes, or no UTF-8", accounts.MaxSchemaWhy)
	}
	return nil
}

// incompatible refuses with the first finding; a dry run tells all of them.
func incompatible(op string, s *accounts.Schema, found []compat.Finding) error {
	if len(found) == 0 {
		return nil
	}
	more := ""
	if n := len(found) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fault.New(op, fault.Conflict, "schema_incompatible", "%s %s may not follow: %s%s", s.Subject, s.Version, found[0], more)
}
