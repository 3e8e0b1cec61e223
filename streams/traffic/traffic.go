// Package traffic makes up the traffic of a gaming brand: sessions, bets, deposits, withdrawals and KYC of
// thousands of users, a few of whom are far more active than the rest.
//
// `weft up --demo`, tests and benchmarks use it. The same seed, prefix and clock give the same bytes. A
// Generator belongs to one goroutine.
package traffic

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Options configure a Generator.
type Options struct {
	Seed   uint64
	Users  int     // 0: 5,000
	Skew   float64 // exponent of the Zipf distribution of activity, above 1; 0: 1.2
	Prefix string  // of every event_id and user id is kept apart from other generators by it; may be empty
}

// Generator tells one endless story.
type Generator struct {
	opts  Options
	rnd   *rand.Rand
	zipf  *rand.Zipf
	users []user
	n     uint64
}

// user is what the story knows of one user.
type user struct {
	seq     uint64
	session int // number of the session, 0: none open
	last    int // number of the last session
	bet     int // number of the open bet, 0: none
	bets    int
	deposit int64 // minor units waiting for completion
	payout  int64 // withdrawal waiting for its end
	kyc     int   // level: 0 none, 1 submitted, 2 basic, 3 full
	balance int64
}

// New begins a story.
func New(o Options) *Generator {
	if o.Users <= 0 {
		o.Users = 5000
	}
	if o.Skew <= 1 {
		o.Skew = 1.2
	}
	r := rand.New(rand.NewPCG(o.Seed, 0x77656674)) //nolint:gosec // a story, not a secret
	return &Generator{opts: o, rnd: r, zipf: rand.NewZipf(r, o.Skew, 4, uint64(o.Users-1)), users: make([]user, o.Users)}
}

// Next is the next event of the story as an envelope.
func (g *Generator) Next(now time.Time) []byte { return g.AppendNext(make([]byte, 0, 512), now) }

// AppendNext appends the next event's envelope to dst.
func (g *Generator) AppendNext(dst []byte, now time.Time) []byte {
	i := int(g.zipf.Uint64()) //nolint:gosec // below Users
	u := &g.users[i]
	typ, payload := g.step(u)
	g.n++
	u.seq++
	dst = append(dst, `{"event_id":"`...)
	dst = append(append(dst, g.opts.Prefix...), "e"...)
	dst = strconv.AppendUint(dst, g.n, 10)
	dst = append(dst, `","event_type":"`...)
	dst = append(dst, typ...)
	dst = append(dst, `","schema_version":"1.0.0","occurred_at":"`...)
	dst = now.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","key":{"user_id":"`...)
	dst = append(dst, g.userID(i)...)
	dst = append(dst, `"},"source_seq":`...)
	dst = strconv.AppendUint(dst, u.seq, 10)
	dst = append(dst, fmt.Sprintf(`,"ctx":{"session_id":"s%d-%d","platform":%q,"geo":%q,"device_fp":"fp%08x"},"payload":`,
		i, u.last, platforms()[i%4], countries()[i%7], uint32(i)*2654435761)...)
	dst = append(dst, payload...)
	return append(dst, '}')
}

func (g *Generator) userID(i int) string { return fmt.Sprintf("%su%05d", g.opts.Prefix, i) }

func platforms() [4]string { return [4]string{"ios", "android", "web", "desktop"} }
func countries() [7]string { return [7]string{"MT", "SE", "FI", "DE", "ES", "BR", "CA"} }

// step moves one user's story on: what is open is closed before the next thing begins.
func (g *Generator) step(u *user) (typ, payload string) {
	switch roll := g.rnd.IntN(100); {
	case u.session == 0:
		u.last++
		u.session = u.last
		return "session.started", fmt.Sprintf(`{"session":%d}`, u.session)
	case u.deposit > 0:
		amount := u.deposit
		u.deposit, u.balance = 0, u.balance+amount
		return "deposit.completed", fmt.Sprintf(`{"amount":%d,"currency":"EUR","method":"card","balance":%d}`, amount, u.balance)
	case u.bet > 0:
		return g.settle(u)
	case u.payout > 0:
		return g.payOut(u)
	case u.kyc == 1:
		u.kyc = 2 + g.rnd.IntN(2)
		return "kyc.level_changed", fmt.Sprintf(`{"from":"none","to":%q}`, [...]string{"", "", "basic", "full"}[u.kyc])
	case u.balance < 500:
		u.deposit = int64(1000 * (1 + g.rnd.IntN(50)))
		return "deposit.requested", fmt.Sprintf(`{"amount":%d,"currency":"EUR","method":"card"}`, u.deposit)
	case roll < 5 && u.kyc == 0:
		u.kyc = 1
		return "kyc.submitted", `{"document":"id_card"}`
	case roll < 8 && u.kyc >= 2:
		u.payout = u.balance / 2
		u.balance -= u.payout
		return "withdrawal.requested", fmt.Sprintf(`{"amount":%d,"currency":"EUR"}`, u.payout)
	case roll < 14:
		n := u.session
		u.session = 0
		return "session.ended", fmt.Sprintf(`{"session":%d,"bets":%d}`, n, u.bets)
	default:
		u.bets++
		u.bet = 100 * (1 + g.rnd.IntN(5))
		u.balance -= int64(u.bet)
		return "bet.placed", fmt.Sprintf(`{"bet":%d,"stake":%d,"currency":"EUR","game":"g%02d"}`, u.bets, u.bet, g.rnd.IntN(40))
	}
}

func (g *Generator) settle(u *user) (typ, payload string) {
	stake, win := u.bet, 0
	u.bet = 0
	if g.rnd.IntN(100) < 46 {
		win = 2 * stake
	}
	u.balance += int64(win)
	return "bet.settled", fmt.Sprintf(`{"bet":%d,"stake":%d,"win":%d,"currency":"EUR","balance":%d}`, u.bets, stake, win, u.balance)
}

func (g *Generator) payOut(u *user) (typ, payload string) {
	amount := u.payout
	u.payout = 0
	if g.rnd.IntN(10) == 0 {
		u.balance += amount
		return "withdrawal.declined", fmt.Sprintf(`{"amount":%d,"currency":"EUR","reason":"limit"}`, amount)
	}
	return "withdrawal.completed", fmt.Sprintf(`{"amount":%d,"currency":"EUR"}`, amount)
}
