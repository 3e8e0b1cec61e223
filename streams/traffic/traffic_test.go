package traffic_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/traffic"
)

func start() time.Time { return time.Date(2026, 1, 31, 12, 0, 0, 123_000_000, time.UTC) }

func TestSameSeedAndClockSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := traffic.Options{Seed: rapid.Uint64().Draw(t, "seed"), Users: rapid.IntRange(1, 300).Draw(t, "users"), Prefix: "p-"}
		one, two, now := traffic.New(o), traffic.New(o), start()
		var buf []byte
		for range 60 {
			now = now.Add(time.Duration(rapid.IntRange(0, 1e9).Draw(t, "step")))
			a := one.Next(now)
			buf = two.AppendNext(append(buf[:0], "x"...), now)
			if string(buf) != "x"+string(a) {
				t.Fatalf("%s\n%s", a, buf[1:])
			}
		}
	})
}

func TestOtherSeedOtherStory(t *testing.T) {
	one, two := traffic.New(traffic.Options{Seed: 1}), traffic.New(traffic.Options{Seed: 2})
	for range 10 {
		if !bytes.Equal(one.Next(start()), two.Next(start())) {
			return
		}
	}
	t.Error("ten events are the same")
}

func TestEveryEventDecodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := traffic.Options{
			Seed: rapid.Uint64().Draw(t, "seed"), Users: rapid.IntRange(0, 20_000).Draw(t, "users"),
			Skew: rapid.Float64Range(0, 4).Draw(t, "skew"), Prefix: rapid.StringMatching(`[A-Za-z0-9_.:-]{0,64}`).Draw(t, "prefix"),
		}
		now := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "unix"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		g := traffic.New(o)
		for range 40 {
			raw := g.Next(now)
			var e event.Event
			if err := event.Decode(raw, &e); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			if !e.OccurredAt.Equal(now) || !e.HasSourceSeq || !strings.HasPrefix(e.ID, o.Prefix) || !strings.HasPrefix(e.UserID, o.Prefix+"u") {
				t.Fatalf("%s: %+v", raw, e)
			}
		}
	})
}

func TestBadPrefixPanics(t *testing.T) {
	for _, prefix := range []string{"a b", `"`, "~", strings.Repeat("x", 65)} {
		t.Run(prefix, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("accepted")
				}
			}()
			traffic.New(traffic.Options{Prefix: prefix})
		})
	}
}

// envelope is what the checker of stories reads.
type envelope struct {
	EventID   string `json:"event_id"`
	EventType string `json:"event_type"`
	SourceSeq uint64 `json:"source_seq"`
	Key       struct {
		UserID string `json:"user_id"`
	} `json:"key"`
	Ctx     map[string]string `json:"ctx"`
	Payload struct {
		BetID    string `json:"bet_id"`
		Transfer string `json:"transfer_id"`
		Stake    int64  `json:"stake_minor"`
		Payout   int64  `json:"payout_minor"`
		Amount   int64  `json:"amount_minor"`
		Balance  *int64 `json:"balance_minor"`
		Currency string `json:"currency"`
		From     string `json:"from"`
		To       string `json:"to"`
	} `json:"payload"`
}

// story is a user as a reader of the events knows him.
type story struct {
	seq      uint64
	session  string // open
	ended    []string
	bet      string // open
	stake    int64
	deposit  string // open
	payout   string // open
	amount   int64
	balance  int64
	kyc      bool // submitted
	level    string
	device   string
	currency string
}

// read checks an event against what came before.
func (s *story) read(e *envelope) error {
	s.seq++
	p := &e.Payload
	money := strings.HasPrefix(e.EventType, "bet.") || strings.HasPrefix(e.EventType, "deposit.") || strings.HasPrefix(e.EventType, "withdrawal.")
	if s.currency == "" {
		s.currency = p.Currency
	}
	switch {
	case e.SourceSeq != s.seq:
		return fmt.Errorf("source_seq %d, want %d", e.SourceSeq, s.seq)
	case e.EventType != "session.started" && e.Ctx["session_id"] != s.session:
		return fmt.Errorf("session %q, open is %q", e.Ctx["session_id"], s.session)
	case s.device != "" && s.device != e.Ctx["device_fp"] || e.Ctx["platform"] == "" || len(e.Ctx["geo"]) != 2:
		return fmt.Errorf("ctx %v", e.Ctx)
	case money && (len(p.Currency) != 3 || p.Currency != s.currency):
		return fmt.Errorf("currency %q, before %q", p.Currency, s.currency)
	}
	s.device = e.Ctx["device_fp"]
	if err := s.follow(e); err != nil {
		return err
	}
	if s.balance < 0 || p.Balance != nil && *p.Balance != s.balance {
		return fmt.Errorf("balance %v, counted %d", p.Balance, s.balance)
	}
	return nil
}

