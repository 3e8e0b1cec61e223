package traffic

import (
	"math/rand/v2"
	"strconv"
)

// act is what can happen to a user.
type act uint8

const (
	sessionStarted act = iota
	sessionEnded
	betPlaced
	betSettled
	depositRequested
	depositCompleted
	withdrawalRequested
	withdrawalCompleted
	withdrawalDeclined
	kycSubmitted
	kycLevelChanged
)

func (a act) eventType() string {
	return [...]string{
		"session.started", "session.ended", "bet.placed", "bet.settled", "deposit.requested", "deposit.completed",
		"withdrawal.requested", "withdrawal.completed", "withdrawal.declined", "kyc.submitted", "kyc.level_changed",
	}[a]
}

// Amounts are in minor units of the user's currency.
const (
	minStake        = 100
	maxStake        = 2_500
	minWithdrawal   = 5_000
	largeWithdrawal = 50_000 // from here on a KYC level is needed
)

// user is what the story knows of one user. What is zero is not open.
type user struct {
	seq       uint64
	sessions  int // so far
	inSession bool
	bets      int   // so far
	stake     int64 // of the open bet
	transfers int   // deposits and withdrawals so far
	deposit   int64 // requested
	payout    int64 // requested, and off the balance
	balance   int64
	level     int // KYC: 0 none, 1 basic, 2 full
	submitted bool
}

// next decides: what is open is closed before the next thing begins.
func (u *user) next(r *rand.Rand) act {
	switch {
	case !u.inSession:
		return sessionStarted
	case u.deposit > 0:
		return depositCompleted
	case u.stake > 0:
		return betSettled
	case u.payout > 0:
		if r.IntN(10) == 0 {
			return withdrawalDeclined
		}
		return withdrawalCompleted
	case u.submitted:
		return kycLevelChanged
	case u.balance < maxStake:
		return depositRequested
	}
	switch roll := r.IntN(100); {
	case roll < 6:
		return sessionEnded
	case roll < 9 && u.level < 2, roll < 14 && u.level == 0 && u.balance >= 2*largeWithdrawal:
		return kycSubmitted
	case roll < 14 && u.balance >= 2*minWithdrawal:
		return withdrawalRequested
	case roll < 16:
		return depositRequested
	default:
		return betPlaced
	}
}

// tell makes it happen and appends its payload.
func (u *user) tell(what act, dst []byte, i uint64, r *rand.Rand) []byte {
	p := payload{dst: append(dst, '{'), user: i}
	switch what {
	case sessionStarted:
		u.sessions++
		u.inSession = true
		p.text("reason", pick(r, "login", "resume", "push"))
	case sessionEnded:
		u.inSession = false
		p.text("reason", pick(r, "logout", "timeout", "closed"))
		p.number("bets", int64(u.bets))
	case betPlaced, betSettled:
		u.tellBet(what, &p, r)
	case kycSubmitted:
		u.submitted = true
		p.text("document", pick(r, "id_card", "passport", "driving_licence"))
		p.text("wanted", levels(u.level+1))
	case kycLevelChanged:
		u.submitted = false
		p.text("from", levels(u.level))
		u.level++
		p.text("to", levels(u.level))
	default:
		u.tellTransfer(what, &p, r)
	}
	return append(p.dst, '}')
}

func (u *user) tellBet(what act, p *payload, r *rand.Rand) {
	if what == betPlaced {
		u.bets++
		u.stake = minStake + 50*int64(r.IntN((maxStake-minStake)/50+1))
		u.balance -= u.stake
		p.id("bet_id", 'b', u.bets)
		p.money("stake", u.stake)
		p.text("game", pick(r, "football", "tennis", "roulette", "blackjack", "slots_7", "slots_dragon"))
		p.hundredths("odds", 101+int64(r.IntN(400)))
		return
	}
	won := int64(0)
	if r.IntN(100) < 47 {
		won = u.stake * int64(150+r.IntN(100)) / 100
	}
	p.id("bet_id", 'b', u.bets)
	p.money("stake", u.stake)
	p.number("payout_minor", won)
	u.stake, u.balance = 0, u.balance+won
	p.number("balance_minor", u.balance)
}

func (u *user) tellTransfer(what act, p *payload, r *rand.Rand) {
	amount := max(u.deposit, u.payout)
	switch what {
	case depositRequested:
		u.transfers++
		amount = 1_000 * int64(5+r.IntN(96))
		u.deposit = amount
	case depositCompleted:
		u.deposit, u.balance = 0, u.balance+amount
	case withdrawalRequested:
		u.transfers++
		amount = u.balance / 2 // large only with a KYC level: next sees to it
		u.payout, u.balance = amount, u.balance-amount
	case withdrawalCompleted:
		u.payout = 0
	case withdrawalDeclined:
		u.payout, u.balance = 0, u.balance+amount
		p.text("reason", pick(r, "limit", "provider", "review"))
	}
	p.id("transfer_id", 't', u.transfers)
	p.money("amount", amount)
	p.text("method", [...]string{"card", "bank", "wallet"}[p.user%3])
	p.number("balance_minor", u.balance)
}

// appendCtx appends what the user's device says with every event.
func (u *user) appendCtx(dst []byte, i uint64) []byte {
	dst = appendUser(append(dst, `{"session_id":"s-`...), i)
	dst = strconv.AppendInt(append(dst, '-'), int64(u.session()), 10)
	dst = append(append(dst, `","platform":"`...), [...]string{"ios", "android", "web", "desktop"}[i%4]...)
	dst = append(append(dst, `","geo":"`...), [...]string{"MT", "SE", "FI", "DE", "ES", "BR", "CA"}[i%7]...)
	dst = strconv.AppendUint(append(dst, `","device_fp":"fp-`...), (i+1)*0x9e3779b97f4a7c15>>16, 16)
	return append(dst, `"}`...)
}

// session is the number of the session that the next event belongs to; a start belongs to the one it starts.
func (u *user) session() int {
	if u.inSession {
		return u.sessions
	}
	return u.sessions + 1
}

func levels(n int) string { return [...]string{"none", "basic", "full"}[n] }

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// payload appends members. Texts are this package's own and need no escapes.
type payload struct {
	dst  []byte
	user uint64
	more bool
}

func (p *payload) name(name, suffix string) {
	if p.more {
		p.dst = append(p.dst, ',')
	}
	p.more = true
	p.dst = append(append(append(append(p.dst, '"'), name...), suffix...), `":`...)
}

func (p *payload) text(name, value string) {
	p.name(name, "")
	p.dst = append(append(append(p.dst, '"'), value...), '"')
}

func (p *payload) number(name string, n int64) {
	p.name(name, "")
	p.dst = strconv.AppendInt(p.dst, n, 10)
}

// money is an amount in minor units with its currency.
func (p *payload) money(name string, minor int64) {
	p.name(name, "_minor")
	p.dst = strconv.AppendInt(p.dst, minor, 10)
	p.text("currency", [...]string{"EUR", "SEK", "EUR", "EUR", "EUR", "BRL", "CAD"}[p.user%7])
}

// hundredths is a number with two decimals.
func (p *payload) hundredths(name string, n int64) {
	p.number(name, n/100)
	p.dst = append(p.dst, '.', byte('0'+n/10%10), byte('0'+n%10))
}

// id names the user's nth thing of a kind.
func (p *payload) id(name string, kind byte, n int) {
	p.name(name, "")
	p.dst = appendUser(append(p.dst, '"', kind, '-'), p.user)
	p.dst = append(strconv.AppendInt(append(p.dst, '-'), int64(n), 10), '"')
}
