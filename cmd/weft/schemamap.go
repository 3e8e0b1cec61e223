package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/hub"
)

func newSchemaMap(a *adminFlags) *cobra.Command {
	var v mapVerb
	cmd := &cobra.Command{
		Use:   "map TENANT [SUBJECT LOW HIGH [FILE|-]]",
		Short: "Say how payloads of one major version become those of another",
		Long: `map takes FILE, YAML or JSON, as the mapping between two major versions of SUBJECT. Nothing of a second major version can be
registered beside a living one before. While both live, the relays store the events of those keys for which the mapping's
flag is on in both versions, the higher one in topic TOPIC~HIGH:

  flag: bet-v2
  lossless: true
  up:
    - {op: rename, at: /amount, to: stake}
    - {op: convert, at: /stake, multiply: 100}
  samples:
    low: [{amount: 12.50}]
    high: [{stake: 1250}]

The samples are carried over and judged by the newest versions; the exit code is 3 when one is not. Without FILE the
mapping is shown, without SUBJECT all are listed. --drop ends a mapping of which one version is retired.`,
		Example: "  weft schema map acme bet.placed 1 2 bets.yaml --dry-run\n  weft schema map acme bet.placed 1 2 bets.yaml\n  weft schema map acme bet.placed 1 2 -o yaml\n  weft schema map acme bet.placed 1 2 --drop --yes",
		Args:    cobra.RangeArgs(1, 5),
	}
	cmd.Flags().BoolVar(&v.dryRun, "dry-run", false, "judge FILE, and change nothing")
	cmd.Flags().BoolVar(&v.drop, "drop", false, "end the mapping")
	cmd.Flags().BoolVar(&v.yes, "yes", false, "with --drop: do it")
	cmd.Flags().StringVar(&v.why, "why", "", "a word for those who look later")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		v.format = format.value
		return v.run(a, cmd, args)
	}
	return cmd
}

// mapVerb is what the flags of `weft schema map` say.
type mapVerb struct {
	dryRun, drop, yes bool
	why, format       string
}

func (v *mapVerb) run(a *adminFlags, cmd *cobra.Command, args []string) error {
	switch n := len(args); {
	case n == 2 || n == 3:
		return usageErrorf("SUBJECT LOW HIGH name a mapping, such as bet.placed 1 2")
	case v.drop && n != 4, v.dryRun && n != 5, v.yes && !v.drop:
		return usageErrorf("--drop goes with TENANT SUBJECT LOW HIGH alone, --yes with --drop, --dry-run with a FILE")
	case n == 1:
		var list []hub.MappingView
		if err := a.do(cmd.Context(), "GET", mappingsPath(args), nil, &list); err != nil {
			return err
		}
		return printMappings(cmd.OutOrStdout(), v.format, list)
	}
	method, path, body := "GET", mappingsPath(args), any(nil)
	query := url.Values{}
	switch {
	case v.drop:
		method = "DELETE"
		query.Set("why", v.why)
	case len(args) == 5:
		spec, err := v.spec(cmd, args[4])
		if err != nil {
			return err
		}
		method, body = "PUT", spec
	}
	if method == "PUT" && !v.dryRun {
		return v.set(a, cmd, path, body)
	}
	if method == "PUT" || method == "DELETE" && !v.yes {
		query.Set("dry_run", "true")
	}
	var r hub.MappingReport
	if err := a.do(cmd.Context(), method, path+"?"+query.Encode(), body, &r); err != nil {
		return err
	}
	return printMapping(cmd.OutOrStdout(), v.format, &r)
}

// set asks first, so that all problems are shown, and takes the mapping if there are none.
func (v *mapVerb) set(a *adminFlags, cmd *cobra.Command, path string, body any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var r hub.MappingReport
	if err := c.Do(cmd.Context(), "PUT", path+"?dry_run=true", body, &r); err != nil {
		return err
	}
	if problemsOf(r.Samples) == 0 {
		r = hub.MappingReport{}
		if err := c.Do(cmd.Context(), "PUT", path, body, &r); err != nil {
			return err
		}
	}
	return printMapping(cmd.OutOrStdout(), v.format, &r)
}

// spec reads FILE; numbers keep their digits.
func (v *mapVerb) spec(cmd *cobra.Command, file string) (any, error) {
	raw, err := readInput(cmd.InOrStdin(), file)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s is no YAML: %w", file, err)
	}
	text, err := exactJSON(&doc, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, fmt.Errorf("%s is no mapping: it has members such as flag, up and samples", file)
	}
	if v.why != "" {
		if members["why"], err = json.Marshal(v.why); err != nil {
			return nil, err
		}
	}
	return members, nil
}

