package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weft-mesh/weft/streams/fault"
)

// file is what a configuration file sets.
type file struct {
	path  string
	known map[string]any // nested, by the keys that settings have
	lines map[string]int // dotted key -> line, of every leaf that is set
}

// readFile reads the YAML at path against the shape of c; no path is an empty file. Unknown keys, keys
// that occur twice and bad YAML are Problems.
func readFile(path string, c any) (file, error) {
	f := file{path: path, known: map[string]any{}, lines: map[string]int{}}
	if path == "" {
		return f, nil
	}
	raw, err := readRaw(path)
	if err != nil {
		return f, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	var doc, second yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return f, nil
	case err != nil:
		return f, Problems{{Where: path, Detail: strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	w := walker{file: &f, all: keysOf(c)}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		w.problemf(&doc, "", "the file holds more than one YAML document")
	}
	root := doc.Content[0]
	switch {
	case root.Kind == yaml.MappingNode:
		f.known = w.mapping(root, reflect.TypeOf(c).Elem(), "")
	case root.Tag != "!!null":
		w.problemf(root, "", "the file is not a mapping of settings")
	}
	return f, w.found.err()
}

// walker compares a YAML tree with the shape of a struct.
type walker struct {
	file  *file
	all   []string // every dotted key that exists, for suggestions
	found Problems
}

func (w *walker) mapping(node *yaml.Node, shape reflect.Type, prefix string) map[string]any {
	out := map[string]any{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		keyNode, value := node.Content[i], node.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		key := strings.ToLower(keyNode.Value)
		field, ok := fieldOf(shape, key)
		if !ok {
			w.unknown(keyNode, shape, prefix)
			continue
		}
		if _, twice := out[key]; twice {
			w.problemf(keyNode, prefix+key, "is set twice")
			continue
		}
		if value.Tag == "!!null" {
			continue // "listen:" with nothing below it sets nothing
		}
		out[key] = w.value(value, field.Type, prefix+key)
	}
	return out
}

func (w *walker) value(node *yaml.Node, shape reflect.Type, key string) any {
	if shape.Kind() == reflect.Struct && node.Kind == yaml.MappingNode {
		return w.mapping(node, shape, key+".")
	}
	if _, seen := w.file.lines[key]; !seen {
		w.file.lines[key] = node.Line
	}
	if shape.Kind() == reflect.Slice && shape.Elem().Kind() == reflect.Struct && node.Kind == yaml.SequenceNode {
		items := make([]any, len(node.Content))
		for i, item := range node.Content {
			items[i] = w.value(item, shape.Elem(), fmt.Sprintf("%s[%d]", key, i))
		}
		return items
	}
	var v any
	if err := node.Decode(&v); err != nil {
		w.problemf(node, key, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return v
}

func (w *walker) unknown(node *yaml.Node, shape reflect.Type, prefix string) {
	detail := "unknown key"
	candidates := slices.Clone(w.all)
	for field := range shape.Fields() { // of a list's item, which are not settings by themselves
		candidates = append(candidates, prefix+field.Tag.Get("mapstructure"))
	}
	if meant := nearest(prefix+node.Value, candidates); meant != "" {
		detail += fmt.Sprintf(", did you mean %q?", meant)
	}
	w.problemf(node, prefix+node.Value, "%s", detail)
}

func (w *walker) problemf(node *yaml.Node, key, format string, args ...any) {
	w.found = append(w.found, Problem{
		Key:    key,
		Where:  fmt.Sprintf("%s:%d", w.file.path, max(1, node.Line)),
		Detail: fmt.Sprintf(format, args...),
		line:   max(1, node.Line),
	})
}

func fieldOf(shape reflect.Type, key string) (reflect.StructField, bool) {
	for field := range shape.Fields() {
		if field.Tag.Get("mapstructure") == key {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

func keysOf(c any) []string {
	settings := settingsOf(c)
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.key
	}
	return keys
}

func readRaw(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		return raw, nil
	}
	reason := err.Error()
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		reason = p.Err.Error()
	}
	kind := fault.Unavailable
	if errors.Is(err, fs.ErrNotExist) {
		kind = fault.NotFound
	}
	return nil, fault.New("config.load", kind, "config_unreadable", "cannot read the configuration %s: %s", path, reason)
}
