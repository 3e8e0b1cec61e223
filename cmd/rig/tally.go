package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/nemesis"
	"github.com/weft-mesh/weft/cmd/rig/internal/trial"
)

// plants are the ways to damage a result; the checker must notice each.
var plants = []string{"lose", "dup", "reorder", "diverge", "effect", "admit", "replay"}

// tally adds up what trials found. It is safe for concurrent use.
type tally struct {
	seed   uint64
	commit string
	began  time.Time

	mu      sync.Mutex
	sum     checker.Verdict
	runs    int
	faults  map[nemesis.Kind]int
	healed  []time.Duration
	outages map[nemesis.Kind][]time.Duration
	rpo     []int64
	odd     map[string]int
	probed  map[string]int
	crashes map[string]int
	fell    []uint64
	errs    []string
}

func newTally(seed uint64, commit string) *tally {
	return &tally{seed: seed, commit: commit, began: time.Now(), faults: map[nemesis.Kind]int{},
		outages: map[nemesis.Kind][]time.Duration{}, odd: map[string]int{}, probed: map[string]int{}, crashes: map[string]int{}}
}

func (t *tally) add(out io.Writer, p nemesis.Plan, r *trial.Result, err error, report string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs++
	if err != nil {
		t.errs = append(t.errs, fmt.Sprintf("seed %d: %v", p.Seed, err))
		t.fell = append(t.fell, p.Seed)
		fmt.Fprintf(out, "seed %d: the trial itself failed: %v\n", p.Seed, err)
	}
	if r == nil || r.Verdict == nil {
		return
	}
	t.sum.Add(r.Verdict)
	for _, f := range p.Faults {
		t.faults[f.Kind]++
	}
	t.healed = append(t.healed, r.Healed)
	for _, o := range r.Outages {
		t.outages[o.Kind] = append(t.outages[o.Kind], o.Total)
	}
	if r.Verdict.LostWithRegion > 0 {
		t.rpo = append(t.rpo, r.Verdict.RPOms)
	}
	for code, n := range r.Odd {
		t.odd[code] += n
	}
	for answer, n := range r.Probed {
		t.probed[answer] += n
	}
	for name, n := range r.Crashes {
		t.crashes[name] += n
	}
	state := "ok"
	if !r.OK() {
		state = "FELL"
		t.fell = append(t.fell, p.Seed)
	}
	fmt.Fprintf(out, "seed %d: %s, %d acknowledged, %d faults, equal sets %.1f s after the last one\n", p.Seed, state, r.Verdict.Acknowledged, len(p.Faults), r.Healed.Seconds())
	if !r.OK() {
		t.explain(out, &p, r)
	}
	if report != "" {
		if err := appendLine(report, r); err != nil {
			fmt.Fprintf(out, "report: %v\n", err)
		}
	}
}

// explain says what fell, with what it takes to see it again.
func (t *tally) explain(out io.Writer, p *nemesis.Plan, r *trial.Result) {
	fmt.Fprint(out, p.Describe())
	for _, problem := range r.Problems {
		fmt.Fprintf(out, "  %s\n", problem)
	}
	shown := map[string]int{}
	for _, f := range r.Verdict.Findings {
		if shown[f.Kind]++; shown[f.Kind] <= 5 {
			fmt.Fprintf(out, "  %s: %s of %s, tenant %s: %s\n", f.Kind, f.ID, f.Region, f.Tenant, f.Detail)
		}
	}
	fmt.Fprintf(out, "  left in %s; again with: rig soak --seed %d --schedules 1 --length %s --rate %d -v\n", r.Dir, p.Seed, p.Length, p.Rate)
}

func appendLine(file string, r *trial.Result) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(raw, '\n'))
	return err
}

func (t *tally) clean() bool { return len(t.fell) == 0 }

