package group

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/streams/partition"
)

// Widths are how many durables a group may have.
func Widths() []int { return []int{1, 4, 16, 64} }

// Durables are the names of a group's durables, in their order.
func Durables(group string, width int) []string {
	names := make([]string, width)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%02d", group, i)
	}
	return names
}

// Partitions are those of the i-th durable of a group of that width.
func Partitions(width, i int) []int {
	share := partition.Count / width
	ps := make([]int, share)
	for n := range ps {
		ps[n] = i*share + n
	}
	return ps
}

// share says what a member is to do so that the living members of the active region have as many durables each, give or
// take one: claim some that nobody holds, or give some back. Those that have most keep the odd ones, so that no more moves than
// has to. Held is what the member holds itself, those that it is giving back included. Members may see different views for a
// moment; the registry decides between them, and the next beat corrects it.
func (v *View) share(self string, durables, held []string) (claim, release []string) {
	quota := v.quota(self, len(durables))
	if len(held) > quota {
		sorted := slices.Sorted(slices.Values(held))
		return nil, sorted[quota:]
	}
	taken := make(map[string]bool, len(v.Leases))
	for _, l := range v.Leases {
		taken[l.Durable] = l.Left > 0
	}
	for i := range durables { // everybody begins elsewhere
		d := durables[(i+v.rank(self)*quota)%len(durables)]
		if len(claim) < quota-len(held) && !taken[d] && !slices.Contains(held, d) {
			claim = append(claim, d)
		}
	}
	return claim, nil
}

// quota is how many of n durables a member is to hold.
func (v *View) quota(self string, n int) int {
	holds := make(map[string]int)
	for _, l := range v.Leases {
		if l.Left > 0 {
			holds[l.Member]++
		}
	}
	living := v.living()
	slices.SortStableFunc(living, func(a, b string) int { return cmp.Compare(holds[b], holds[a]) })
	i := slices.Index(living, self)
	if i < 0 {
		return 0
	}
	quota := n / len(living)
	if i < n%len(living) {
		quota++
	}
	return quota
}

// living are the members of the active region that live, by name.
func (v *View) living() []string {
	var names []string
	for _, p := range v.Members {
		if p.Lives && p.Region == v.Region {
			names = append(names, p.Member)
		}
	}
	slices.Sort(names)
	return names
}

func (v *View) rank(self string) int { return max(0, slices.Index(v.living(), self)) }
