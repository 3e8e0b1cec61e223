package group

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
)

const opJoin = "group.join"

// Store is where the marks of the group's effects are. One that members share is a Registry as well.
type Store interface {
	// Shared says whether every member sees the same marks (idempotency.Store).
	Shared() bool
}

// Options of a member; Group and Store are required, and in Subscription how to connect.
type Options struct {
	Group  string // name of the group, [A-Za-z0-9_-]{1,61}: its durables are GROUP-00, GROUP-01, …
	Width  int    // how many durables it has: 1, 4, 16 or 64; default 1. All members say the same
	Member string // what to call this member; default: the host and process. Something unique is added
	Store  Store  // of the marks
	// Solo says that the group is this one process and moves to no other region, so that its store may be its own.
	Solo bool

	// TTL is how long a member that says nothing keeps what it holds, 2 s to 10 min; default 4 s.
	TTL time.Duration
	// Failover, unless 0, is for how long no member of the active region may have been seen before this one makes its own
	// region active; at least three times TTL. Without it a person or program decides (weft consumer switch).
	Failover time.Duration

	// Subscription is how each durable is read. Its Durable, Partitions, Owner, Track and PullExpiry are the group's to set;
	// From is where the group starts when it is founded.
	Subscription consumers.Options
}

// Limits and defaults of Options.
const (
	DefaultTTL = 4 * time.Second
	LeastTTL   = 2 * time.Second
	MostTTL    = 10 * time.Minute
	MaxName    = 61 // characters of Options.Group
)

// DefaultSchema is the schema in which a group keeps its marks and members unless somebody says otherwise.
func DefaultSchema(group string) string {
	return "weft_" + strings.ToLower(strings.ReplaceAll(group, "-", "_"))
}

func (o Options) withDefaults() Options {
	o.Width = cmp.Or(o.Width, 1)
	o.TTL = cmp.Or(o.TTL, DefaultTTL)
	if o.Member == "" {
		host, _ := os.Hostname()
		o.Member = fmt.Sprintf("%s-%d", cmp.Or(host, "member"), os.Getpid())
	}
	o.Member += "." + strings.ToLower(rand.Text()[:6])
	o.Subscription.Durable = o.Group
	o.Subscription.Name = cmp.Or(o.Subscription.Name, "weft-group")
	o.Subscription.APITimeout = cmp.Or(o.Subscription.APITimeout, 5*time.Second)
	o.Subscription.Stream = cmp.Or(o.Subscription.Stream, consumers.DefaultOptions().Stream)
	if o.Subscription.Logger == nil {
		o.Subscription.Logger = consumers.DefaultOptions().Logger
	}
	return o
}

func (o *Options) validate() error {
	invalid := func(code, format string, args ...any) error {
		return fault.New(opJoin, fault.Invalid, code, format, args...)
	}
	switch {
	case !grant.ValidID(o.Group) || len(o.Group) > MaxName:
		return invalid("invalid_options", "group %q: 1 to %d of A-Z a-z 0-9 _ -", o.Group, MaxName)
	case !slices.Contains(Widths(), o.Width):
		return invalid("invalid_options", "width %d: one of %v", o.Width, Widths())
	case o.TTL < LeastTTL || o.TTL > MostTTL:
		return invalid("invalid_options", "ttl %s: %s to %s", o.TTL, LeastTTL, MostTTL)
	case o.Failover != 0 && o.Failover < 3*o.TTL:
		return invalid("invalid_options", "failover %s: at least three times the ttl of %s", o.Failover, o.TTL)
	case len(o.Member) > 128:
		return invalid("invalid_options", "the member's name has %d bytes: at most 120", len(o.Member))
	case o.Store == nil:
		return invalid("invalid_options", "a store is needed: what a group does is done once only where its marks are")
	case o.Solo && o.Failover != 0:
		return invalid("invalid_options", "a solo group moves to no other region: failover excludes solo")
	case !o.Solo && !o.Store.Shared():
		return invalid("store_not_shared", "the store's marks are this process's own: members elsewhere would not see them. "+
			"Use a shared store (idempotency/postgres), or say Solo if the group is this one process in one region")
	}
	return nil
}

// registry is the store itself, or for a solo group this process's memory.
func (o *Options) registry() (Registry, error) {
	if r, ok := o.Store.(Registry); ok {
		return r, nil
	}
	if o.Solo {
		return NewMemory(nil), nil
	}
	return nil, fault.New(opJoin, fault.Invalid, "no_registry", "the store %T is shared but keeps no members and leases", o.Store)
}
