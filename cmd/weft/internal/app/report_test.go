package app

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/accounts"
)

func TestReportsAreBounded(t *testing.T) {
	for n, want := range map[int]int{0: 1, 1: 1, accounts.MaxReported: 1, accounts.MaxReported + 1: 2, 3 * accounts.MaxReported: 3} {
		var versions []accounts.VersionReport
		for i := range n {
			versions = append(versions, accounts.VersionReport{Subject: fmt.Sprint(i)})
		}
		all := split(accounts.RelayReport{ID: "r1", Recorded: 7, Began: 9}, versions)
		seen := map[string]bool{}
		for _, rep := range all {
			if rep.ID != "r1" || rep.Recorded != 7 || rep.Began != 9 || len(rep.Versions) > accounts.MaxReported {
				t.Errorf("%d versions: %+v", n, rep)
			}
			for _, v := range rep.Versions {
				seen[v.Subject] = true
			}
		}
		if len(all) != want || len(seen) != n {
			t.Errorf("%d versions make %d reports of %d", n, len(all), len(seen))
		}
	}
}
