// Package nemesis decides which faults a trial suffers, from a seed, and inflicts them on a fleet.
//
// cmd/rig's trials use it. A Plan is data: the same seed gives the same plan, whatever machine makes it.
package nemesis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
)

// Fault is one fault at its time.
type Fault struct {
	Kind   Kind          `json:"kind"`
	At     time.Duration `json:"at"`               // after the start of the traffic
	For    time.Duration `json:"for"`              // until it is undone
	Region string        `json:"region,omitempty"` // where
	Peer   string        `json:"peer,omitempty"`   // the other end of a link
	Server int           `json:"server,omitempty"`
	Amount int           `json:"amount,omitempty"` // what the kind says: milliseconds, bytes per second, seconds of skew
}

// String is one line of a schedule.
func (f Fault) String() string {
	where := f.Region
	if f.Peer != "" {
		where += "→" + f.Peer
	}
	s := fmt.Sprintf("%5.1fs  %-14s %-6s for %.1fs", f.At.Seconds(), f.Kind, where, f.For.Seconds())
	if f.Server > 0 {
		s += fmt.Sprintf(", server %d", f.Server)
	}
	if f.Amount != 0 {
		s += fmt.Sprintf(", %d", f.Amount)
	}
	return s
}

// Plan is everything that a seed decides.
type Plan struct {
	Seed    uint64         `json:"seed"`
	Regions []fleet.Region `json:"regions"`
	Lazy    string         `json:"lazy,omitempty"` // region whose disks lose what was not synced, and can fail
	Window  time.Duration  `json:"window"`         // dedupe window
	Length  time.Duration  `json:"length"`         // of the traffic
	Rate    int            `json:"rate"`           // events per second and region
	Faults  []Fault        `json:"faults"`
}

// Settings narrow what plans may hold.
type Settings struct {
	Length time.Duration
	Rate   int
	Only   []Kind // empty: all
	Lazy   bool   // the machine can mount the losing file system
}

// Window is the dedupe window of every trial: short, so that a cut can be longer than it.
const Window = 6 * time.Second

const (
	warmUp   = 1500 * time.Millisecond // traffic before the first fault
	coolDown = 1500 * time.Millisecond // traffic after the last one began
)

// New makes the plan of a seed.
func New(seed uint64, s Settings) Plan {
	r := rand.New(rand.NewPCG(seed, 0x6e656d65)) //nolint:gosec // repeatable on purpose
	p := Plan{Seed: seed, Window: Window, Length: s.Length, Rate: s.Rate}
	heavy := pickHeavy(r, s)
	p.topology(r, heavy)
	if heavy != "" && slices.Contains(needLazy, heavy) {
		p.Lazy = p.Regions[r.IntN(len(p.Regions))].Name
		if heavy == PowerCut {
			p.sync(p.Lazy, "always")
		}
	}
	at := warmUp
	if heavy != "" {
		f := p.place(r, heavy)
		f.At = at + time.Duration(r.Int64N(int64(s.Length/3)))
		p.Faults = append(p.Faults, f)
	}
	for {
		at += time.Duration(100+r.IntN(1200)) * time.Millisecond
		if at > s.Length-coolDown && len(p.Faults) > 0 {
			break
		}
		kind := p.pickLight(r, s, heavy)
		if kind == "" {
			break
		}
		f := p.place(r, kind)
		f.At = at
		p.Faults = append(p.Faults, f)
		if r.IntN(100) < 50 { // else the next one may overlap
			at += f.For
		}
		if r.IntN(100) < 25 {
			at += time.Duration(1+r.IntN(2)) * time.Second // a quiet period
		}
	}
	if heavy == "" {
		p.credentials(s)
	}
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return int(a.At - b.At) })
	return p
}

// topology chooses the regions: mostly two of one server, sometimes one of three, sometimes three regions.
func (p *Plan) topology(r *rand.Rand, heavy Kind) {
	one := func(name string) fleet.Region { return fleet.Region{Name: name, Servers: 1, Sync: "interval"} }
	p.Regions = []fleet.Region{one("eu"), one("us")}
	roll := r.IntN(100)
	switch {
	case slices.Contains(needThree, heavy) || heavy == "" && roll < 20:
		p.Regions[r.IntN(2)].Servers = 3
	case roll > 88:
		p.Regions = append(p.Regions, one("ap"))
	}
	for i := range p.Regions {
		if p.Regions[i].Servers == 3 {
			p.Regions[i].Sync = "always"
		}
	}
}

func (p *Plan) sync(region, how string) {
	for i := range p.Regions {
		if p.Regions[i].Name == region {
			p.Regions[i].Sync = how
		}
	}
}

// Three is the first region of three servers.
func (p *Plan) three() (fleet.Region, bool) {
	i := slices.IndexFunc(p.Regions, func(r fleet.Region) bool { return r.Servers == 3 })
	if i < 0 {
		return fleet.Region{}, false
	}
	return p.Regions[i], true
}

// place chooses where a fault strikes and how long it lasts.
func (p *Plan) place(r *rand.Rand, k Kind) Fault {
	region := p.Regions[r.IntN(len(p.Regions))]
	if three, ok := p.three(); ok && (slices.Contains(needThree, k) || slices.Contains(onThree, k)) {
		region = three
	}
	if slices.Contains(needLazy, k) {
		region = p.Regions[slices.IndexFunc(p.Regions, func(x fleet.Region) bool { return x.Name == p.Lazy })]
	}
	f := Fault{Kind: k, Region: region.Name, Server: r.IntN(region.Servers)}
	d := kinds[k]
	f.For = d.least + time.Duration(r.Int64N(int64(d.most-d.least)+1))
	f.For = f.For.Round(10 * time.Millisecond)
	if d.link {
		others := slices.DeleteFunc(slices.Clone(p.Regions), func(x fleet.Region) bool { return x.Name == region.Name })
		f.Peer = others[r.IntN(len(others))].Name
		f.Server = 0
	}
	if d.amounts != nil {
		f.Amount = d.amounts[r.IntN(len(d.amounts))]
	}
	return f
}

// Describe prints a plan for a person.
func (p *Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: ", p.Seed)
	for i, r := range p.Regions {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%d server(s), sync %s)", r.Name, r.Servers, r.Sync)
	}
	fmt.Fprintf(&b, ", %d events/s and region for %s\n", p.Rate, p.Length)
	for _, f := range p.Faults {
		b.WriteString("  " + f.String() + "\n")
	}
	return b.String()
}
