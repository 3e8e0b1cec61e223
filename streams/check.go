package streams

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// node is one stream of one region.
type node struct{ region, stream string }

func (n node) String() string { return n.stream + "@" + n.region }

// edge carries the messages that match filter from one stream into another.
type edge struct {
	from, to node
	filter   string
}

// CheckLoops refuses a topology in which a message could come back to a stream that it has passed. The
// server looks for such cycles within one domain only; across domains they run for ever.
func CheckLoops(regions map[string][]jetstream.StreamConfig) error {
	edges := map[node][]edge{}
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		for _, cfg := range regions[region] {
			for _, s := range cfg.Sources {
				from := node{region: region, stream: s.Name}
				if s.External != nil {
					from.region = subject.RegionOfAPI(s.External.APIPrefix)
				}
				filter := s.FilterSubject
				if filter == "" {
					filter = ">"
				}
				edges[from] = append(edges[from], edge{from: from, to: node{region: region, stream: cfg.Name}, filter: filter})
			}
		}
	}
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		for _, cfg := range regions[region] {
			start := node{region: region, stream: cfg.Name}
			if path := loopFrom(start, edges); path != nil {
				return fault.New("streams.loops", fault.Invalid, "loop", "a message can run in circles: %s. Give the sources filters that keep each stream's own messages out", strings.Join(path, " -> "))
			}
		}
	}
	return nil
}

// loopFrom looks for a way from start back to it along which one subject passes every filter.
func loopFrom(start node, edges map[node][]edge) []string {
	var walk func(at node, carried []string, path []string) []string
	walk = func(at node, carried, path []string) []string {
		for _, e := range edges[at] {
			if !slices.ContainsFunc(carried, func(f string) bool { return !Overlap(f, e.filter) }) {
				next := append(slices.Clone(path), e.to.String())
				if e.to == start {
					return next
				}
				if !slices.Contains(path, e.to.String()) {
					if found := walk(e.to, append(slices.Clone(carried), e.filter), next); found != nil {
						return found
					}
				}
			}
		}
		return nil
	}
	return walk(start, nil, []string{start.String()})
}

// Overlap says whether some subject matches both filters.
func Overlap(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(x) && i < len(y); i++ {
		switch {
		case x[i] == ">" || y[i] == ">":
			return true
		case x[i] != "*" && y[i] != "*" && x[i] != y[i]:
			return false
		}
	}
	return len(x) == len(y)
}

// maxAssets is what the server's maintainers advise as the most replicated streams and consumers of a cluster.
const maxAssets = 2000

// AccountCapacity is what one account may use in a region.
type AccountCapacity struct {
	Name      string
	DiskBytes int64
	Streams   int // that exist or are to be made
	Consumers int // replicated ones
}

// CapacityInput is a region and what is to fit into it.
type CapacityInput struct {
	Store    int64 // bytes that the server gives to streams
	Servers  int
	Replicas int
	Accounts []AccountCapacity
}

// Problem is one reason why a region cannot hold what it is asked to.
type Problem struct {
	Code   string
	Detail string
}

// String is the problem for a person.
func (p Problem) String() string { return p.Detail }

// CheckCapacity says before what the server would only log: an account that does not fit gets no JetStream
// at all, and its clients see "no responders".
func CheckCapacity(in CapacityInput) []Problem {
	var out []Problem
	if in.Replicas > in.Servers {
		out = append(out, Problem{"replicas", fmt.Sprintf("%d replicas need %d servers, the region has %d", in.Replicas, in.Replicas, in.Servers)})
	}
	var disk int64
	assets := 0
	for _, a := range in.Accounts {
		disk += a.DiskBytes
		assets += a.Streams + a.Consumers
	}
	if disk > in.Store {
		out = append(out, Problem{"disk", fmt.Sprintf("the accounts may use %s, the store has %s: give the store more disk, or the tenants less", gib(disk), gib(in.Store))})
	}
	if in.Replicas > 1 && assets > maxAssets {
		out = append(out, Problem{"assets", fmt.Sprintf("%d replicated streams and consumers, %d are advised: spread the tenants over more clusters", assets, maxAssets)})
	}
	return out
}

func gib(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
