// Package traffic makes up the traffic of a gaming brand: sessions, bets, deposits, withdrawals and KYC of
// thousands of users, a few of whom are far more active than the rest.
//
// `weft up --demo`, tests and benchmarks use it. Each user's events tell a story that holds together: a bet is
// placed in a session and with money that is there, it is settled before the next one, what is requested is
// completed or declined, and a large withdrawal needs a KYC level first. source_seq counts from 1 per user.
//
// The same options and clock give the same bytes. A Generator belongs to one goroutine.
package traffic

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/streams/event"
)

// Options configure a Generator.
type Options struct {
	Seed   uint64
	Users  int     // 0: 5,000
	Skew   float64 // exponent of the Zipf distribution of activity, above 1; 0: 1.2
	Prefix string  // begins every event_id and user_id, so that generators do not collide; of an event_id's characters, at most 64
}

// maxPrefix leaves room for the number behind it.
const maxPrefix = 64

// Generator tells one endless story.
type Generator struct {
	prefix string
	rnd    *rand.Rand
	zipf   *rand.Zipf
	users  []user
	count  uint64 // events so far
}

// New begins a story. It panics where Prefix is none.
func New(o Options) *Generator {
	if len(o.Prefix) > maxPrefix || !event.ValidID(o.Prefix+"e") {
		panic("traffic: Options.Prefix must be at most 64 characters of an event_id")
	}
	if o.Users <= 0 {
		o.Users = 5000
	}
	if o.Skew <= 1 {
		o.Skew = 1.2
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x77656674)) //nolint:gosec // a story, not a secret
	return &Generator{
		prefix: o.Prefix, rnd: r, users: make([]user, o.Users),
		zipf: rand.NewZipf(r, o.Skew, 4, uint64(o.Users-1)), //nolint:gosec // positive
	}
}

// Next is the next event of the story as an envelope.
func (g *Generator) Next(now time.Time) []byte { return g.AppendNext(make([]byte, 0, 512), now) }

// AppendNext appends the next event's envelope to dst.
func (g *Generator) AppendNext(dst []byte, now time.Time) []byte {
	i := g.zipf.Uint64()
	u := &g.users[i]
	what := u.next(g.rnd)
	g.count++
	u.seq++
	dst = append(append(dst, `{"event_id":"`...), g.prefix...)
	dst = strconv.AppendUint(append(dst, 'e'), g.count, 10)
	dst = append(append(dst, `","event_type":"`...), what.eventType()...)
	dst = append(dst, `","schema_version":"1.0.0","occurred_at":"`...)
	dst = now.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(append(dst, `","key":{"user_id":"`...), g.prefix...)
	dst = appendUser(dst, i)
	dst = strconv.AppendUint(append(dst, `"},"source_seq":`...), u.seq, 10)
	dst = append(dst, `,"ctx":`...)
	dst = u.appendCtx(dst, i)
	dst = append(dst, `,"payload":`...)
	dst = u.tell(what, dst, i, g.rnd)
	return append(dst, '}')
}

// appendUser appends the name of a user: u and at least five digits.
func appendUser(dst []byte, i uint64) []byte {
	dst = append(dst, 'u')
	for limit := uint64(10_000); limit > i && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, i, 10)
}
