package config

import (
	"cmp"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// setting is one leaf of a configuration struct.
type setting struct {
	key   string        // "listen.nats"
	usage string        // from the field's tag
	short string        // from the field's tag: the flag's name, where it is not the key's
	value reflect.Value // the field itself: settable, and seen by later reads
}

func (s setting) flag() string {
	return cmp.Or(s.short, strings.NewReplacer(".", "-", "_", "-").Replace(s.key))
}

func (s setting) env() string {
	return EnvPrefix + "_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// settingsOf lists the leaves of the struct that c points to, in the order of its fields.
func settingsOf(c any) []setting { return appendSettings(nil, "", reflect.ValueOf(c).Elem()) }

func appendSettings(out []setting, prefix string, v reflect.Value) []setting {
	for field, value := range v.Fields() {
		key := prefix + field.Tag.Get("mapstructure")
		if value.Kind() == reflect.Struct {
			out = appendSettings(out, key+".", value)
			continue
		}
		out = append(out, setting{key: key, usage: field.Tag.Get("usage"), short: field.Tag.Get("flag"), value: value})
	}
	return out
}

// HubFlags adds a flag for every setting of a hub: --listen-nats for listen.nats.
func HubFlags(flags *pflag.FlagSet) {
	c := DefaultHub()
	addFlags(flags, settingsOf(&c))
}

// RelayFlags adds a flag for every setting of a relay.
func RelayFlags(flags *pflag.FlagSet) {
	c := DefaultRelay()
	addFlags(flags, settingsOf(&c))
}

func addFlags(flags *pflag.FlagSet, settings []setting) {
	for _, s := range settings {
		switch value := s.value.Interface().(type) {
		case bool:
			flags.Bool(s.flag(), value, s.usage)
		case int:
			flags.Int(s.flag(), value, s.usage)
		case time.Duration:
			flags.Duration(s.flag(), value, s.usage)
		case ByteSize:
			flags.Var(&value, s.flag(), s.usage)
		case []string:
			flags.StringSlice(s.flag(), value, s.usage)
		case []Peer:
			flags.String(s.flag(), "", s.usage)
		case []Issuer: // too much for a flag: the file has it
		case string:
			flags.String(s.flag(), value, s.usage)
		case From:
			flags.String(s.flag(), string(value), s.usage)
		default:
			panic("config: no flag type for setting " + s.key)
		}
	}
}

// expects says what a value of the setting looks like.
func (s setting) expects() string {
	switch s.value.Interface().(type) {
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case time.Duration:
		return "a duration with its unit, such as 1s or 500ms"
	case ByteSize:
		return "a size such as 512KiB or 8GiB"
	case []string:
		return "a list of texts"
	case []Peer:
		return "a list of peers, each with name and leaf"
	case []Issuer:
		return "a list of issuers, which only the file can hold"
	default:
		return "a text"
	}
}
