package main

import (
	"strings"
	"testing"
)

func TestParsePercent(t *testing.T) {
	for text, want := range map[string]int{"on": 100, "off": 0, "5": 5, "5%": 5, "100": 100, "0": 0} {
		if n, err := parsePercent(text); err != nil || n != want {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "-1", "101", "half", "5.5", "%"} {
		if _, err := parsePercent(text); exitCode(err) != exitUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestFlagVerbs(t *testing.T) {
	dir := t.TempDir()
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	for _, c := range []struct {
		code       int
		args, says string
	}{
		{0, "flag ls acme -o json", "[]"},
		{0, "flag set acme new-ledger 5 --why slowly", "new-ledger of acme is on for 5%"},
		{0, "flag ls acme", "slowly"},
		{0, "flag set acme new-ledger off", "is off"},
		{0, "flag ls acme -o yaml", "percent: 0"},
		{2, "flag set acme new-ledger half", "none of on, off"},
		{1, "flag set acme New.Ledger on", "no name of a flag"},
		{1, "flag ls nobody", "no tenant"},
	} {
		code, out, errs := weft(t, dir, append(strings.Fields(c.args), "--data", "mesh")...)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("weft %s: exit code %d\n%s%s", c.args, code, out, errs)
		}
	}
}
