package streams_test

import (
	"math"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams"
)

func TestCheckCapacity(t *testing.T) {
	const gib = 1 << 30
	accounts := func(n int, disk int64, perAccount, consumers int) []streams.AccountCapacity {
		out := make([]streams.AccountCapacity, n)
		for i := range out {
			out[i] = streams.AccountCapacity{Name: "t", DiskBytes: disk, Streams: perAccount, Consumers: consumers}
		}
		return out
	}
	tests := []struct {
		name string
		in   streams.CapacityInput
		want string // code, then a part of the line; "" = fits
	}{
		{"exactly", streams.CapacityInput{Store: 10 * gib, Accounts: accounts(10, gib, 5, 100)}, ""},
		{"a byte too much", streams.CapacityInput{Store: 10*gib - 1, Accounts: accounts(10, gib, 5, 0)},
			"disk disk of 10 accounts: 10.0 GiB needed, 10.0 GiB on 1 server(s) there: lower tenants' disk limits by 1 B in all"},
		{"three servers share", streams.CapacityInput{Store: 4 * gib, Servers: 3, Replicas: 3, Accounts: accounts(12, gib, 1, 0)}, ""},
		{"no overflow", streams.CapacityInput{Store: gib, Accounts: accounts(3, math.MaxInt64, 1, 0)}, "disk "},
		{"no limit", streams.CapacityInput{Store: gib, Accounts: accounts(1, -1, 1, 0)}, "disk disk of account t: a limit needed, none there"},
		{"replicas without servers", streams.CapacityInput{Store: gib, Servers: 1, Replicas: 3}, "replicas replicas of streams: 3 servers needed, 1 there"},
		{"even replicas", streams.CapacityInput{Store: gib, Servers: 3, Replicas: 2}, "replicas replicas of streams: an odd number (1 or 3) needed, 2 there"},
		{"many streams, one server", streams.CapacityInput{Store: gib, Accounts: accounts(100, 1, 100, 100)}, ""},
		{"many replicated streams", streams.CapacityInput{Store: gib, Servers: 3, Replicas: 3, Accounts: accounts(401, 1, 5, 64)}, "assets replicated streams and consumers: 2005 Raft groups needed"},
		{"just enough", streams.CapacityInput{Store: gib, Servers: 3, Replicas: 3, Accounts: accounts(400, 1, 5, 64)}, ""},
		{"replicated consumers", streams.CapacityInput{Store: gib, Servers: 3, Replicas: 3, ConsumerReplicas: 3, Accounts: accounts(31, 1, 1, 64)}, "assets "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := streams.CheckCapacity(tt.in)
			if tt.want == "" {
				if len(got) > 0 {
					t.Errorf("%v", got)
				}
				return
			}
			if len(got) != 1 || !strings.HasPrefix(got[0].Code+" "+got[0].String(), tt.want) {
				t.Errorf("got %v\nwant %s", got, tt.want)
			}
		})
	}
}
