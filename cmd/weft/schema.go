package main

import (
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/compat"
)

func newSchemaCommand() *cobra.Command {
	var a adminFlags
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Register, compare, promote, roll back and retire the schemas of a tenant's events",
		Long: `A schema describes the payload of one event type, as JSON Schema (2020-12, draft-07) or Protobuf. Each version is three
numbers and never changes; it is registered as a draft, may be a canary, is active, deprecated, and in the end retired.
A version must be able to follow those that are live: by default whoever reads with it can read what was written with
any of them. Any region takes these commands, and all regions know the result within seconds.

What is compatible, and what to do when something is not: deploy/docs/schemas.md.`,
	}
	a.register(cmd)
	cmd.AddCommand(newSchemaRegister(&a), newSchemaCheck(&a), newSchemaDiff(&a), newSchemaList(&a), newSchemaShow(&a), newSchemaPromote(&a), newSchemaRollback(&a), newSchemaRetire(&a), newSchemaRules(&a), newSchemaMap(&a))
	return cmd
}

func schemasPath(tenant string) string { return "/v1/tenants/" + url.PathEscape(tenant) + "/schemas" }

func schemaPath(args []string) string {
	return schemasPath(args[0]) + "/" + url.PathEscape(args[1]) + "/" + url.PathEscape(args[2])
}

// schemaSource is what a document is, besides what TENANT SUBJECT VERSION FILE say.
type schemaSource struct{ language, message string }

func (s *schemaSource) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.language, "language", "", "json-schema or protobuf (default: protobuf for a file.proto, else json-schema)")
	cmd.Flags().StringVar(&s.message, "message", "", "of protobuf: the full name of the payload's message (default: the one that the file has)")
}

// spec reads what TENANT SUBJECT VERSION FILE name.
func (s *schemaSource) spec(cmd *cobra.Command, args []string) (hub.SchemaSpec, error) {
	v, err := schema.ParseVersion(args[2])
	if err != nil {
		return hub.SchemaSpec{}, usageErrorf("%s", errorText(err))
	}
	text, err := readInput(cmd.InOrStdin(), args[3])
	if err != nil {
		return hub.SchemaSpec{}, err
	}
	spec := hub.SchemaSpec{Subject: args[1], Version: v, Language: schema.Language(s.language), Message: s.message, Text: text}
	if s.language == "" {
		spec.Language = schema.JSONSchema
		if strings.HasSuffix(args[3], ".proto") {
			spec.Language = schema.Protobuf
		}
	}
	return spec, nil
}

func newSchemaRegister(a *adminFlags) *cobra.Command {
	var source schemaSource
	var why string
	cmd := &cobra.Command{
		Use:   "register TENANT SUBJECT VERSION FILE|-",
		Short: "Register a version as a draft",
		Long: `register takes a document as a version of SUBJECT, an event type. The version is a draft: it says nothing about events
until it is promoted. Registering the same content again changes nothing; other content under a version that exists is
refused. What may not follow the live versions is refused with each place, rule, old and new text and a way out, and the
exit code is 3.`,
		Example: "  weft schema register acme bet.placed 1.0.0 bet.json\n  weft schema register acme kyc.done 1.2.0 kyc.proto --message acme.kyc.v1.Done --why 'country is told'",
		Args:    cobra.ExactArgs(4),
	}
	source.register(cmd)
	cmd.Flags().StringVar(&why, "why", "", "a word for those who look later")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := source.spec(cmd, args)
		if err != nil {
			return err
		}
		spec.Why = why
		c, err := a.client()
		if err != nil {
			return err
		}
		var r hub.SchemaReport
		if err := c.Do(cmd.Context(), "POST", schemasPath(args[0])+"?dry_run=true", spec, &r); err != nil {
			return err
		}
		if (len(r.Findings) == 0 || !r.Enforced) && problemsOf(r.Samples) == 0 {
			r = hub.SchemaReport{}
			if err := c.Do(cmd.Context(), "POST", schemasPath(args[0]), spec, &r); err != nil {
				return err
			}
		}
		return printSchemaReport(cmd.OutOrStdout(), format.value, &r)
	}
	return cmd
}

func newSchemaCheck(a *adminFlags) *cobra.Command {
	var source schemaSource
	var mode string
	cmd := &cobra.Command{
		Use:   "check TENANT SUBJECT VERSION FILE|-",
		Short: "Say whether a document could be registered, and register nothing",
		Long: `check is what register does first: the document has to compile and to follow the live versions. The exit code is 3 when it
may not. --mode asks what another mode of compatibility would say.`,
		Example: "  weft schema check acme bet.placed 1.1.0 bet.json\n  weft schema check acme bet.placed 1.1.0 bet.json --mode full_transitive -o json",
		Args:    cobra.ExactArgs(4),
	}
	source.register(cmd)
	cmd.Flags().StringVar(&mode, "mode", "", "none, backward, forward or full, each of the last three also with _transitive (default: the tenant's)")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := source.spec(cmd, args)
		if err != nil {
			return err
		}
		if mode != "" {
			if spec.Mode, err = compat.ParseLevel(mode); err != nil {
				return usageErrorf("--mode: %s", errorText(err))
			}
		}
		var r hub.SchemaReport
		if err := a.do(cmd.Context(), "POST", schemasPath(args[0])+"?dry_run=true", spec, &r); err != nil {
			return err
		}
		return printSchemaReport(cmd.OutOrStdout(), format.value, &r)
	}
	return cmd
}

