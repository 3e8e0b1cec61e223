package config

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"

	"github.com/weft-mesh/weft/accounts"
)

// errNoUnit is a duration given as a bare number: the decoder would take it for nanoseconds.
var errNoUnit = errors.New("a duration needs its unit")

// errLossy is a value that the decoder would bend until it fits.
var errLossy = errors.New("the value would be changed")

func decodeHook() mapstructure.DecodeHookFunc {
	return mapstructure.ComposeDecodeHookFunc(
		refuseLossy,
		stringToPeers,
		issuerDefaults,
		stringToList,
		mapstructure.StringToTimeDurationHookFunc(),
		mapstructure.TextUnmarshallerHookFunc(),
	)
}

// refuseLossy stops the decoder's weak typing, which is needed for environment variables, from bending
// what a file says: 1.5 to 1, true to "1", 5 to five nanoseconds.
func refuseLossy(from, to reflect.Type, data any) (any, error) {
	switch {
	case from == to:
		return data, nil
	case (to == reflect.TypeFor[time.Duration]() || to == reflect.TypeFor[accounts.Duration]()) && from.Kind() != reflect.String:
		return nil, errNoUnit
	case isInteger(to.Kind()) && !isInteger(from.Kind()) && from.Kind() != reflect.String:
		return nil, errLossy
	case to.Kind() == reflect.String && (from.Kind() == reflect.Bool || from.Kind() == reflect.Float64):
		return nil, errLossy
	}
	return data, nil
}

func isInteger(k reflect.Kind) bool { return k >= reflect.Int && k <= reflect.Uint64 }

// stringToList splits what an environment variable or a flag says: "a,b".
func stringToList(from, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	if !ok || to != reflect.TypeFor[[]string]() || from.Kind() != reflect.String {
		return data, nil
	}
	return splitList(text, ","), nil
}

// stringToPeers reads the one-line form of peers: "us=tls://a:7422,tls://b:7422;ap=tls://c:7422".
func stringToPeers(from, to reflect.Type, data any) (any, error) {
	text, ok := data.(string)
	if !ok || to != reflect.TypeFor[[]Peer]() || from.Kind() != reflect.String {
		return data, nil
	}
	var peers []Peer
	for _, one := range splitList(text, ";") {
		name, leaf, _ := strings.Cut(one, "=")
		peers = append(peers, Peer{Name: strings.TrimSpace(name), Leaf: splitList(leaf, ",")})
	}
	return peers, nil
}

func splitList(text, separator string) []string {
	out := []string{}
	for item := range strings.SplitSeq(text, separator) {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}