func mappingsPath(args []string) string {
	path := "/v1/tenants/" + url.PathEscape(args[0]) + "/mappings"
	if len(args) < 4 {
		return path
	}
	return path + "/" + url.PathEscape(args[1]) + "/" + url.PathEscape(args[2]+"-"+args[3])
}

const maxYAMLDepth = 64

var errYAMLDepth = errors.New("it is nested too deep")

// exactJSON is a YAML document as JSON in which numbers have the digits that they were written with.
func exactJSON(n *yaml.Node, depth int) ([]byte, error) {
	if depth > maxYAMLDepth {
		return nil, errYAMLDepth
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return exactJSON(n.Content[0], depth+1)
	case yaml.SequenceNode, yaml.MappingNode:
		return exactContent(n, depth)
	case yaml.ScalarNode:
		if tag := n.ShortTag(); (tag == "!!int" || tag == "!!float") && json.Valid([]byte(n.Value)) {
			return []byte(n.Value), nil
		}
		var v any
		if err := n.Decode(&v); err != nil {
			return nil, err
		}
		if _, ok := v.(float64); ok {
			return nil, fmt.Errorf("line %d: %s is no number of JSON", n.Line, n.Value)
		}
		return json.Marshal(v)
	default:
		return nil, fmt.Errorf("line %d: aliases are not read", n.Line)
	}
}

func exactContent(n *yaml.Node, depth int) ([]byte, error) {
	open, end, step := byte('['), byte(']'), 1
	if n.Kind == yaml.MappingNode {
		open, end, step = '{', '}', 2
	}
	b := []byte{open}
	for i := 0; i < len(n.Content); i += step {
		if i > 0 {
			b = append(b, ',')
		}
		if step == 2 {
			name, err := json.Marshal(n.Content[i].Value)
			if err != nil {
				return nil, err
			}
			b = append(append(b, name...), ':')
		}
		value, err := exactJSON(n.Content[i+step-1], depth+1)
		if err != nil {
			return nil, err
		}
		b = append(b, value...)
	}
	return append(b, end), nil
}

func problemsOf(samples []registry.Sample) (n int) {
	for i := range samples {
		n += len(samples[i].Problems)
	}
	return n
}

func printMappings(w io.Writer, format string, list []hub.MappingView) error {
	if format != formatTable {
		return printValue(w, format, list)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SUBJECT\tLOW\tHIGH\tFLAG\tON FOR\tHASH\tBY")
	for i := range list {
		m := &list[i]
		fmt.Fprintf(tw, "%s\t%d\t%d\t%s\t%d %%\t%.12s\t%s\n", m.Subject, m.Low, m.High, m.Flag, m.Percent, m.Hash, m.By)
	}
	return tw.Flush()
}

// printMapping tells what a mapping makes of its samples; problems end the command with exit code 3.
func printMapping(w io.Writer, format string, r *hub.MappingReport) error {
	n := problemsOf(r.Samples)
	if format != formatTable {
		if err := printValue(w, format, r); err != nil {
			return err
		}
	} else {
		printMappingText(w, r, n)
	}
	if n > 0 {
		return problemsFoundf("the mapping of %s between %d and %d does not carry its own samples: %s", r.Subject, r.Low, r.High, counted(n, "problem"))
	}
	return nil
}

func printMappingText(w io.Writer, r *hub.MappingReport, problems int) {
	printSamples(w, r.Samples)
	name := fmt.Sprintf("%s %d-%d of %s", r.Subject, r.Low, r.High, r.Tenant)
	switch {
	case problems > 0:
	case r.Dropped && r.DryRun:
		fmt.Fprintf(w, "would end the mapping %s. Nothing was done; say --yes to do it\n", name)
	case r.Dropped:
		fmt.Fprintf(w, "the mapping %s is ended: events of %d go to their topic itself from now on\n", name, r.High)
	case r.DryRun:
		fmt.Fprintf(w, "%s may be mapped so. Nothing was done\n", name)
	default:
		fmt.Fprintf(w, "%s is mapped, sha256 %.12s, behind flag %s, which is on for %d %% of keys\n", name, r.Hash, r.Flag, r.Percent)
	}
}

// printSamples writes each sample, what becomes of it, and what is wrong with that.
func printSamples(w io.Writer, samples []registry.Sample) {
	for i := range samples {
		s := &samples[i]
		fmt.Fprintf(w, "%s sample %d, %s to %s\n  in:  %s\n", s.Direction, s.Index, orNone(s.From), orNone(s.To), s.In)
		if len(s.Out) > 0 {
			fmt.Fprintf(w, "  out: %s\n", s.Out)
		}
		for _, p := range s.Problems {
			fmt.Fprintf(w, "  problem: %s\n", strings.TrimSpace(p))
		}
	}
}

func orNone(version string) string {
	if version == "" {
		return "no version yet"
	}
	return version
}