// summary is the verdict of a soak as the last line says it.
type summary struct {
	OK             bool   `json:"ok"`
	Seed           uint64 `json:"seed"`
	Commit         string `json:"commit"`
	Schedules      int    `json:"schedules"`
	Acknowledged   int    `json:"acknowledged"`
	Lost           int    `json:"lost"`
	Unexpected     int    `json:"unexpected"`
	Duplicated     int    `json:"duplicated"`
	Diverged       int    `json:"diverged"`
	Reordered      int    `json:"reordered"`
	DoubleEffects  int    `json:"double_effects"`
	MissingEffects int    `json:"missing_effects"`
	Admitted       int    `json:"admitted"`
	TurnedAway     int    `json:"turned_away"`
	Replayed       int    `json:"replayed"`
	Probes         int    `json:"probes"`
	UnknownStored  int    `json:"unknown_stored"`
	UnknownAbsent  int    `json:"unknown_absent"`
	Refused        int    `json:"refused"`

	CrossDuplicates int   `json:"cross_duplicates"`
	LostWithRegion  int   `json:"lost_with_region"`
	RegionalLost    int   `json:"regional_lost_with_region"`
	RPOMaxMs        int64 `json:"rpo_max_ms"`

	Faults    int                      `json:"faults"`
	ByKind    map[nemesis.Kind]int     `json:"faults_by_kind"`
	HealP50   float64                  `json:"heal_p50_s"`
	HealP95   float64                  `json:"heal_p95_s"`
	HealMax   float64                  `json:"heal_max_s"`
	OutageP95 map[nemesis.Kind]float64 `json:"outage_p95_s"`
	Odd       map[string]int           `json:"answers"`
	Probed    map[string]int           `json:"probe_answers"`
	Crashes   int                      `json:"ended_by_themselves"`
	Fell      []uint64                 `json:"fell,omitempty"`
	Errors    []string                 `json:"errors,omitempty"`
	Minutes   float64                  `json:"minutes"`
}

// verdict prints the last line and returns errFell if something fell or nothing was tried.
func (t *tally) verdict(out io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := &t.sum
	s := summary{
		OK: t.clean() && t.runs > 0 && v.Acknowledged > 0, Seed: t.seed, Commit: t.commit, Schedules: t.runs,
		Acknowledged: v.Acknowledged, Lost: v.Lost, Unexpected: v.Unexpected, Duplicated: v.Duplicated, Diverged: v.Diverged, Reordered: v.Reordered,
		DoubleEffects: v.DoubleEffects, MissingEffects: v.MissingEffects,
		Admitted: v.Admitted, TurnedAway: v.TurnedAway, Replayed: v.Replayed, Probes: v.Probes, UnknownStored: v.UnknownStored, UnknownAbsent: v.UnknownAbsent, Refused: v.Refused,
		CrossDuplicates: v.CrossDuplicates, LostWithRegion: v.LostWithRegion, RegionalLost: v.RegionalLost,
		ByKind: t.faults, HealP50: quantile(t.healed, 0.5), HealP95: quantile(t.healed, 0.95), HealMax: quantile(t.healed, 1),
		OutageP95: map[nemesis.Kind]float64{}, Odd: t.odd, Probed: t.probed, Fell: t.fell, Errors: t.errs, Minutes: math.Round(time.Since(t.began).Minutes()*10) / 10,
	}
	for _, n := range t.faults {
		s.Faults += n
	}
	for n := range maps.Values(t.crashes) {
		s.Crashes += n
	}
	for k, d := range t.outages {
		s.OutageP95[k] = quantile(d, 0.95)
	}
	if len(t.rpo) > 0 {
		s.RPOMaxMs = slices.Max(t.rpo)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", raw)
	if !s.OK {
		return errFell
	}
	return nil
}

// quantile is the q-th quantile in seconds, by the nearest rank.
func quantile(ds []time.Duration, q float64) float64 {
	if len(ds) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(ds))
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return math.Round(sorted[max(i, 0)].Seconds()*100) / 100
}
