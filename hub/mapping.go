package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/mapping"
)

// MappingSpec asks for a mapping between two major versions of an event type.
type MappingSpec struct {
	mapping.Spec
	Why string `json:"why,omitempty"`
}

// MappingView is what the admin API tells of a mapping.
type MappingView struct {
	Tenant  string        `json:"tenant"`
	Subject string        `json:"subject"`
	Low     uint32        `json:"low"`
	High    uint32        `json:"high"`
	Hash    string        `json:"hash"`
	By      string        `json:"by"`
	At      time.Time     `json:"at"`
	Why     string        `json:"why,omitempty"`
	Flag    string        `json:"flag"`
	Percent int           `json:"percent"` // of keys for which the flag is on
	Spec    *mapping.Spec `json:"spec,omitempty"`
}

// MappingReport is what became of a mapping, or with DryRun what would.
type MappingReport struct {
	MappingView
	DryRun  bool              `json:"dry_run"`
	Dropped bool              `json:"dropped,omitempty"`
	Samples []registry.Sample `json:"samples,omitempty"`
}

func viewMapping(m *accounts.Mapping) MappingView {
	return MappingView{Tenant: m.Tenant, Subject: m.Subject, Low: m.Low, High: m.High, Hash: m.Hash, By: m.By, At: m.At, Why: m.Why, Flag: m.Flag}
}

// Mappings lists a tenant's mappings, of one event type or with "" of all.
func (h *Hub) Mappings(tenant, subject string) ([]MappingView, error) {
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, noSuchTenant("schema.map", tenant)
	}
	out := []MappingView{}
	for _, m := range h.State().TenantMappings(tenant, subject) {
		out = append(out, h.viewMapping(m))
	}
	return out, nil
}

func (h *Hub) viewMapping(m *accounts.Mapping) MappingView {
	v := viewMapping(m)
	if f := h.State().Flag(m.Tenant, m.Flag); f != nil {
		v.Percent = f.Percent
	}
	return v
}

// Mapping is one mapping, with what it makes of its samples.
func (h *Hub) Mapping(tenant, subject, majors string) (*MappingReport, error) {
	m, err := h.findMapping(tenant, subject, majors)
	if err != nil {
		return nil, err
	}
	r := &MappingReport{MappingView: h.viewMapping(m)}
	compiled, samples, err := tryMapping(h.State().TenantSchemas(tenant, subject), m)
	if err != nil {
		return nil, err
	}
	r.Spec, r.Samples = &compiled.Spec, samples
	return r, nil
}

func (h *Hub) findMapping(tenant, subject, majors string) (*accounts.Mapping, error) {
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, noSuchTenant("schema.map", tenant)
	}
	low, high, err := parseMajors(majors)
	if err != nil {
		return nil, err
	}
	m := h.State().Mappings[accounts.MappingID(tenant, subject, low, high)]
	if !m.There() {
		return nil, fault.New("schema.map", fault.NotFound, "no_such_mapping", "tenant %q has no mapping of %s between %d and %d", tenant, subject, low, high)
	}
	return m, nil
}

// parseMajors reads "1-2".
func parseMajors(s string) (low, high uint32, err error) {
	a, b, _ := strings.Cut(s, "-")
	x, err1 := strconv.ParseUint(a, 10, 31)
	y, err2 := strconv.ParseUint(b, 10, 31)
	if err1 != nil || err2 != nil || s != fmt.Sprintf("%d-%d", x, y) {
		return 0, 0, fault.New("schema.map", fault.Invalid, "mapping_majors", "%q are no two major versions, such as 1-2", s)
	}
	return uint32(x), uint32(y), nil
}

// tryMapping compiles a record's mapping and applies it to its samples.
func tryMapping(have []*accounts.Schema, m *accounts.Mapping) (*mapping.Mapping, []registry.Sample, error) {
	var spec mapping.Spec
	if err := json.Unmarshal(m.Text, &spec); err != nil {
		return nil, nil, fault.Wrap("schema.map", fault.Internal, err)
	}
	return registry.Try(have, m.Subject, m.Low, m.High, &spec)
}

// unmapped refuses a mapping whose samples show that it does not work.
func unmapped(m *accounts.Mapping, samples []registry.Sample) error {
	problems, first := 0, ""
	for _, s := range samples {
		for _, p := range s.Problems {
			if problems++; problems == 1 {
				first = fmt.Sprintf("%s sample %d: %s", s.Direction, s.Index, p)
			}
		}
	}
	if problems == 0 {
		return nil
	}
	return fault.New("schema.map", fault.Conflict, "mapping_sample", "the mapping of %s between %d and %d does not carry its own samples: %s (problems: %d); change the mapping or the sample, `weft schema map --dry-run` shows all",
		m.Subject, m.Low, m.High, first, problems)
}

// SetMapping makes or replaces a mapping, in any region; of two writes the later one holds. With dryRun it is judged
// alone, and what its samples show is told in the report instead of refused.
func (h *Hub) SetMapping(ctx context.Context, tenant, subject, majors string, spec MappingSpec, dryRun bool, by string) (*MappingReport, error) {
	const op = "schema.map"
	low, high, err := h.mayMap(tenant, majors, spec.Why)
	if err != nil {
		return nil, err
	}
	h.schemas.Lock()
	defer h.schemas.Unlock()
	compiled, samples, err := registry.Try(h.State().TenantSchemas(tenant, subject), subject, low, high, &spec.Spec)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(&compiled.Spec)
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err)
	}
	sum := sha256.Sum256(text)
	m := &accounts.Mapping{Tenant: tenant, Subject: subject, Low: low, High: high, Flag: spec.Flag, Text: text, Hash: hex.EncodeToString(sum[:]),
		By: by, At: h.opts.Now().UTC().Truncate(time.Second), Why: spec.Why}
	if err := h.roomForMapping(m); err != nil {
		return nil, err
	}
	r := &MappingReport{MappingView: h.viewMapping(m), DryRun: dryRun, Samples: samples}
	r.Spec = &compiled.Spec
	if dryRun {
		return r, nil
	}
	if err := unmapped(m, samples); err != nil {
		return nil, err
	}
	return r, h.state.Put(ctx, control.KindMapping, m.ID(), m, by)
}

