package streams

import (
	"fmt"
	"math"
	"slices"
)

// MaxAssets is how many replicated streams and consumers one cluster should carry: each is a Raft group, and
// the server's maintainers advise against more.
const MaxAssets = 2000

// AccountCapacity is what one account may take.
type AccountCapacity struct {
	Name      string
	DiskBytes int64 // limit of the account, all replicas counted; 0 or less = no limit
	Streams   int
	Consumers int // durables
}

// CapacityInput is a region and the accounts that are to fit into it.
type CapacityInput struct {
	Store            int64 // bytes of disk for JetStream on each server
	Servers          int   // of the region
	Replicas         int   // of streams; 0 = 1
	ConsumerReplicas int   // of durables; 0 = 1
	Accounts         []AccountCapacity
}

// Problem is one thing that does not fit.
type Problem struct {
	Code string `json:"code"` // replicas, disk or assets
	What string `json:"what"` // what is too large, or missing
	Need string `json:"need"`
	Have string `json:"have"`
	Hint string `json:"hint"` // what to do
}

// String is the problem in one line.
func (p Problem) String() string {
	return fmt.Sprintf("%s: %s needed, %s there: %s", p.What, p.Need, p.Have, p.Hint)
}

// CheckCapacity says what would not fit, before the server finds out: a server gives an account that is too
// large no JetStream at all ("no responders" to every request) and only its log tells why.
func CheckCapacity(in CapacityInput) []Problem {
	in.Servers, in.Replicas, in.ConsumerReplicas = max(1, in.Servers), max(1, in.Replicas), max(1, in.ConsumerReplicas)
	return slices.Concat(checkReplicas(in), checkDisk(in), checkAssets(in))
}

func checkReplicas(in CapacityInput) []Problem {
	var out []Problem
	for _, r := range []struct {
		what string
		n    int
	}{{"replicas of streams", in.Replicas}, {"replicas of consumers", in.ConsumerReplicas}} {
		if r.n > in.Servers {
			out = append(out, Problem{Code: "replicas", What: r.what, Need: fmt.Sprintf("%d servers", r.n), Have: fmt.Sprint(in.Servers),
				Hint: fmt.Sprintf("start more servers in the region or use at most %d replicas", in.Servers)})
		} else if r.n%2 == 0 {
			out = append(out, Problem{Code: "replicas", What: r.what, Need: fmt.Sprintf("an odd number (%d or %d)", r.n-1, r.n+1), Have: fmt.Sprint(r.n),
				Hint: "an even number survives no more failures than one less"})
		}
	}
	return out
}

func checkDisk(in CapacityInput) []Problem {
	var out []Problem
	var sum int64
	for _, a := range in.Accounts {
		if a.DiskBytes <= 0 {
			out = append(out, Problem{Code: "disk", What: "disk of account " + a.Name, Need: "a limit", Have: "none",
				Hint: "without one it can fill the disk of all others; set the tenant's disk limit"})
			continue
		}
		sum = saturating(sum, a.DiskBytes)
	}
	total := in.Store
	for range in.Servers - 1 {
		total = saturating(total, in.Store)
	}
	if sum > total {
		out = append(out, Problem{Code: "disk", What: fmt.Sprintf("disk of %d accounts", len(in.Accounts)), Need: bytesText(sum),
			Have: fmt.Sprintf("%s on %d server(s)", bytesText(total), in.Servers),
			Hint: fmt.Sprintf("lower tenants' disk limits by %s in all, remove a tenant, or give the store more", bytesText(sum-total))})
	}
	return out
}

func checkAssets(in CapacityInput) []Problem {
	assets := 0
	for _, a := range in.Accounts {
		if in.Replicas > 1 {
			assets += a.Streams
		}
		if in.ConsumerReplicas > 1 {
			assets += a.Consumers
		}
	}
	if assets <= MaxAssets {
		return nil
	}
	return []Problem{{Code: "assets", What: "replicated streams and consumers", Need: fmt.Sprintf("%d Raft groups", assets), Have: fmt.Sprintf("advice for at most %d", MaxAssets),
		Hint: "use consumer replicas 1, fewer durables per group, or a second cluster"}}
}

func saturating(x, y int64) int64 {
	if x > math.MaxInt64-y {
		return math.MaxInt64
	}
	return x + y
}

// bytesText is a size as people read it.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
