package confirm_test

import (
	"encoding/json"
	"testing"

	"github.com/weft-mesh/weft/streams/confirm"
)

// Both ends are deployed apart, so the wire form is fixed here.
func TestWireForm(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{confirm.Request{Origin: "eu_1", Seq: 18446744073709551615, WaitMS: 4500}, `{"origin":"eu_1","seq":18446744073709551615,"wait_ms":4500}`},
		{confirm.Response{Seq: 7, Region: "us"}, `{"seq":7,"region":"us"}`},
		{confirm.Response{Error: confirm.NoPeers}, `{"seq":0,"error":"no_peers"}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v; want %s", got, err, c.want)
		}
	}
}
