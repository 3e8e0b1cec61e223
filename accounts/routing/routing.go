// Package routing chooses the topic of an event by its type.
//
// Relays compile each tenant's routes once and match every event. A Table is immutable and safe for
// concurrent use; Match allocates nothing.
package routing

import (
	"strings"

	"github.com/weft-mesh/weft/accounts"
)

// Table is a tenant's routes, compiled.
type Table struct {
	topics   []accounts.Topic
	exact    map[string]target
	patterns []pattern // in the order of the rules
	fallback *accounts.Topic
}

type target struct {
	rule  int
	topic *accounts.Topic
}

type pattern struct {
	target
	tokens []string // "*" matches one token
	rest   bool     // one token or more follow
}

// Compile checks the routes and makes their table. The table keeps its own copy of the topics.
func Compile(r accounts.Routes) (*Table, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	t := &Table{topics: append([]accounts.Topic(nil), r.Topics...), exact: map[string]target{}}
	for i, rule := range r.Rules {
		to := target{rule: i, topic: t.Topic(rule.Topic)}
		if !strings.ContainsAny(rule.Type, "*>") {
			t.exact[rule.Type] = to // Validate refuses a second rule of the same pattern
			continue
		}
		p := pattern{target: to, tokens: strings.Split(rule.Type, ".")}
		if last := len(p.tokens) - 1; p.tokens[last] == ">" {
			p.tokens, p.rest = p.tokens[:last], true
		}
		t.patterns = append(t.patterns, p)
	}
	t.fallback = t.Topic(r.Default)
	return t, nil
}

// Match is the topic of the first rule that matches the event type, or the default topic. It is never nil
// and must not be changed.
func (t *Table) Match(eventType string) *accounts.Topic {
	best, found := t.exact[eventType]
	for i := range t.patterns {
		p := &t.patterns[i]
		if found && best.rule < p.rule {
			break
		}
		if p.matches(eventType) {
			return p.topic
		}
	}
	if found {
		return best.topic
	}
	return t.fallback
}

// Topic is the named topic, nil if there is none.
func (t *Table) Topic(name string) *accounts.Topic {
	for i := range t.topics {
		if t.topics[i].Name == name {
			return &t.topics[i]
		}
	}
	return nil
}

func (p *pattern) matches(eventType string) bool {
	rest, more := eventType, eventType != ""
	for _, want := range p.tokens {
		if !more {
			return false
		}
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if want != "*" && want != token {
			return false
		}
	}
	return more == p.rest
}
