package group

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	opBeat   = "group.beat"
	opClaim  = "group.claim"
	opSwitch = "group.switch"
)

// forgetAfter is for how long a registry knows a member that is gone.
const forgetAfter = 24 * time.Hour

// Memory is a Registry for the members of one process. It forgets with the process, fences nothing by itself, and is what a
// solo group and tests use. It is safe for concurrent use.
type Memory struct {
	now func() time.Time

	mu        sync.Mutex
	store     string
	group     string
	width     int
	region    string
	turn      uint64
	turned    time.Time
	members   map[string]*member
	leases    map[string]*held
	positions map[at]Position
}

type member struct {
	region      string
	seen, until time.Time
}

type held struct {
	member, region string
	epoch          uint64
	until          time.Time
}

// at is one sequence of events of a durable.
type at struct {
	durable string
	origin  subject.Origin
	scope   subject.Scope
}

func (p *Position) at() at { return at{p.Durable, p.Origin, p.Scope} }

var _ Registry = (*Memory)(nil)

// NewMemory returns an empty registry. Now is its clock, time.Now where it is nil.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, store: rand.Text(), members: make(map[string]*member), leases: make(map[string]*held), positions: make(map[at]Position)}
}

// Beat implements Registry.
func (r *Memory) Beat(_ context.Context, b Beat) (View, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if r.group == "" {
		r.group, r.width, r.region, r.turn, r.turned = b.Group, b.Width, b.Region, 1, now
	}
	if err := Agree(r.group, r.width, &b); err != nil {
		return View{}, err
	}
	m := &member{region: b.Region, seen: now, until: now.Add(b.TTL)}
	if b.Leave {
		m.until = now
	}
	r.members[b.Member] = m
	for _, h := range b.Held {
		l := r.leases[h.Durable]
		if l == nil || l.epoch != h.Epoch || l.member != b.Member {
			continue
		}
		for _, p := range h.Moved {
			r.positions[p.at()] = p
		}
		l.until = now.Add(b.TTL)
		if h.Release {
			l.member, l.until = "", now
		}
	}
	return r.view(now), nil
}

// Agree refuses the beat of a member that is of another group, or sees it otherwise. It is for implementations of Registry.
func Agree(group string, width int, b *Beat) error {
	if group == b.Group && width == b.Width {
		return nil
	}
	return fault.New(opBeat, fault.Conflict, CodeDisagree,
		"the registry is that of group %q with %d durables, this member is of %q with %d: one registry is one group's, and its width stays", group, width, b.Group, b.Width)
}

// view is what a beat answers. The caller holds the lock.
func (r *Memory) view(now time.Time) View {
	v := View{Store: r.store, Region: r.region, Turn: r.turn, Ago: now.Sub(r.turned)}
	for name, m := range r.members {
		if now.Sub(m.seen) > forgetAfter {
			delete(r.members, name)
			continue
		}
		v.Members = append(v.Members, Peer{Member: name, Region: m.region, Ago: now.Sub(m.seen), Lives: m.until.After(now)})
	}
	slices.SortFunc(v.Members, func(a, b Peer) int { return cmp.Compare(a.Member, b.Member) })
	for durable, l := range r.leases {
		v.Leases = append(v.Leases, Lease{Durable: durable, Member: l.member, Region: l.region, Epoch: l.epoch, Left: l.until.Sub(now)})
	}
	slices.SortFunc(v.Leases, func(a, b Lease) int { return cmp.Compare(a.Durable, b.Durable) })
	return v
}

// Claim implements Registry.
func (r *Memory) Claim(_ context.Context, c Claiming) (Lease, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if c.Region != r.region {
		return Lease{}, Standby(c.Region, r.region)
	}
	l := r.leases[c.Durable]
	var before *Lease
	if l != nil {
		if l.until.After(now) {
			return Lease{}, Taken(c.Durable)
		}
		before = &Lease{Durable: c.Durable, Member: l.member, Region: l.region, Epoch: l.epoch}
	} else {
		l = &held{}
		r.leases[c.Durable] = l
	}
	*l = held{member: c.Member, region: c.Region, epoch: l.epoch + 1, until: now.Add(c.TTL)}
	return Lease{Durable: c.Durable, Member: c.Member, Region: c.Region, Epoch: l.epoch, Left: c.TTL, Before: before}, nil
}

// Taken refuses a claim to what somebody holds. It is for implementations of Registry.
func Taken(durable string) error {
	return fault.New(opClaim, fault.Conflict, CodeHeld, "durable %q is held by another member", durable)
}

// Standby refuses a claim from a region that is not active. It is for implementations of Registry.
func Standby(region, active string) error {
	return fault.New(opClaim, fault.Conflict, CodeHeld, "the group is active in region %q: members in %q stand by", active, region)
}

// Turned refuses a switch by somebody who has not seen the last one. It is for implementations of Registry.
func Turned(region string) error {
	return fault.New(opSwitch, fault.Conflict, CodeTurned, "the group was switched to region %q meanwhile: look again", region)
}

// Switch implements Registry.
func (r *Memory) Switch(_ context.Context, region string, turn uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.turn != turn {
		return Turned(r.region)
	}
	r.region, r.turn, r.turned = region, turn+1, r.now()
	return nil
}

// Reached implements Registry.
func (r *Memory) Reached(context.Context) ([]Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Position, 0, len(r.positions))
	for _, p := range r.positions {
		all = append(all, p)
	}
	return all, nil
}
