package subject_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/subject"
)

func TestDeadLetterSubjects(t *testing.T) {
	for want, d := range map[string]subject.DeadLetter{
		"dlq.eu-2.panic.bets.Ledger_1": {Region: "eu-2", Cause: "panic", Topic: "bets", Durable: "Ledger_1"},
		"dlq.us.failure.bets~2.d":      {Region: "us", Cause: "failure", Topic: "bets~2", Durable: "d"},

		"dlq.us.unknown_type.bets.weft-relay": {Region: "us", Cause: "unknown_type", Topic: "bets", Durable: subject.RelayDurable},
	} {
		if got, err := subject.ParseDeadLetter(d.String()); err != nil || got != d || d.String() != want {
			t.Errorf("%s is read as %+v, %v", d, got, err)
		}
	}
	for _, bad := range []string{
		"", "dlq", "dlq.eu.a.b", "dlq.eu.a.b.c.d", "rej.eu.a.b.c", "dlq.EU.a.b.c", "dlq.eu.A.b.c", "dlq.eu.a.B.c", "dlq.eu..b.c", "dlq.eu.a.b.", "dlq.eu.a.b.*", "dlq.eu.a.b.>",
		"dlq.*.a.b.c", "dlq.eu.a.b.c d", "dlq.eu.a.b." + strings.Repeat("x", 65),
	} {
		if got, err := subject.ParseDeadLetter(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
	if got := subject.DeadLettersWith("", "d"); got != subject.DeadLettersBy("d") {
		t.Errorf("%s and %s", got, subject.DeadLettersBy("d"))
	}
}

func FuzzParseDeadLetter(f *testing.F) {
	f.Add("dlq.eu.panic.bets.ledger")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := subject.ParseDeadLetter(s); err == nil && d.String() != s {
			t.Errorf("%q is read as %+v", s, d)
		}
	})
}
