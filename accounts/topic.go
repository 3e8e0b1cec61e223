package accounts

import "time"

// Class says what may be dropped under load and what a 2xx must guarantee.
type Class string

// The classes.
const (
	Critical Class = "critical" // never dropped; needs stored-fsync
	Standard Class = "standard" // never dropped
	Optional Class = "optional" // dropped first
)

// Home says where an event goes whose key has its home in another region.
type Home string

// The ways home.
const (
	Forward Home = "forward" // to the home region, and nowhere else if that cannot be reached
	Local   Home = "local"   // into the region that received it
)

// The scopes of a topic, as they stand in its subjects.
const (
	ScopeGlobal   = "g" // replicated to the other regions
	ScopeRegional = "l" // never leaves its region
)

// DefaultKey is the JSON pointer of the routing key of topics that name no other.
const DefaultKey = "/key/user_id"

// Topic is one destination of events and the rules that hold for it.
type Topic struct {
	Name        string   `json:"name"`
	Class       Class    `json:"class"`
	Scope       string   `json:"scope"` // ScopeGlobal or ScopeRegional
	Retention   Duration `json:"retention"`
	Home        Home     `json:"home"`
	Ack         string   `json:"ack,omitempty"`           // AckRemote, or empty: what the region gives
	Key         string   `json:"key,omitempty"`           // JSON pointer of the routing key; empty means DefaultKey
	MaxEventAge Duration `json:"max_event_age,omitempty"` // how old occurred_at may be; zero means Retention
	Producers   []string `json:"producers,omitempty"`     // who may send; empty means all
	Consumers   []string `json:"consumers,omitempty"`     // who may read; empty means all
}

// Remote says whether a 2xx for an event of the topic means that another region has it too.
func (t *Topic) Remote() bool { return t.Ack == AckRemote }

// KeyPointer is the JSON pointer of the routing key.
func (t *Topic) KeyPointer() string {
	if t.Key == "" {
		return DefaultKey
	}
	return t.Key
}

// EventAge is how old occurred_at may be when the event arrives.
func (t *Topic) EventAge() time.Duration {
	if t.MaxEventAge == 0 {
		return t.Retention.Std()
	}
	return t.MaxEventAge.Std()
}

// Rule sends the event types that its pattern matches to a topic. In the pattern "*" stands for exactly
// one token and ">" as the last token for one or more.
type Rule struct {
	Type  string `json:"type"`
	Topic string `json:"topic"`
}

// Routes are a tenant's topics and the rules that choose among them: the first rule that matches wins,
// and what no rule matches goes to Default.
type Routes struct {
	Tenant  string  `json:"tenant"`
	Topics  []Topic `json:"topics"`
	Rules   []Rule  `json:"rules,omitempty"`
	Default string  `json:"default"`
}

// DefaultRoutes are the routes of a tenant that has set none: one topic for everything.
func DefaultRoutes(tenant string) Routes {
	return Routes{
		Tenant:  tenant,
		Topics:  []Topic{{Name: "events", Class: Standard, Scope: ScopeGlobal, Retention: Duration(7 * 24 * time.Hour), Home: Local}},
		Default: "events",
	}
}
