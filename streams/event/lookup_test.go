package event_test

import (
	"testing"

	"github.com/weft-mesh/weft/streams/event"
)

func TestLookup(t *testing.T) {
	const raw = ` {"event_id":"e","key":{"user_id":"u-1","":"empty","a/b":"slash","m~n":"tilde","\u0061\u00fc":"x\ny\u00e9"},
		"payload":{"n":12.50,"big":9007199254740993,"t":true,"z":null,"e":"","list":[10,{"id":"second"},[],"last"],"0":"zero"}} `
	for _, c := range []struct {
		pointer, want string
		ok            bool
	}{
		{"/event_id", "e", true},
		{"/key/user_id", "u-1", true},
		{"/key/", "empty", true},
		{"/key/a~1b", "slash", true},
		{"/key/m~0n", "tilde", true},
		{"/key/aü", "x\nyé", true},
		{"/payload/n", "12.50", true},
		{"/payload/big", "9007199254740993", true},
		{"/payload/e", "", true},
		{"/payload/list/0", "10", true},
		{"/payload/list/1/id", "second", true},
		{"/payload/list/3", "last", true},
		{"/payload/0", "zero", true},
		{"", "", false},
		{"event_id", "", false},
		{"/key", "", false},
		{"/nothing", "", false},
		{"/key/user_id/x", "", false},
		{"/key/m~2n", "", false},
		{"/payload/t", "", false},
		{"/payload/z", "", false},
		{"/payload/list", "", false},
		{"/payload/list/2/0", "", false},
		{"/payload/list/4", "", false},
		{"/payload/list/-", "", false},
		{"/payload/list/00", "", false},
		{"/payload/list/+1", "", false},
		{"/payload/list/99999999999999999999", "", false},
		{"/payload/list/1/", "", false},
	} {
		if got, ok := event.Lookup([]byte(raw), c.pointer); got != c.want || ok != c.ok {
			t.Errorf("%s: got %q, %v; want %q, %v", c.pointer, got, ok, c.want, c.ok)
		}
	}
	for _, bad := range []string{"", "{", `{"a"`, `{"a":`, `[1`, `{"a":"x`, "{]"} {
		for _, pointer := range []string{"/a", "/0", "/1", "", "/a/b"} {
			if got, ok := event.Lookup([]byte(bad), pointer); ok && bad != `[1` {
				t.Errorf("%s in %s: %q", pointer, bad, got)
			}
		}
	}
}
