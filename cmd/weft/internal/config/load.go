package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/weft-mesh/weft/streams/fault"
)

// EnvPrefix begins the name of every environment variable that is a setting.
const EnvPrefix = "WEFT"

// Value is one effective setting.
type Value struct {
	Key    string // such as "listen.nats"
	Value  any
	Origin string // "flag --x", "env WEFT_X", "hub.yaml:7", or "default"
}

// LoadHub reads the configuration of a hub. An empty path means no file; flags may be nil. The error, if
// any, is Problems with everything that is wrong, or a fault.Error when the file cannot be read.
func LoadHub(path string, flags *pflag.FlagSet) (*Hub, error) {
	c, _, err := ResolveHub(path, flags)
	return c, err
}

// LoadRelay is LoadHub for a relay.
func LoadRelay(path string, flags *pflag.FlagSet) (*Relay, error) {
	c, _, err := ResolveRelay(path, flags)
	return c, err
}

// ResolveHub is LoadHub that also says where each value came from.
func ResolveHub(path string, flags *pflag.FlagSet) (*Hub, []Value, error) {
	c := DefaultHub()
	values, err := resolve(path, flags, &c)
	if err != nil {
		return nil, nil, err
	}
	return &c, values, nil
}

// ResolveRelay is ResolveHub for a relay.
func ResolveRelay(path string, flags *pflag.FlagSet) (*Relay, []Value, error) {
	c := DefaultRelay()
	values, err := resolve(path, flags, &c)
	if err != nil {
		return nil, nil, err
	}
	return &c, values, nil
}

// target is a configuration that holds its defaults and knows its rules.
type target interface{ problems() Problems }

// resolution is one load: what is set where.
type resolution struct {
	flags    *pflag.FlagSet
	file     file
	settings []setting
}

// resolve fills c, which holds the defaults, from file, environment and flags.
func resolve(path string, flags *pflag.FlagSet, c target) ([]Value, error) {
	f, err := readFile(path, c)
	var found Problems
	if err != nil && !errors.As(err, &found) {
		return nil, err
	}
	r := resolution{flags: flags, file: f, settings: settingsOf(c)}
	v, err := r.viper()
	if err != nil {
		return nil, err
	}
	mismatch := v.UnmarshalExact(c, viper.DecodeHook(decodeHook()), func(d *mapstructure.DecoderConfig) {
		d.ZeroFields = true // else a list of one keeps the tail of a default of three
	})
	found = append(found, r.mismatches(mismatch)...)
	found = append(found, r.located(c.problems()).without(found)...)
	if len(found) > 0 {
		found.sort()
		return nil, found
	}
	values := make([]Value, len(r.settings))
	for i, s := range settingsOf(c) {
		values[i] = Value{Key: s.key, Value: s.value.Interface(), Origin: r.origin(s)}
	}
	return values, nil
}

func (r *resolution) viper() (*viper.Viper, error) {
	v := viper.NewWithOptions(viper.ExperimentalBindStruct())
	for _, s := range r.settings {
		v.SetDefault(s.key, s.value.Interface())
	}
	v.SetEnvPrefix(EnvPrefix)
	v.SetEnvKeyReplacer(strings.NewReplacer(".", "_"))
	v.AutomaticEnv()
	if err := v.MergeConfigMap(r.file.known); err != nil {
		return nil, fault.Wrap("config.load", fault.Internal, err)
	}
	for _, s := range r.settings {
		if f := r.changed(s); f != nil {
			if err := v.BindPFlag(s.key, f); err != nil {
				return nil, fault.Wrap("config.load", fault.Internal, err)
			}
		}
	}
	return v, nil
}

// origin follows viper's order; an empty environment variable counts as not set, as it does there.
func (r *resolution) origin(s setting) string {
	line, inFile := r.file.lines[s.key]
	switch {
	case r.changed(s) != nil:
		return "flag --" + s.flag()
	case os.Getenv(s.env()) != "":
		return "env " + s.env()
	case inFile:
		return fmt.Sprintf("%s:%d", r.file.path, line)
	default:
		return "default"
	}
}

// changed is the setting's flag when the user gave it.
func (r *resolution) changed(s setting) *pflag.Flag {
	if r.flags == nil {
		return nil
	}
	if f := r.flags.Lookup(s.flag()); f != nil && f.Changed {
		return f
	}
	return nil
}

// setting finds the setting that a key such as "peers[0].leaf" belongs to.
func (r *resolution) setting(key string) (setting, bool) {
	key, _, _ = strings.Cut(key, "[")
	for _, s := range r.settings {
		if s.key == key {
			return s, true
		}
	}
	return setting{}, false
}

// located says of each problem where its value came from.
func (r *resolution) located(found Problems) Problems {
	for i, p := range found {
		s, ok := r.setting(p.Key)
		if !ok {
			continue
		}
		switch from := r.origin(s); {
		case from == "default":
		case strings.HasPrefix(from, r.file.path+":"):
			line := r.file.lines[s.key]
			if own := r.file.lines[p.Key]; own > 0 { // the line of the list's item
				line = own
			}
			found[i].Where, found[i].line = fmt.Sprintf("%s:%d", r.file.path, line), line
		default:
			found[i].Where = from
		}
	}
	return found
}

// mismatches turns the decoder's error into problems, one for each setting that has the wrong type.
func (r *resolution) mismatches(err error) Problems {
	var out Problems
	for _, leaf := range leaves(err) {
		one, ok := errors.AsType[*mapstructure.DecodeError](leaf)
		if !ok {
			out.addf("", "%s", leaf.Error())
			continue
		}
		key := strings.ToLower(one.Name())
		if s, ok := r.setting(key); ok && !strings.Contains(key, "].") { // else a part of a list's item, which has its own shape
			out.addf(key, "is not %s", s.expects())
		} else {
			out.addf(key, "%s", one.Unwrap())
		}
	}
	return r.located(out)
}

// leaves takes joined errors apart, down to those that name a field.
func leaves(err error) []error {
	for at := err; at != nil; at = errors.Unwrap(at) {
		many, ok := at.(interface{ Unwrap() []error }) //nolint:errorlint // a join, taken apart
		if !ok {
			continue
		}
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, leaves(e)...)
		}
		return out
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// without leaves out problems of settings that have one already.
func (p Problems) without(known Problems) Problems {
	return slices.DeleteFunc(p, func(one Problem) bool {
		return slices.ContainsFunc(known, func(k Problem) bool { return k.Key != "" && strings.HasPrefix(one.Key, k.Key) })
	})
}
