package intake_test

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
)

// replay makes one request sendable again and again.
type replay struct {
	req  *http.Request
	body []byte
}

func newReplay(t *testing.T, req *http.Request) *replay {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &replay{req, body}
}

func (r *replay) send(w *world) int {
	r.req.Body = io.NopCloser(bytes.NewReader(r.body))
	return w.handler.Admit(r.req).Status
}

// An unknown kid costs what a wrong signature costs: the same work, which is asserted by the allocations of a refusal (a MAC
// makes some of its own), and so the same time, which is measured and only reported.
func TestUnknownKidCostsWhatAWrongSignatureCosts(t *testing.T) {
	for _, scheme := range schemes {
		t.Run(scheme, func(t *testing.T) {
			w := newSchemes(t)
			w.handler.Follow(w.state)
			w.cert = w.issue(pki.Principal{Role: pki.RoleTenant, Tenant: "globex", Producer: "p"})
			change := func(r *http.Request) { // any body but the signed one
				r.Body = io.NopCloser(bytes.NewReader([]byte(w.event("other"))))
			}
			wrong, unknown := newReplay(t, w.signed(scheme, scheme, change)), newReplay(t, w.signed(scheme, "no-"+scheme[3:], change))
			if a, b := wrong.send(w), unknown.send(w); a != 401 || b != 401 {
				t.Fatalf("%d and %d", a, b)
			}
			a := leastAllocs(func() { wrong.send(w) })
			b := leastAllocs(func() { unknown.send(w) })
			if a != b {
				t.Errorf("a wrong signature makes %v allocations, an unknown kid %v: one of them does other work", a, b)
			}
			n := 1500
			if scheme == keyring.StandardWebhooksV1a { // a hundred times as slow
				n = 300
			}
			w.reportTimes(t, wrong, unknown, n)
		})
	}
}

// The assertion above notices a MAC that is left out: a request that is refused before it makes fewer allocations.
func TestMACsShowInAllocations(t *testing.T) {
	w := newSchemes(t)
	late := w.signed(keyring.WeftV1, "nobody")
	w.now = w.now.Add(25 * time.Hour)
	before, after := newReplay(t, late), newReplay(t, w.signed(keyring.WeftV1, "nobody"))
	a := leastAllocs(func() { before.send(w) })
	b := leastAllocs(func() { after.send(w) })
	if b < a+3 {
		t.Errorf("%v allocations without a MAC, %v with one", a, b)
	}
}

// leastAllocs are the allocations of f when its pools are full: the race detector empties them at random.
func leastAllocs(f func()) float64 {
	least := math.Inf(1)
	for range 50 {
		least = min(least, testing.AllocsPerRun(1, f))
	}
	return least
}

// reportTimes measures both requests alternately, each n times, and says how well one could be told from the other.
func (w *world) reportTimes(t *testing.T, a, b *replay, n int) {
	var times [2][]float64
	for i := range 2 * n {
		who, r := i%2, a
		if who == 1 {
			r = b
		}
		begin := time.Now()
		r.send(w)
		times[who] = append(times[who], float64(time.Since(begin).Nanoseconds()))
	}
	// the slowest twentieth is the machine's: other work, collections
	for i := range times {
		slices.Sort(times[i])
		times[i] = times[i][:n*19/20]
	}
	ma, va := moments(times[0])
	mb, vb := moments(times[1])
	welch := (ma - mb) / math.Sqrt(va/float64(len(times[0]))+vb/float64(len(times[1])))
	t.Logf("wrong signature %.0f ns, unknown kid %.0f ns on average (medians %.0f, %.0f), Welch's t %.1f, chance that the first is the slower %.3f (0.5: no telling)",
		ma, mb, times[0][len(times[0])/2], times[1][len(times[1])/2], welch, superiority(times[0], times[1]))
}

func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x)-1)
	}
	return mean, variance
}

// superiority is the effect size of the Mann-Whitney test: the chance that one of a is greater than one of b. Both are sorted.
func superiority(a, b []float64) float64 {
	u, less, notGreater := 0.0, 0, 0
	for _, v := range a {
		for less < len(b) && b[less] < v {
			less++
		}
		for notGreater < len(b) && b[notGreater] <= v {
			notGreater++
		}
		u += float64(less) + float64(notGreater-less)/2
	}
	return u / float64(len(a)*len(b))
}
