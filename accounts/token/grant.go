package token

import "strings"

// ScopePrefix begins the scopes that matter here: events:write:TOPIC, or events:write:* for every topic.
const ScopePrefix = "events:write:"

// Grant is what a verified token lets its bearer do. Immutable.
type Grant struct {
	all    bool
	topics map[string]struct{}
}

func newGrant(scopes []string) *Grant {
	g := &Grant{}
	for _, s := range scopes {
		topic, ok := strings.CutPrefix(s, ScopePrefix)
		switch {
		case !ok:
		case topic == "*":
			g.all = true
		default:
			if g.topics == nil {
				g.topics = map[string]struct{}{}
			}
			g.topics[topic] = struct{}{}
		}
	}
	return g
}

// MaySend says whether a scope names the topic. There are no patterns but the lone *.
func (g *Grant) MaySend(topic string) bool {
	if g.all {
		return true
	}
	_, ok := g.topics[topic]
	return ok
}
