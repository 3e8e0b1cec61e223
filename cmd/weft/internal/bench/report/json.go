package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// line is a report as programs read it. Series and Latency are left out: they would make the line too long to keep one per
// commit, and the page shows them.
type line struct {
	Scenario string  `json:"scenario"`
	Title    string  `json:"title"`
	Mesh     string  `json:"mesh"`
	Load     string  `json:"load"`
	Baseline string  `json:"baseline"`
	Machine  string  `json:"machine"`
	Commit   string  `json:"commit"`
	Began    string  `json:"began"`
	Took     float64 `json:"took_s"`
	Summary
	Rounds []Round     `json:"rounds"`
	Curves []curveLine `json:"curves,omitempty"`
	Notes  []string    `json:"notes"`
}

type curveLine struct {
	Name   string  `json:"name"`
	X      string  `json:"x"`
	Y      string  `json:"y"`
	LogX   bool    `json:"log_x"`
	Points []Point `json:"points"`
}

// WriteJSON writes the report as one line, with the members of its summary at the top level. Rates are whole numbers,
// milliseconds and ratios have three decimals; NaN and infinities become 0.
func (r *Report) WriteJSON(w io.Writer) error {
	out := line{
		Scenario: r.Scenario, Title: r.Title, Mesh: r.Mesh, Load: r.Load, Baseline: r.Baseline,
		Machine: r.Machine, Commit: r.Commit,
		Began: r.Began.UTC().Format(time.RFC3339), Took: rounded(r.Took.Seconds(), 3),
		Summary: r.Summary.rounded(),
		Rounds:  make([]Round, 0, len(r.Rounds)),
		Notes:   append([]string{}, r.Notes...), // [] and not null
	}
	for _, round := range r.Rounds {
		out.Rounds = append(out.Rounds, round.rounded())
	}
	for _, c := range r.Curves {
		points := make([]Point, 0, len(c.Points))
		for _, p := range c.Points {
			points = append(points, Point{X: significant(p.X, 6), Y: significant(p.Y, 6)})
		}
		out.Curves = append(out.Curves, curveLine{Name: c.Name, X: c.X, Y: c.Y, LogX: c.LogX, Points: points})
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // nobody embeds the line in a page, and people grep it
	if err := encoder.Encode(out); err != nil {
		return fmt.Errorf("write the report's JSON: %w", err)
	}
	return nil
}

func (s Summary) rounded() Summary {
	for _, v := range []*float64{&s.AcceptedPerSecond, &s.BaselinePerSecond, &s.OfferedPerSecond} {
		*v = rounded(*v, 0)
	}
	for _, v := range []*float64{&s.Ratio, &s.RatioLow, &s.RatioHigh, &s.P50, &s.P95, &s.P99, &s.BaselineP50, &s.BaselineP95, &s.BaselineP99, &s.CPUPerEvent} {
		*v = rounded(*v, 3)
	}
	s.RSS = rounded(s.RSS, 1)
	return s
}

func (r Round) rounded() Round {
	return Round{
		PerSecond:   rounded(r.PerSecond, 0),
		Baseline:    rounded(r.Baseline, 0),
		Ratio:       rounded(r.Ratio, 3),
		CPUPerEvent: rounded(r.CPUPerEvent, 3),
		BaselineCPU: rounded(r.BaselineCPU, 3),
	}
}
