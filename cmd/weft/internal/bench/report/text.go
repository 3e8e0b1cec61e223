package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// columns is how wide prose may become on a terminal.
const columns = 100

// WriteText writes the report for people: the outcome in a line, then the figures behind it. What was not measured has no
// line.
func (r *Report) WriteText(w io.Writer) error {
	sections := []string{printable(r.heading()) + "\n" + printable(r.headline()) + "\n"}
	add := func(title, body string) {
		if body == "" {
			return
		}
		if title != "" {
			title = printable(title) + "\n"
		}
		sections = append(sections, title+body)
	}
	add("", aligned(r.facts()))
	add("", gridded(r.roundTable()))
	add("", aligned(r.findings()))
	for _, c := range r.Curves {
		if len(c.Points) > 0 {
			add(c.Name, gridded(pointTable(c.X, c.Y, c.Points)))
		}
	}
	var notes strings.Builder
	for _, note := range r.Notes {
		notes.WriteString(wrapped("- ", note))
	}
	add("notes", notes.String())
	if _, err := io.WriteString(w, strings.Join(sections, "\n")); err != nil {
		return fmt.Errorf("write the report's text: %w", err)
	}
	return nil
}

// findings is the summary, a line per figure that was measured.
func (r *Report) findings() []fact {
	s := r.Summary
	var found []fact
	if r.rated() {
		text := rate(s.AcceptedPerSecond) + " events/s acknowledged"
		if s.compared() {
			text += ", baseline " + rate(s.BaselinePerSecond) + ", ratio " + s.ratio()
		}
		found = append(found, fact{"rate", text})
	}
	if s.open() {
		found = append(found, fact{"latency", fmt.Sprintf("p50 %s ms, p95 %s ms, p99 %s ms at %s events/s offered, from the intended start",
			decimal(s.P50), decimal(s.P95), decimal(s.P99), rate(s.OfferedPerSecond))})
		if s.compared() && s.BaselineP99 > 0 {
			found = append(found, fact{"baseline", fmt.Sprintf("p50 %s ms, p95 %s ms, p99 %s ms at the same rate",
				decimal(s.BaselineP50), decimal(s.BaselineP95), decimal(s.BaselineP99))})
		}
	}
	if r.verified() {
		var counts []string
		for _, c := range s.counts() {
			counts = append(counts, c.Value+" "+c.Name)
		}
		found = append(found, fact{"verified", strings.Join(counts, ", ")})
	}
	if finite(s.CPUPerEvent) > 0 {
		found = append(found, fact{"CPU", decimal(s.CPUPerEvent) + " µs per event"})
	}
	if finite(s.RSS) > 0 {
		found = append(found, fact{"memory", rate(s.RSS) + " MB at most"})
	}
	return found
}

// aligned writes facts below each other, their values in one column.
func aligned(facts []fact) string {
	width := 0
	for _, f := range facts {
		width = max(width, utf8.RuneCountInString(f.Name))
	}
	var b strings.Builder
	for _, f := range facts {
		b.WriteString(wrapped(fmt.Sprintf("%-*s  ", width, f.Name), f.Value))
	}
	return b.String()
}

// gridded writes a table with its cells to the right, where digits of the same weight meet.
func gridded(t table) string {
	lines := make([][]string, 0, 1+len(t.Rows)+len(t.Foot))
	if len(t.Head) > 0 {
		lines = append(lines, t.Head)
	}
	lines = append(append(lines, t.Rows...), t.Foot...)
	widths := make([]int, len(t.Head))
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(printable(cell)))
		}
	}
	var b strings.Builder
	for _, cells := range lines {
		for i, cell := range cells {
			if i > 0 {
				b.WriteString("  ")
			}
			fmt.Fprintf(&b, "%*s", widths[i], printable(cell))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// wrapped writes prose behind a prefix, its further lines indented as far.
func wrapped(prefix, prose string) string {
	indent := utf8.RuneCountInString(prefix)
	var b strings.Builder
	b.WriteString(prefix)
	at := indent
	for i, word := range strings.Fields(printable(prose)) {
		length := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+length > columns:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += length
	}
	b.WriteByte('\n')
	return b.String()
}

// printable keeps a name or a note from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
