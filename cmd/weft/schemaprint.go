package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/compat"
)

// printSchemaReport tells what became of a registration or a check; findings end the command with exit code 3.
func printSchemaReport(w io.Writer, format string, r *hub.SchemaReport) error {
	var err error
	if format == formatTable {
		printReportText(w, r)
	} else {
		err = printValue(w, format, r)
	}
	if err == nil && len(r.Findings) > 0 && (r.DryRun || r.Enforced) {
		err = problemsFoundf("%s %s may not follow %s in mode %s: %s; nothing was registered",
			r.Subject, r.Version, strings.Join(r.Against, ", "), r.Mode, counted(len(r.Findings), "finding"))
	}
	if n := problemsOf(r.Samples); err == nil && n > 0 {
		err = problemsFoundf("%s %s may not live beside another major version: what is mapped to it or from it shows %s", r.Subject, r.Version, counted(n, "problem"))
	}
	return err
}

func printReportText(w io.Writer, r *hub.SchemaReport) {
	printFindings(w, r.Findings)
	printSamples(w, r.Samples)
	switch {
	case len(r.Findings) > 0 && (r.DryRun || r.Enforced), problemsOf(r.Samples) > 0:
		return
	case r.Existed:
		fmt.Fprintf(w, "%s %s is registered already, with this content; it is %s\n", r.Subject, r.Version, statusWord(&r.SchemaView))
	case r.DryRun:
		fmt.Fprintf(w, "%s %s may be registered%s. Nothing was done\n", r.Subject, r.Version, follows(r))
	default:
		fmt.Fprintf(w, "registered %s %s as %s%s; put it into force with `weft schema promote %s %s %s`\n",
			r.Subject, r.Version, r.Status, follows(r), r.Tenant, r.Subject, r.Version)
	}
	if r.Slow != "" {
		fmt.Fprintf(w, "it uses %s: each payload is read a second time, at ten times the cost\n", r.Slow)
	}
}

func follows(r *hub.SchemaReport) string {
	if len(r.Findings) > 0 {
		return ": it may not follow, and the tenant's rules take it all the same"
	}
	if len(r.Against) == 0 {
		return ": there is no live version that it has to follow"
	}
	return fmt.Sprintf(": it follows %s (%s)", strings.Join(r.Against, ", "), r.Mode)
}

