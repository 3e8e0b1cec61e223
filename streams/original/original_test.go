package original_test

import (
	"encoding/json"
	"testing"

	"github.com/weft-mesh/weft/streams/original"
)

// Both ends are deployed apart, so the wire form is fixed here.
func TestWireForm(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{original.Request{Seqs: []uint64{1, 18446744073709551615}}, `{"seqs":[1,18446744073709551615]}`},
		{original.Digest{Seq: 1, EventID: "e", Digest: "ab", Origin: "eu_1"}, `{"seq":1,"event_id":"e","digest":"ab","origin":"eu_1"}`},
		{original.Digest{Seq: 1, EventID: "e", Digest: "ab", Sourced: true}, `{"seq":1,"event_id":"e","digest":"ab","sourced":true}`},
		{original.Response{Digests: []original.Digest{{Seq: 1, EventID: "e", Digest: "ab"}, {Seq: 2, Error: original.NotFound}}},
			`{"digests":[{"seq":1,"event_id":"e","digest":"ab"},{"seq":2,"error":"not_found"}]}`},
	} {
		got, err := json.Marshal(c.v)
		if err != nil || string(got) != c.want {
			t.Errorf("%s, %v; want %s", got, err, c.want)
		}
	}
}
