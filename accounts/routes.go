package accounts

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// The most topics and rules of one tenant, and the longest retention.
const (
	MaxTopics    = 256
	MaxRules     = 1024
	MaxRetention = Duration(10 * 365 * 24 * time.Hour)

	maxPattern = 128
	maxPointer = 256
)

// Validate says what is wrong with the routes, in the first place that is: an Invalid fault with code
// invalid_routes whose detail begins with the place, such as `topics[1] "bets": class`.
func (r Routes) Validate() error {
	if err := r.check(); err != nil {
		return fault.New("routes.validate", fault.Invalid, "invalid_routes", "%s", err.Error())
	}
	return nil
}

// ValidateIn is Validate for a tenant that lives in so many regions: what asks for a second region needs one.
func (r Routes) ValidateIn(regions int) error {
	if err := r.Validate(); err != nil || regions > 1 {
		return err
	}
	for i := range r.Topics {
		if r.Topics[i].Remote() {
			return fault.New("routes.validate", fault.Invalid, "invalid_routes",
				"topics[%d] %q: ack: the tenant lives in one region, so no other region can confirm its events", i, r.Topics[i].Name)
		}
	}
	return nil
}

func (r Routes) check() error {
	switch {
	case !ValidName(r.Tenant):
		return fmt.Errorf("tenant: %.40q is not [a-z][a-z0-9-]{0,31}", r.Tenant)
	case len(r.Topics) == 0:
		return fmt.Errorf("topics: at least one is needed")
	case len(r.Topics) > MaxTopics:
		return fmt.Errorf("topics: %d are more than the %d allowed", len(r.Topics), MaxTopics)
	case len(r.Rules) > MaxRules:
		return fmt.Errorf("rules: %d are more than the %d allowed", len(r.Rules), MaxRules)
	}
	for i := range r.Topics {
		if err := r.Topics[i].check(); err != nil {
			return fmt.Errorf("topics[%d] %.70q: %w", i, r.Topics[i].Name, err)
		}
		if j := r.topic(r.Topics[i].Name); j < i {
			return fmt.Errorf("topics[%d] %q: name: topics[%d] has it already", i, r.Topics[i].Name, j)
		}
	}
	if r.topic(r.Default) < 0 {
		return fmt.Errorf("default: there is no topic %.70q", r.Default)
	}
	return r.checkRules()
}

// topic is the index of the first topic of that name, or -1.
func (r Routes) topic(name string) int {
	return slices.IndexFunc(r.Topics, func(t Topic) bool { return t.Name == name })
}

func (r Routes) checkRules() error {
	for i, rule := range r.Rules {
		if err := checkPattern(rule.Type); err != nil {
			return fmt.Errorf("rules[%d]: type: %w", i, err)
		}
		if r.topic(rule.Topic) < 0 {
			return fmt.Errorf("rules[%d]: topic: there is no topic %.70q", i, rule.Topic)
		}
		for j, earlier := range r.Rules[:i] {
			if covers(earlier.Type, rule.Type) {
				return fmt.Errorf("rules[%d]: type: %q never gets there, rules[%d] (%q) matches all of it before", i, rule.Type, j, earlier.Type)
			}
		}
	}
	return nil
}

func (t *Topic) check() error {
	switch {
	case !subject.ValidTopic(t.Name):
		return fmt.Errorf("name: not [a-z0-9_-]{1,64}")
	case t.Class != Critical && t.Class != Standard && t.Class != Optional:
		return fmt.Errorf("class: %.40q is none of critical, standard, optional", t.Class)
	case t.Scope != ScopeGlobal && t.Scope != ScopeRegional:
		return fmt.Errorf("scope: %.40q is neither g (global) nor l (regional)", t.Scope)
	case t.Retention <= 0 || t.Retention > MaxRetention:
		return fmt.Errorf("retention: %s is not more than 0 and at most %s", t.Retention, MaxRetention)
	case t.Home != Forward && t.Home != Local:
		return fmt.Errorf("home: %.40q is neither forward nor local", t.Home)
	case t.Home == Forward && t.Scope == ScopeRegional:
		return fmt.Errorf("home: a regional topic never leaves its region, so its home must be local")
	case t.Ack != "" && t.Ack != AckRemote:
		return fmt.Errorf("ack: %.40q is not remote; leave it out for what the region gives", t.Ack)
	case t.Remote() && t.Scope == ScopeRegional:
		return fmt.Errorf("ack: a regional topic never leaves its region, so no other region can confirm its events")
	case t.MaxEventAge < 0:
		return fmt.Errorf("max_event_age: %s is negative", t.MaxEventAge)
	}
	if err := checkPointer(t.Key); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if err := checkNames(t.Producers); err != nil {
		return fmt.Errorf("producers%w", err)
	}
	if err := checkNames(t.Consumers); err != nil {
		return fmt.Errorf("consumers%w", err)
	}
	return nil
}

func checkNames(names []string) error {
	for i, n := range names {
		if !ValidName(n) {
			return fmt.Errorf("[%d]: %.40q is not [a-z][a-z0-9-]{0,31}", i, n)
		}
	}
	return nil
}

// checkPointer checks a JSON pointer (RFC 6901) below the event; empty stands for the default.
func checkPointer(p string) error {
	switch {
	case p == "":
		return nil
	case len(p) > maxPointer:
		return fmt.Errorf("longer than %d bytes", maxPointer)
	case p[0] != '/':
		return fmt.Errorf("%.40q does not begin with /", p)
	}
	for i := range len(p) {
		if p[i] == '~' && (i+1 == len(p) || p[i+1] != '0' && p[i+1] != '1') {
			return fmt.Errorf("%.40q: ~ is followed by neither 0 nor 1", p)
		}
		if p[i] < ' ' {
			return fmt.Errorf("%.40q holds a control character", p)
		}
	}
	return nil
}

// checkPattern checks a pattern over event types.
func checkPattern(p string) error {
	if p == "" || len(p) > maxPattern {
		return fmt.Errorf("%.40q is not 1 to %d bytes long", p, maxPattern)
	}
	tokens := strings.Split(p, ".")
	for i, t := range tokens {
		switch {
		case t == ">" && i == len(tokens)-1, t == "*":
		case t == ">":
			return fmt.Errorf("%q: > stands before the end", p)
		case t == "":
			return fmt.Errorf("%.40q: a token is empty", p)
		case strings.ContainsFunc(t, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' }):
			return fmt.Errorf("%.40q: token %.40q is neither [a-z0-9_]+ nor * nor >", p, t)
		}
	}
	return nil
}

// covers says whether every event type that b matches is matched by a.
func covers(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i, t := range as {
		if t == ">" {
			return i < len(bs)
		}
		if i >= len(bs) || bs[i] == ">" || t != "*" && t != bs[i] {
			return false
		}
	}
	return len(as) == len(bs)
}
