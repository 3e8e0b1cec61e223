package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/weft-mesh/weft/cmd/weft/internal/config"
)

// configRole is a process that has a configuration.
type configRole struct {
	name    string
	flags   func(*pflag.FlagSet)
	resolve func(path string, flags *pflag.FlagSet) ([]config.Value, error)
}

func configRoles() []configRole {
	return []configRole{
		{"hub", config.HubFlags, func(path string, flags *pflag.FlagSet) ([]config.Value, error) {
			_, values, err := config.ResolveHub(path, flags)
			return values, err
		}},
		{"relay", config.RelayFlags, func(path string, flags *pflag.FlagSet) ([]config.Value, error) {
			_, values, err := config.ResolveRelay(path, flags)
			return values, err
		}},
		{"consumer", config.ConsumerFlags, func(path string, flags *pflag.FlagSet) ([]config.Value, error) {
			_, values, err := config.ResolveConsumer(path, flags)
			return values, err
		}},
	}
}

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and check the configuration of a hub, a relay or a consumer",
		Long: `config shows what a hub, a relay or a consumer would run with, and checks it without starting anything. Each setting
comes from a flag (--listen-nats), else the environment (WEFT_LISTEN_NATS), else the file (listen: {nats: …}), else a default.`,
	}
	show := &cobra.Command{
		Use: "print", Short: "Print every setting in force and where it came from",
		Example: "  weft config print hub --config hub.yaml\n  weft config print relay -o yaml > relay.yaml",
	}
	check := &cobra.Command{
		Use: "validate", Short: "Check a configuration; exit code 3 when it has problems",
		Example: "  weft config validate hub --config hub.yaml\n  weft config validate relay --config relay.yaml -o json",
	}
	for _, role := range configRoles() {
		show.AddCommand(newConfigPrint(role))
		check.AddCommand(newConfigValidate(role))
	}
	cmd.AddCommand(show, check)
	return cmd
}

func newConfigPrint(role configRole) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   role.name,
		Short: fmt.Sprintf("Print the configuration of a %s", role.name),
		Args:  cobra.NoArgs,
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.Flags().StringVar(&file, "config", "", "YAML file")
	role.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		values, err := role.resolve(file, cmd.Flags())
		if problems, ok := errors.AsType[config.Problems](err); ok {
			return configRefused(cmd, formatTable, problems)
		}
		if err != nil {
			return err
		}
		return printConfig(cmd.OutOrStdout(), format.value, values)
	}
	return cmd
}

func newConfigValidate(role configRole) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   role.name,
		Short: fmt.Sprintf("Check the configuration of a %s", role.name),
		Args:  cobra.NoArgs,
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.Flags().StringVar(&file, "config", "", "YAML file")
	role.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, err := role.resolve(file, cmd.Flags())
		if problems, ok := errors.AsType[config.Problems](err); ok {
			return configRefused(cmd, format.value, problems)
		}
		if err != nil {
			return err
		}
		if format.value != formatTable {
			return printValue(cmd.OutOrStdout(), format.value, configReport{Problems: config.Problems{}})
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the %s configuration is valid\n", role.name)
		return err
	}
	return cmd
}

type configReport struct {
	Problems config.Problems `json:"problems"`
}

// configRefused lists the problems, one line each, and ends with exit code 3.
func configRefused(cmd *cobra.Command, format string, problems config.Problems) error {
	var err error
	if format != formatTable {
		err = printValue(cmd.OutOrStdout(), format, configReport{problems})
	} else {
		for _, p := range problems {
			fmt.Fprintln(cmd.OutOrStdout(), p)
		}
	}
	if err != nil {
		return err
	}
	return problemsFoundf("%s found", counted(len(problems), "problem"))
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

type configValue struct {
	Value  any    `json:"value"`
	Origin string `json:"origin"`
}

// printConfig writes a table, a JSON object by dotted key, or a YAML file that can be used as it is.
func printConfig(w io.Writer, format string, values []config.Value) error {
	switch format {
	case formatJSON:
		out := map[string]configValue{}
		for _, v := range values {
			out[v.Key] = configValue{plainValue(v.Value), v.Origin}
		}
		return printJSON(w, out)
	case formatYAML:
		root, err := configNode(values)
		if err != nil {
			return err
		}
		return printYAML(w, root)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SETTING\tVALUE\tFROM")
	for _, v := range values {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", v.Key, cellValue(v.Value), v.Origin)
	}
	return tw.Flush()
}

// plainValue is the value as the file writes it.
func plainValue(v any) any {
	switch v := v.(type) {
	case time.Duration:
		return v.String()
	case config.ByteSize:
		return v.String()
	case []string:
		return append([]string{}, v...)
	case []config.Peer:
		return append([]config.Peer{}, v...)
	case []config.Issuer:
		return append([]config.Issuer{}, v...)
	}
	return v
}

func cellValue(v any) string {
	var text string
	switch v := v.(type) {
	case []string:
		text = strings.Join(v, ",")
	case []config.Peer:
		peers := make([]string, len(v))
		for i, p := range v {
			peers[i] = p.Name + "=" + strings.Join(p.Leaf, ",")
		}
		text = strings.Join(peers, ";")
	case []config.Issuer:
		names := make([]string, len(v))
		for i, one := range v {
			names[i] = one.Issuer
		}
		text = strings.Join(names, ",")
	default:
		text = fmt.Sprint(plainValue(v))
	}
	if text == "" {
		return "-"
	}
	return text
}

// configNode nests the dotted keys and puts each origin into a comment.
func configNode(values []config.Value) (*yaml.Node, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, v := range values {
		at := root
		key := v.Key
		for {
			section, rest, nested := strings.Cut(key, ".")
			if !nested {
				break
			}
			at, key = sectionNode(at, section), rest
		}
		var value yaml.Node
		if err := value.Encode(plainValue(v.Value)); err != nil {
			return nil, err
		}
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: key}
		if value.Kind == yaml.ScalarNode || len(value.Content) == 0 {
			value.LineComment = v.Origin
		} else {
			name.HeadComment = v.Origin
		}
		at.Content = append(at.Content, name, &value)
	}
	return root, nil
}

func sectionNode(in *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(in.Content); i += 2 {
		if in.Content[i].Value == name {
			return in.Content[i+1]
		}
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	in.Content = append(in.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, section)
	return section
}
