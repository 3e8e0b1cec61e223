package streams

import (
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// node is one stream in one region.
type node struct{ region, stream string }

func (n node) String() string { return n.stream + "@" + n.region }

// edge is a flow of messages that match filter into a stream.
type edge struct {
	to     node
	filter string
	opaque bool // subjects change on the way: nothing is known of them afterwards
}

// CheckLoops refuses a topology in which a message can come back to a stream that it has been in: it would go
// round for ever (10 messages became 467,385 in 12 s), and the server looks for such cycles in its own domain
// only. The argument is every stream of one account by region (= JetStream domain).
//
// It is conservative: a stream is taken to hold whatever its sources' filters let through, also from earlier
// epochs, and a subject transform makes every subject possible. A source from a region or stream that is not
// in the argument is refused too, because nothing can be said about it.
func CheckLoops(regions map[string][]jetstream.StreamConfig) error {
	flows, err := graph(regions)
	if err != nil {
		return err
	}
	starts := slices.SortedFunc(maps.Keys(flows), func(x, y node) int {
		return strings.Compare(x.region+" "+x.stream, y.region+" "+y.stream)
	})
	for _, n := range starts {
		for _, e := range flows[n] {
			if path := follow(flows, []node{n}, e, e.filter); path != nil {
				return loopFault(path, e.filter)
			}
		}
	}
	return nil
}

func loopFault(path []node, filter string) error {
	names := make([]string, len(path))
	for i, n := range path {
		names[i] = n.String()
	}
	return fault.New("streams.loops", fault.Invalid, "loop", "messages on %s can go round: %s; give the sources filters of one origin each", filter, strings.Join(names, " -> "))
}

// graph turns sources and mirrors round: from where messages are to where they go.
func graph(regions map[string][]jetstream.StreamConfig) (map[node][]edge, error) {
	known := map[node]bool{}
	for region, list := range regions {
		for i := range list {
			known[node{region, list[i].Name}] = true
		}
	}
	flows := map[node][]edge{}
	for region, list := range regions {
		for i := range list {
			c := &list[i]
			to := node{region, c.Name}
			sources := c.Sources
			if c.Mirror != nil {
				sources = append(slices.Clone(sources), c.Mirror)
			}
			for _, s := range sources {
				from, err := origin(region, s)
				if err != nil {
					return nil, err
				}
				if !known[from] {
					return nil, fault.New("streams.loops", fault.Invalid, "unknown_stream", "%s reads %s, which is not part of this topology", to, from)
				}
				flows[from] = append(flows[from], edges(to, s)...)
			}
		}
	}
	return flows, nil
}

// origin is the stream that a source of a region reads.
func origin(region string, s *jetstream.StreamSource) (node, error) {
	api, _ := external(s)
	if api == "" {
		return node{region, s.Name}, nil
	}
	from := subject.RegionOfAPI(api)
	if from == "" {
		return node{}, fault.New("streams.loops", fault.Invalid, "unknown_region", "a source of %s reads through %q, which names no region", s.Name, api)
	}
	return node{from, s.Name}, nil
}

func edges(to node, s *jetstream.StreamSource) []edge {
	if len(s.SubjectTransforms) == 0 {
		return []edge{{to: to, filter: orAll(s.FilterSubject)}}
	}
	var out []edge
	for _, t := range s.SubjectTransforms {
		out = append(out, edge{to: to, filter: orAll(t.Source), opaque: t.Destination != ""})
	}
	return out
}

func orAll(filter string) string {
	if filter == "" {
		return ">"
	}
	return filter
}

// follow goes on along e with messages that match pattern; it returns the way round when there is one.
func follow(flows map[node][]edge, path []node, e edge, pattern string) []node {
	if slices.Contains(path, e.to) {
		return append(slices.Clone(path), e.to)
	}
	if e.opaque {
		pattern = ">"
	}
	path = append(slices.Clone(path), e.to)
	for _, next := range flows[e.to] {
		both, ok := intersect(pattern, next.filter)
		if !ok {
			continue
		}
		if round := follow(flows, path, next, both); round != nil {
			return round
		}
	}
	return nil
}

// Overlap says whether some subject matches both filters.
func Overlap(x, y string) bool {
	_, ok := intersect(x, y)
	return ok
}

// intersect is the pattern of the subjects that match both patterns, if there are any.
func intersect(x, y string) (string, bool) {
	xs, ys := strings.Split(x, "."), strings.Split(y, ".")
	var out []string
	for i := 0; ; i++ {
		switch {
		case i == len(xs) && i == len(ys):
			return strings.Join(out, "."), true
		case i == len(xs) || i == len(ys):
			return "", false
		case xs[i] == ">":
			return strings.Join(append(out, ys[i:]...), "."), true
		case ys[i] == ">":
			return strings.Join(append(out, xs[i:]...), "."), true
		case xs[i] == "*" || xs[i] == ys[i]:
			out = append(out, ys[i])
		case ys[i] == "*":
			out = append(out, xs[i])
		default:
			return "", false
		}
	}
}
