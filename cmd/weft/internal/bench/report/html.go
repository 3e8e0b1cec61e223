package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // page.gohtml, page.css, page.js
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strconv"
)

var (
	//go:embed page.gohtml
	pageSource string
	//go:embed page.css
	pageStyle string
	//go:embed page.js
	pageScript string
)

// page is what the template shows.
type page struct {
	Policy            string
	Style             template.CSS
	Script            template.JS
	Heading, Headline string
	Faultless         bool
	Facts             []fact
	Tiles             []tile
	Figures           []figure
	Notes             []string
}

// tile is one figure of the summary, large enough to be seen from afar.
type tile struct {
	Label, Value, Unit, More string
	Class                    string
}

// WriteHTML writes the report as one page that needs nothing else: no network, no script. The script it has adds figures
// next to the pointer, and its policy lets a browser run this script and nothing else.
func (r *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("page").Parse(pageSource)
	if err != nil {
		return fmt.Errorf("read the report's template: %w", err)
	}
	var b bytes.Buffer // so that an error leaves no half of a page
	if err := t.Execute(&b, r.page()); err != nil {
		return fmt.Errorf("render the report's page: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the report's page: %w", err)
	}
	return nil
}

func (r *Report) page() page {
	return page{
		Policy: fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'",
			digest(pageStyle), digest(pageScript)),
		Style:     template.CSS(pageStyle),
		Script:    template.JS(pageScript),
		Heading:   r.heading(),
		Headline:  r.headline(),
		Faultless: r.Summary.faultless(),
		Facts:     r.facts(),
		Tiles:     r.tiles(),
		Figures:   r.figures(),
		Notes:     r.Notes,
	}
}

// digest names an inline style or script in a content security policy (CSP level 3, section 2.3.1).
func digest(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// tiles is the summary; what was not measured has none.
func (r *Report) tiles() []tile {
	s := r.Summary
	var tiles []tile
	if r.rated() {
		more := ""
		if n := len(r.Rounds); n > 1 {
			more = "median of " + strconv.Itoa(n) + " rounds"
		}
		tiles = append(tiles, tile{Label: "acknowledged events/s", Value: rate(s.AcceptedPerSecond), More: more})
	}
	if r.rated() && s.compared() {
		more := "baseline " + rate(s.BaselinePerSecond) + " events/s"
		if finite(s.RatioHigh) > 0 {
			more = span(s.RatioLow, s.RatioHigh, hundredths) + "; " + more
		}
		tiles = append(tiles, tile{Label: "of the baseline", Value: hundredths(s.Ratio), Unit: "×", More: more})
	}
	if s.open() {
		more := "p50 " + decimal(s.P50) + ", p95 " + decimal(s.P95) + " ms at " + rate(s.OfferedPerSecond) + " events/s"
		if s.compared() && s.BaselineP99 > 0 {
			more += "; p99 of the baseline at that rate " + decimal(s.BaselineP99) + " ms"
		}
		tiles = append(tiles, tile{Label: "latency, p99", Value: decimal(s.P99), Unit: "ms", More: more})
	}
	if r.verified() {
		t := tile{Label: "verified", Value: "✓ faultless", Class: "good"}
		if !s.faultless() {
			t.Value, t.Class = "✗ faults", "bad"
		}
		for i, c := range s.counts() {
			if i > 0 {
				t.More += ", "
			}
			t.More += c.Value + " " + c.Name
		}
		tiles = append(tiles, t)
	}
	if finite(s.CPUPerEvent) > 0 {
		tiles = append(tiles, tile{Label: "CPU per event", Value: decimal(s.CPUPerEvent), Unit: "µs", More: "of the mesh's processes"})
	}
	if finite(s.RSS) > 0 {
		tiles = append(tiles, tile{Label: "memory", Value: rate(s.RSS), Unit: "MB", More: "of the mesh's processes, at most"})
	}
	return tiles
}