func newSchemaDiff(a *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "diff TENANT SUBJECT OLD NEW",
		Short:   "Show what two versions say differently, and whom it breaks",
		Long:    "diff shows the lines that differ, of JSON in one form, and what the change breaks for readers with the new version\n(backward) and for readers with the old one (forward).",
		Example: "  weft schema diff acme bet.placed 1.0.0 1.1.0",
		Args:    cobra.ExactArgs(4),
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var docs [2]*schema.Document
		for i, version := range args[2:] {
			var v hub.SchemaView
			if err := c.Do(cmd.Context(), "GET", schemaPath([]string{args[0], args[1], version}), nil, &v); err != nil {
				return err
			}
			docs[i] = &schema.Document{Subject: v.Subject, Version: v.Version, Language: v.Language, Message: v.Message, Text: []byte(v.Text)}
		}
		found, err := registry.Compare(compat.Mode{Level: compat.Full}, []*schema.Document{docs[0]}, docs[1])
		if err != nil {
			return err
		}
		return printSchemaDiff(cmd.OutOrStdout(), format.value, &schemaDiff{Old: docs[0].Version, New: docs[1].Version, Lines: diffLines(plainLines(docs[0]), plainLines(docs[1])), Findings: found})
	}
	return cmd
}

func newSchemaList(a *adminFlags) *cobra.Command {
	var of string
	cmd := &cobra.Command{
		Use:   "ls TENANT",
		Short: "List versions and where they stand",
		Args:  cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&of, "subject", "", "one event type (default: all)")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var list []hub.SchemaView
		if err := a.do(cmd.Context(), "GET", schemasPath(args[0])+"?subject="+url.QueryEscape(of), nil, &list); err != nil {
			return err
		}
		return printSchemas(cmd.OutOrStdout(), format.value, list)
	}
	return cmd
}

func newSchemaShow(a *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show TENANT SUBJECT VERSION",
		Short:   "Show a version: its document, and who put it where it stands",
		Example: "  weft schema show acme bet.placed 1.0.0\n  weft schema show acme bet.placed 1.0.0 -o raw > bet.json",
		Args:    cobra.ExactArgs(3),
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML, formatRaw)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var v hub.SchemaView
		if err := a.do(cmd.Context(), "GET", schemaPath(args), nil, &v); err != nil {
			return err
		}
		return printSchema(cmd.OutOrStdout(), format.value, &v)
	}
	return cmd
}

func newSchemaPromote(a *adminFlags) *cobra.Command {
	var spec hub.SchemaStepSpec
	var to string
	cmd := &cobra.Command{
		Use:   "promote TENANT SUBJECT VERSION",
		Short: "Make a version active, or a canary, deprecated, a draft again",
		Long: `promote takes one step of a version's life: a draft becomes canary or active, a canary active or a draft again, an active
version deprecated, and a deprecated one active again. What becomes canary or active is compared once more with what is
live by then. The exit code is 3 when it may not follow.

What becomes canary or active is on trial: a canary is tried on a share of the events and becomes active by itself when
it stays green; an active version is rolled back by itself when it turns red. What that takes say the tenant's rules
(canary), and for this version the flags below. weft schema show tells how it does.`,
		Example: "  weft schema promote acme bet.placed 1.1.0 --to canary --share 25 --sample 500 --hold 10m\n  weft schema promote acme bet.placed 1.1.0\n  weft schema promote acme bet.placed 1.0.0 --to deprecated --why 'use 1.1.0'",
		Args:    cobra.ExactArgs(3),
	}
	cmd.Flags().StringVar(&to, "to", string(schema.Active), "canary, active, deprecated or draft")
	cmd.Flags().StringVar(&spec.Why, "why", "", "a word for those who look later")
	trial := newTrialFlags(cmd)
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if spec.Trial, err = trial.spec(cmd); err != nil {
			return err
		}
		if spec.Status, err = schema.ParseStatus(to); err != nil || spec.Status == schema.Retired {
			return usageErrorf("--to %q is none of canary, active, deprecated and draft; `weft schema retire` ends a version", to)
		}
		return a.stepSchema(cmd, args, format.value, &spec, true)
	}
	return cmd
}

func newSchemaRetire(a *adminFlags) *cobra.Command {
	spec := hub.SchemaStepSpec{Status: schema.Retired}
	var yes bool
	cmd := &cobra.Command{
		Use:   "retire TENANT SUBJECT VERSION",
		Short: "End a version for good",
		Long: `retire ends a version in all regions: nothing brings it back, and its number is never free again. It is the way out for a
version that two regions registered with different contents. An active version has to be deprecated first. Without
--yes it only tells what would happen.`,
		Args: cobra.ExactArgs(3),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	cmd.Flags().StringVar(&spec.Why, "why", "", "a word for those who look later")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.stepSchema(cmd, args, format.value, &spec, yes)
	}
	return cmd
}

// stepSchema asks first, and takes the step if it may be taken and do says so.
func (a *adminFlags) stepSchema(cmd *cobra.Command, args []string, format string, spec *hub.SchemaStepSpec, do bool) error {
	if len(spec.Why) > accounts.MaxSchemaWhy {
		return usageErrorf("--why is longer than %d bytes", accounts.MaxSchemaWhy)
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var r hub.SchemaStepReport
	path := schemaPath(args) + "/step"
	if err := c.Do(cmd.Context(), "POST", path+"?dry_run=true", spec, &r); err != nil {
		return err
	}
	if do && (len(r.Findings) == 0 || !r.Enforced) {
		r = hub.SchemaStepReport{}
		if err := c.Do(cmd.Context(), "POST", path, spec, &r); err != nil {
			return err
		}
	}
	if err := printSchemaStep(cmd.OutOrStdout(), format, &r); err != nil {
		return err
	}
	if len(r.Findings) > 0 && r.Enforced {
		return problemsFoundf("%s %s may not become %s: %s", r.Subject, r.Version, r.Status, counted(len(r.Findings), "finding"))
	}
	return nil
}
