package checker

import (
	"testing"
	"time"
)

const second = int64(time.Second)

func TestProbes(t *testing.T) {
	revoked := 10 * second
	cases := map[string]struct {
		p    Probe
		span Span
		want string
	}{
		"accepted before the end":                {p: Probe{At: 9 * second, Answer: Accepted, BadFrom: revoked}},
		"accepted within the time to know":       {p: Probe{At: 12 * second, Answer: Accepted, BadFrom: revoked}},
		"accepted later":                         {p: Probe{At: 12*second + 1, Answer: Accepted, BadFrom: revoked}, want: KindAdmitted},
		"refused later":                          {p: Probe{At: 13 * second, Answer: Barred, BadFrom: revoked}},
		"accepted behind a cut":                  {p: Probe{At: 20 * second, Answer: Accepted, BadFrom: revoked}, span: Span{11 * second, 15 * second}},
		"accepted long after a cut":              {p: Probe{At: 31 * second, Answer: Accepted, BadFrom: revoked}, span: Span{11 * second, 15 * second}, want: KindAdmitted},
		"a cut that began when all had to know":  {p: Probe{At: 14 * second, Answer: Accepted, BadFrom: revoked}, span: Span{13 * second, 15 * second}, want: KindAdmitted},
		"a cut that was over":                    {p: Probe{At: 14 * second, Answer: Accepted, BadFrom: revoked}, span: Span{1 * second, 9 * second}, want: KindAdmitted},
		"never good":                             {p: Probe{At: 1, Answer: Accepted}, want: KindAdmitted},
		"never good, disturbed":                  {p: Probe{At: 1, Answer: Accepted}, span: Span{0, 2}, want: KindAdmitted},
		"never good by a clock that is off":      {p: Probe{At: 1, Answer: Accepted, Calm: true}, span: Span{0, 2}},
		"never good by a clock that is right":    {p: Probe{At: 1, Answer: Accepted, Calm: true}, want: KindAdmitted},
		"a valid one refused":                    {p: Probe{At: 2, Answered: 3, Answer: Barred, GoodFrom: 1, GoodUntil: revoked, BadFrom: Forever}, want: KindTurnedAway},
		"not yet valid":                          {p: Probe{At: 2, Answered: 3, Answer: Barred, GoodFrom: 2, GoodUntil: revoked, BadFrom: Forever}},
		"answered after its end":                 {p: Probe{At: 2, Answered: revoked, Answer: Barred, GoodFrom: 1, GoodUntil: revoked, BadFrom: Forever}},
		"a valid one refused while disturbed":    {p: Probe{At: 2, Answered: 3, Answer: Barred, GoodUntil: revoked, BadFrom: Forever}, span: Span{1, 4}},
		"no answer":                              {p: Probe{At: 20 * second, GoodUntil: 30 * second}},
		"a copy was stored":                      {p: Probe{At: 1, Answer: Accepted, BadFrom: Forever, Copy: true}, want: KindReplayed},
		"a copy was known, or refused (nothing)": {p: Probe{At: 1, Answer: Known, Copy: true}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := &History{Probes: []Probe{c.p}}
			if c.span.To > 0 {
				h.Disturbed = append(h.Disturbed, c.span)
			}
			v := Check(h)
			got := ""
			if len(v.Findings) > 0 {
				got = v.Findings[0].Kind
			}
			if got != c.want || v.OK() != (c.want == "") || v.Probes != 1 {
				t.Errorf("%q, want %q: %+v", got, c.want, v)
			}
		})
	}
}

func TestCopiesStandOnce(t *testing.T) {
	h := &History{
		Attempts: []Attempt{{ID: "a", Tenant: "x", Outcome: Acked, Region: "eu", Once: true, Sends: []Send{{1, "eu"}}, AckedAt: 2}},
		Copies: []Copy{{Tenant: "x", Region: "eu", Events: []Stored{
			{ID: "a", Origin: "eu_1", OriginSeq: 1, Seq: 1, At: 1}, {ID: "a", Origin: "us_1", OriginSeq: 7, Seq: 2, At: 9 * second},
		}}},
	}
	if v := Check(h); v.Replayed != 1 {
		t.Errorf("%+v", v)
	}
	h.Attempts[0].Once = false
	if v := Check(h); v.Replayed != 0 || v.CrossDuplicates != 1 {
		t.Errorf("%+v", v)
	}
}
