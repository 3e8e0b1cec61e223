package flag_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestEnds(t *testing.T) {
	var none *flag.Flag
	for name, c := range map[string]struct {
		f    *flag.Flag
		want bool
	}{
		"no flag": {none, false}, "off": {&flag.Flag{Percent: 0}, false}, "on": {&flag.Flag{Percent: 100}, true},
		"less than nothing": {&flag.Flag{Percent: -5}, false}, "more than all": {&flag.Flag{Percent: 500}, true},
	} {
		for i := range 1000 {
			if c.f.On(fmt.Sprint(i)) != c.want {
				t.Fatalf("%s: of key %d it is not %t", name, i, c.want)
			}
		}
	}
}

// The place of a key is part of the interface: other programs compute it.
func TestPlacesAreFixed(t *testing.T) {
	var on []string
	for i := range 20 {
		if key := fmt.Sprintf("u%d", i); (&flag.Flag{Tenant: "acme", Name: "dual-write", Percent: 25}).On(key) {
			on = append(on, key)
		}
	}
	if got := strings.Join(on, " "); got != "u6 u7 u12 u15" {
		t.Errorf("on for %s", got)
	}
}

func TestAKeyStaysInWhenThePercentageGrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := flag.Flag{Tenant: "acme", Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), Percent: rapid.IntRange(0, 100).Draw(t, "percent")}
		more := f
		more.Percent = rapid.IntRange(f.Percent, 100).Draw(t, "more")
		if key := rapid.String().Draw(t, "key"); f.On(key) && !more.On(key) {
			t.Fatalf("%q is out at %d%% and was in at %d%%", key, more.Percent, f.Percent)
		}
	})
}

func TestShareAndIndependence(t *testing.T) {
	const n = 20000
	a, b := flag.Flag{Tenant: "acme", Name: "a", Percent: 30}, flag.Flag{Tenant: "acme", Name: "b", Percent: 30}
	share, both := 0, 0
	for i := range n {
		key := fmt.Sprintf("user-%d", i)
		if a.On(key) {
			share++
			if b.On(key) {
				both++
			}
		}
	}
	if share < n*28/100 || share > n*32/100 || both < n*7/100 || both > n*11/100 {
		t.Errorf("%d of %d keys, %d of them under another flag too", share, n, both)
	}
}

func TestNoAllocation(t *testing.T) {
	f := &flag.Flag{Tenant: "acme", Name: "dual-write", Percent: 50}
	if n := testing.AllocsPerRun(100, func() { f.On("user-1234567890") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestValidate(t *testing.T) {
	for code, f := range map[string]flag.Flag{
		"flag_name": {Name: "Dual.Write"}, "flag_percent": {Name: "a", Percent: 101}, "flag_why": {Name: "a", Why: strings.Repeat("x", flag.MaxWhy+1)},
	} {
		if err := f.Validate(); fault.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	if err := (&flag.Flag{Name: "dual-write", Percent: 7}).Validate(); err != nil {
		t.Error(err)
	}
}