func (h *Hub) mayMap(tenant, majors, why string) (low, high uint32, err error) {
	if err := h.mayWriteSchema("schema.map", tenant, why); err != nil {
		return 0, 0, err
	}
	return parseMajors(majors)
}

// roomForMapping refuses what would let the control log grow without an end, and what is no event type.
func (h *Hub) roomForMapping(m *accounts.Mapping) error {
	const op = "schema.map"
	if len(m.Text) > accounts.MaxMappingText {
		return fault.New(op, fault.Invalid, "mapping_too_large", "the mapping has %d bytes, and %d are possible: drop samples, or shorten tables", len(m.Text), accounts.MaxMappingText)
	}
	n := 0
	for _, one := range h.State().Mappings {
		if one.Tenant == m.Tenant && one.ID() != m.ID() {
			n++
		}
	}
	if n >= accounts.MaxMappings {
		return fault.New(op, fault.Limited, "mapping_limit", "the tenant has had %d mappings, and no more are possible", n)
	}
	d := schema.Document{Subject: m.Subject, Version: schema.Version{Major: 1}, Language: schema.JSONSchema, Text: []byte("{}")}
	return d.Validate()
}

// DropMapping ends a mapping whose major versions do not both live any more. Events of the higher one go to the
// topic itself from then on.
func (h *Hub) DropMapping(ctx context.Context, tenant, subject, majors, why string, dryRun bool, by string) (*MappingReport, error) {
	const op = "schema.map"
	if _, _, err := h.mayMap(tenant, majors, why); err != nil {
		return nil, err
	}
	h.schemas.Lock()
	defer h.schemas.Unlock()
	m, err := h.findMapping(tenant, subject, majors)
	if err != nil {
		return nil, err
	}
	alive := map[uint32]schema.Version{}
	for _, s := range h.State().TenantSchemas(tenant, subject) {
		if s.Accepts() && (s.Version.Major == m.Low || s.Version.Major == m.High) {
			alive[s.Version.Major] = s.Version
		}
	}
	if len(alive) > 1 {
		return nil, fault.New(op, fault.Conflict, "mapping_in_use", "%s lives as %s and as %s, and this mapping carries events between them: retire one first", subject, alive[m.Low], alive[m.High])
	}
	r := &MappingReport{MappingView: h.viewMapping(m), DryRun: dryRun, Dropped: true}
	if dryRun {
		return r, nil
	}
	gone := &accounts.Mapping{Tenant: tenant, Subject: subject, Low: m.Low, High: m.High, By: by, At: h.opts.Now().UTC().Truncate(time.Second), Why: why}
	return r, h.state.Put(ctx, control.KindMapping, gone.ID(), gone, by)
}

// mayRise refuses to let events name a version beside those of another major version without a mapping that works and
// a flag that somebody has set.
func (h *Hub) mayRise(all []*accounts.Schema, s *accounts.Schema, to schema.Status) error {
	if !to.Accepts() || s.Status == schema.Active {
		return nil
	}
	m, err := registry.Beside(all, h.State().TenantMappings(s.Tenant, s.Subject), s.Document(), (*accounts.Schema).Accepts)
	if m == nil || err != nil {
		return err
	}
	if h.State().Flag(s.Tenant, m.Flag) == nil {
		return fault.New("schema.step", fault.Conflict, "schema_flag",
			"another major version of %s lives, and flag %q, behind which both are stored, was never set: `weft flag set %s %s 0` and raise it from there", s.Subject, m.Flag, s.Tenant, m.Flag)
	}
	live := slices.DeleteFunc(slices.Clone(all), func(one *accounts.Schema) bool { return !one.Accepts() && one.Version != s.Version })
	_, samples, err := tryMapping(live, m)
	if err != nil {
		return err
	}
	return unmapped(m, samples)
}

// mappingRoutes are the part of the admin API that is about mappings. Every region serves them.
func (a *adminServer) mappingRoutes(mux *http.ServeMux) {
	const one = "/v1/tenants/{name}/mappings/{subject}/{majors}"
	mux.Handle("GET /v1/tenants/{name}/mappings", a.handle("schema.map", func(r *http.Request, _ string) (any, error) {
		return a.hub.Mappings(r.PathValue("name"), r.URL.Query().Get("subject"))
	}))
	mux.Handle("GET "+one, a.handle("schema.map", func(r *http.Request, _ string) (any, error) {
		return a.hub.Mapping(r.PathValue("name"), r.PathValue("subject"), r.PathValue("majors"))
	}))
	mux.Handle("PUT "+one, a.handle("schema.map.set", func(r *http.Request, by string) (any, error) {
		var spec MappingSpec
		if err := decodeBody(r, "schema.map", &spec); err != nil {
			return nil, err
		}
		return a.hub.SetMapping(r.Context(), r.PathValue("name"), r.PathValue("subject"), r.PathValue("majors"), spec, dryRun(r), by)
	}))
	mux.Handle("DELETE "+one, a.handle("schema.map.drop", func(r *http.Request, by string) (any, error) {
		return a.hub.DropMapping(r.Context(), r.PathValue("name"), r.PathValue("subject"), r.PathValue("majors"), r.URL.Query().Get("why"), dryRun(r), by)
	}))
}
