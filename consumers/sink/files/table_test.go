package files

import "testing"

func TestVersionNames(t *testing.T) {
	for _, v := range []int64{0, 7, 1 << 62} {
		if got, ok := parseVersion(versionName(v)); !ok || got != v {
			t.Errorf("%s is read as %d", versionName(v), got)
		}
	}
	for _, name := range []string{"", "7.json", "00000000000000000007.jso", "00000000000000000007.checkpoint.parquet", "-0000000000000000007.json", "0000000000000000007x.json", "_last_checkpoint"} {
		if v, ok := parseVersion(name); ok {
			t.Errorf("%q is read as %d", name, v)
		}
	}
}