// printFindings writes each finding as a paragraph: place and rule, old and new, way out.
func printFindings(w io.Writer, list []compat.Finding) {
	for _, f := range list {
		doubt := ""
		if !f.Proven {
			doubt = " (it may be compatible; that cannot be proven)"
		}
		path := f.Path
		if path == "" {
			path = "the payload"
		}
		fmt.Fprintf(w, "%s: %s: %s, %s against %s%s\n  old: %s\n  new: %s\n  way out: %s\n",
			path, f.Rule, f.Detail, f.Direction, f.Against, doubt, orNothing(f.Old), orNothing(f.New), f.WayOut)
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func statusWord(v *hub.SchemaView) string {
	if v.Quarantined {
		return "quarantined"
	}
	return string(v.Status)
}

func printSchemas(w io.Writer, format string, list []hub.SchemaView) error {
	if format != formatTable {
		return printValue(w, format, list)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SUBJECT\tVERSION\tSTATUS\tLANGUAGE\tBYTES\tHASH\tSINCE\tBY")
	for i := range list {
		v := &list[i]
		since, by := "-", "-"
		if n := len(v.Steps); n > 0 {
			since, by = v.Steps[n-1].At.UTC().Format(time.RFC3339), v.Steps[n-1].By
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%.12s\t%s\t%s\n", v.Subject, v.Version, statusWord(v), v.Language, v.Bytes, v.Hash, since, by)
	}
	return tw.Flush()
}

func printSchema(w io.Writer, format string, v *hub.SchemaView) error {
	switch format {
	case formatRaw:
		_, err := io.WriteString(w, v.Text)
		return err
	case formatTable:
	default:
		return printValue(w, format, v)
	}
	fmt.Fprintf(w, "%s %s of %s is %s, %s, sha256 %s\n", v.Subject, v.Version, v.Tenant, statusWord(v), v.Language, v.Hash)
	if v.Quarantined {
		fmt.Fprintf(w, "other contents claim the version too: %s. Register the wanted one under another version, and retire this\n", strings.Join(v.Others, ", "))
	}
	for _, s := range v.Steps {
		fmt.Fprintf(w, "  %s  %-10s  %s  %s\n", s.At.UTC().Format(time.RFC3339), s.Status, s.By, s.Why)
	}
	if v.Trial != nil {
		printTrial(w, v)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.TrimRight(v.Text, "\n"))
	return err
}

func printSchemaStep(w io.Writer, format string, r *hub.SchemaStepReport) error {
	if format != formatTable {
		return printValue(w, format, r)
	}
	printFindings(w, r.Findings)
	if len(r.Findings) > 0 && r.Enforced {
		return nil
	}
	left := "events may name no other version"
	if len(r.Left) > 0 {
		var names []string
		for _, v := range r.Left {
			names = append(names, v.String())
		}
		left = "events may also name " + strings.Join(names, ", ")
	}
	if r.Rollbacks > 0 && r.Was == schema.Active && r.Status == schema.Canary {
		left = judgedBy(r) + "; " + left
	}
	if r.DryRun {
		fmt.Fprintf(w, "would make %s %s %s, which is %s; %s. Nothing was done; say --yes to do it\n", r.Subject, r.Version, r.Status, r.Was, left)
		return nil
	}
	fmt.Fprintf(w, "%s %s is %s, and was %s; %s\n", r.Subject, r.Version, r.Status, r.Was, left)
	if r.Shown != nil {
		fmt.Fprintln(w, "it had shown: "+shownText(r.Shown))
	}
	if r.Policy != nil {
		fmt.Fprintln(w, policyText(r.Status, r.Policy))
	}
	return nil
}

// schemaDiff is what `weft schema diff` tells.
type schemaDiff struct {
	Old      schema.Version   `json:"old"`
	New      schema.Version   `json:"new"`
	Lines    []string         `json:"lines"` // "- " in the old one alone, "+ " in the new one alone
	Findings []compat.Finding `json:"findings"`
}

func printSchemaDiff(w io.Writer, format string, d *schemaDiff) error {
	if format != formatTable {
		return printValue(w, format, d)
	}
	if len(d.Lines) == 0 {
		fmt.Fprintf(w, "%s and %s say the same\n", d.Old, d.New)
		return nil
	}
	for _, line := range d.Lines {
		fmt.Fprintln(w, line)
	}
	if len(d.Findings) == 0 {
		fmt.Fprintln(w, "compatible both ways")
	}
	printFindings(w, d.Findings)
	return nil
}

// plainLines are a document's lines; those of JSON in one form, whatever its white space and order of members.
func plainLines(d *schema.Document) []string {
	text := d.Text
	var v any
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	if d.Language == schema.JSONSchema && dec.Decode(&v) == nil {
		if plain, err := json.MarshalIndent(v, "", "  "); err == nil {
			text = plain
		}
	}
	return strings.Split(strings.TrimRight(string(text), "\n"), "\n")
}

// maxDiffCells bounds the table of diffLines; beyond it all lines between the first and the last difference are told.
const maxDiffCells = 4 << 20

// diffLines are the lines that two texts do not have in common, by their longest common subsequence.
func diffLines(a, b []string) []string {
	out := []string{}
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	width := len(b) + 1
	common := make([]int32, 0)
	if (len(a)+1)*width <= maxDiffCells {
		common = make([]int32, (len(a)+1)*width) // of a[i:] and b[j:]
		for i := len(a) - 1; i >= 0; i-- {
			for j := len(b) - 1; j >= 0; j-- {
				if a[i] == b[j] {
					common[i*width+j] = common[(i+1)*width+j+1] + 1
				} else {
					common[i*width+j] = max(common[(i+1)*width+j], common[i*width+j+1])
				}
			}
		}
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && (len(common) == 0 || common[(i+1)*width+j] >= common[i*width+j+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}