func (s *story) follow(e *envelope) error {
	p, id := &e.Payload, e.Ctx["session_id"]
	idle := s.bet == "" && s.deposit == "" && s.payout == ""
	ok := true
	switch e.EventType {
	case "session.started":
		ok = s.session == "" && id != "" && !slices.Contains(s.ended, id) && idle
		s.session = id
	case "session.ended":
		ok = idle
		s.ended, s.session = append(s.ended, s.session), ""
	case "bet.placed":
		ok = idle && p.BetID != "" && p.Stake > 0
		s.bet, s.stake, s.balance = p.BetID, p.Stake, s.balance-p.Stake
	case "bet.settled":
		ok = p.BetID == s.bet && s.bet != "" && p.Stake == s.stake && p.Payout >= 0
		s.bet, s.balance = "", s.balance+p.Payout
	case "deposit.requested":
		ok = idle && p.Transfer != "" && p.Amount > 0
		s.deposit, s.amount = p.Transfer, p.Amount
	case "deposit.completed":
		ok = p.Transfer == s.deposit && s.deposit != "" && p.Amount == s.amount
		s.deposit, s.balance = "", s.balance+p.Amount
	case "withdrawal.requested":
		ok = idle && p.Transfer != "" && p.Amount > 0 && (p.Amount < 50_000 || s.level != "")
		s.payout, s.amount, s.balance = p.Transfer, p.Amount, s.balance-p.Amount
	case "withdrawal.completed", "withdrawal.declined":
		ok = p.Transfer == s.payout && s.payout != "" && p.Amount == s.amount
		s.payout = ""
		if e.EventType == "withdrawal.declined" {
			s.balance += p.Amount
		}
	case "kyc.submitted":
		ok = idle && !s.kyc && s.level != "full"
		s.kyc = true
	case "kyc.level_changed":
		ok = s.kyc && (p.From == s.level || p.From == "none" && s.level == "") && p.To != p.From
		s.kyc, s.level = false, p.To
	default:
		return fmt.Errorf("type %q", e.EventType)
	}
	if !ok {
		return fmt.Errorf("%s does not follow", e.EventType)
	}
	return nil
}

func TestStoriesHoldTogether(t *testing.T) {
	g := traffic.New(traffic.Options{Seed: 7, Prefix: "x-"})
	ids, stories, types, large := map[string]bool{}, map[string]*story{}, map[string]int{}, 0
	for range 50_000 {
		raw := g.Next(start())
		var e envelope
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		s := stories[e.Key.UserID]
		if s == nil {
			s = &story{}
			stories[e.Key.UserID] = s
		}
		if err := s.read(&e); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		if ids[e.EventID] {
			t.Fatalf("%s again", e.EventID)
		}
		ids[e.EventID] = true
		types[e.EventType]++
		if e.EventType == "withdrawal.requested" && e.Payload.Amount >= 50_000 {
			large++
		}
	}
	if len(types) != 11 || large == 0 {
		t.Errorf("%d large withdrawals; types %v", large, types)
	}
	if types["bet.placed"] < 10_000 {
		t.Errorf("bets are no main thing: %v", types)
	}
	if len(stories) < 1500 || len(stories) > 5000 {
		t.Errorf("%d users", len(stories))
	}
}

func TestActivityIsSkewed(t *testing.T) {
	g := traffic.New(traffic.Options{Seed: 3, Users: 1000})
	counts := map[string]int{}
	for range 50_000 {
		var e event.Event
		if err := event.Decode(g.Next(start()), &e); err != nil {
			t.Fatal(err)
		}
		counts[e.UserID]++
	}
	var all []int
	for _, n := range counts {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b int) int { return b - a })
	top := 0
	for _, n := range all[:10] {
		top += n
	}
	if len(all) < 700 || top < 10_000 || top > 40_000 {
		t.Errorf("%d users; the ten most active sent %d of 50,000 events", len(all), top)
	}
}

// Two generators with prefixes share neither events nor users.
func TestPrefixesKeepApart(t *testing.T) {
	seen := map[string]string{}
	for _, prefix := range []string{"eu-", "us-"} {
		g := traffic.New(traffic.Options{Seed: 1, Users: 20, Prefix: prefix})
		for range 200 {
			var e event.Event
			if err := event.Decode(g.Next(start()), &e); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"id " + e.ID, "user " + e.UserID} {
				if other, ok := seen[name]; ok && other != prefix {
					t.Fatalf("%s comes from both", name)
				}
				seen[name] = prefix
			}
		}
	}
}

func BenchmarkAppendNext(b *testing.B) {
	g, now := traffic.New(traffic.Options{Seed: 1}), start()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = g.AppendNext(buf[:0], now)
	}
	b.SetBytes(int64(len(buf)))
}
