package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func TestFlagsReachTheOtherRegion(t *testing.T) {
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	eu, us, ctx := m.hubs["eu-0"], m.hubs["us-0"], t.Context()
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		_, err := us.Flags("acme")
		return err == nil, fmt.Sprint(err)
	})
	began := time.Now()
	_, err := us.SetFlag(ctx, "acme", "beta", FlagSpec{Percent: 30, Why: "try"}, "tester")
	m.must(err)
	streamtest.Eventually(t, 2*time.Second, func() (bool, string) {
		f := eu.State().Flag("acme", "beta")
		return f != nil && f.Percent == 30 && f.By == "tester", fmt.Sprintf("the other region has %+v", f)
	})
	t.Logf("a flag took %s to the other region", time.Since(began).Round(time.Millisecond))
	_, err = eu.SetFlag(ctx, "acme", "beta", FlagSpec{Percent: 0}, "tester")
	m.must(err)
	streamtest.Eventually(t, 2*time.Second, func() (bool, string) {
		f := us.State().Flag("acme", "beta")
		return f.Percent == 0, fmt.Sprintf("%+v", f)
	})
	for i := 1; i < flag.MaxOfTenant; i++ {
		_, err := eu.SetFlag(ctx, "acme", fmt.Sprintf("f-%d", i), FlagSpec{}, "tester")
		m.must(err)
	}
	for code, try := range map[string]func() error{
		"flag_limit":     func() error { _, err := eu.SetFlag(ctx, "acme", "more", FlagSpec{}, "tester"); return err },
		"flag_percent":   func() error { _, err := eu.SetFlag(ctx, "acme", "beta", FlagSpec{Percent: 101}, "tester"); return err },
		"flag_name":      func() error { _, err := eu.SetFlag(ctx, "acme", "No.Name", FlagSpec{}, "tester"); return err },
		"no_such_tenant": func() error { _, err := eu.SetFlag(ctx, "nobody", "beta", FlagSpec{}, "tester"); return err },
	} {
		if err := try(); fault.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
}
