package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
	"github.com/weft-mesh/weft/streams/event"
)

func TestIDsTellSenderAndNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &author{tag: "b1x2", sender: rapid.IntRange(0, 5000).Draw(t, "sender")}
		n := rapid.Uint64().Draw(t, "n")
		sender, got, ok := parseID(string(a.appendID(nil, n)), a.tag)
		if !ok || sender != a.sender || got != n {
			t.Fatalf("read back as %d, %d, %t", sender, got, ok)
		}
	})
	for _, foreign := range []string{"", "b1x2", "b1x2-1", "b1x2-1-", "b1x2-x-1", "b1x23-1-1", "other-1-1", "b1x2-1--1"} {
		if _, _, ok := parseID(foreign, "b1x2"); ok {
			t.Errorf("%q is taken for one of ours", foreign)
		}
	}
}

// Every event of the load is one that a relay accepts, and has the size that was asked for.
func TestEventsAreValid(t *testing.T) {
	for _, size := range []int{minEventBytes, 500, 32_000} {
		a := newAuthor("b1", 7, 3, size)
		results, err := event.DecodeLines(a.lines(nil, 200, time.Now()), event.DefaultLimits(), nil)
		if err != nil || len(results) != 200 {
			t.Fatalf("%d events, %v", len(results), err)
		}
		for i, r := range results {
			if r.Err != nil {
				t.Fatalf("event %d: %v", i, r.Err)
			}
			if want := fmt.Sprintf("u-7-%d", i%3); r.Event.UserID != want || r.Event.ID != fmt.Sprintf("b1-7-%d", i) {
				t.Errorf("event %d: %s of %s, want %s", i, r.Event.ID, r.Event.UserID, want)
			}
			if got := len(r.Event.Raw); size > 300 && (got < size-20 || got > size+20) {
				t.Fatalf("%d bytes instead of %d", got, size)
			}
		}
	}
}

func TestBitset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[uint64]bool{}
		var s bitset
		for _, n := range rapid.SliceOf(rapid.Uint64Range(0, 100_000)).Draw(t, "numbers") {
			s.add(n)
			want[n] = true
		}
		for n := range want {
			if !s.has(n) || s.has(n+1) != want[n+1] {
				t.Fatalf("%d or the one after it is wrong", n)
			}
		}
	})
}

// told is a sender of ten events of two keys, all but the last of which are acknowledged.
func told() *sender {
	s := &sender{author: &author{tag: "b", sender: 3, keys: 2, next: 10}}
	for n := range uint64(9) {
		s.acked.add(n)
		s.settled++
	}
	return s
}

func TestReadingBackFindsWhatIsWrong(t *testing.T) {
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	cases := map[string]struct {
		stored []int
		want   tally
	}{
		"all":                         {all, tally{read: 10}},
		"without the unacknowledged":  {all[:9], tally{read: 9}},
		"one is missing":              {slices.Delete(slices.Clone(all), 4, 5), tally{read: 9, lost: 1}},
		"nothing":                     {nil, tally{lost: 9}},
		"one twice":                   {append(slices.Clone(all), 4), tally{read: 11, duplicated: 1}},
		"two of one key turned round": {[]int{0, 1, 4, 3, 2, 5, 6, 7, 8, 9}, tally{read: 10, reordered: 1}},
		"two keys turned round":       {[]int{1, 0, 3, 2, 5, 4, 7, 6, 9, 8}, tally{read: 10}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := told()
			copied := newCopy("b", []*sender{s})
			for _, n := range c.stored {
				copied.take(string(s.appendID(nil, uint64(n))))
			}
			copied.take("b-99-1") // of nobody
			copied.take("raw-3-1")
			if got := copied.tally(); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc")
	}
	before := usageOf(os.Getpid())
	for end := time.Now().Add(150 * time.Millisecond); time.Now().Before(end); {
		_ = bytes.Repeat([]byte("x"), 1000)
	}
	after := usageOf(os.Getpid())
	if spent := after.cpu - before.cpu; spent < 20*time.Millisecond || spent > 10*time.Second || after.rss < 1 {
		t.Errorf("%s of CPU and %.1f MB", spent, after.rss)
	}
	if usageOf(0) != (usage{}) || usageOf(1<<30) != (usage{}) {
		t.Error("no process has figures")
	}
}

func TestMediansOfRounds(t *testing.T) {
	b := &bench{out: &report.Report{Rounds: []report.Round{{PerSecond: 30, Baseline: 60, Ratio: 0.5}, {PerSecond: 10, Baseline: 40, Ratio: 0.25}, {PerSecond: 20, Baseline: 20, Ratio: 1}}}}
	b.summarize()
	if s := b.out.Summary; s.AcceptedPerSecond != 20 || s.BaselinePerSecond != 40 || s.Ratio != 0.5 || s.RatioLow != 0.25 || s.RatioHigh != 1 {
		t.Errorf("%+v", s)
	}
}

func TestGrowthBeyondItsVariableIsTold(t *testing.T) {
	curve := func(unit string, first, last float64) report.Curve {
		return report.Curve{Name: "it", Y: unit, Points: []report.Point{{X: 10, Y: first}, {X: 100, Y: last}}}
	}
	for name, c := range map[string]struct {
		curve report.Curve
		told  bool
	}{
		"less":          {curve("µs", 5, 40), false},
		"as much":       {curve("µs", 5, 50), false},
		"more":          {curve("µs", 5, 51), true},
		"a faster rate": {curve(rateUnit, 5, 500), false},
	} {
		b := &bench{out: &report.Report{}}
		b.judge(c.curve)
		if told := strings.Contains(strings.Join(b.out.Notes, "\n"), "grows faster"); told != c.told || len(b.out.Notes) == 0 {
			t.Errorf("%s: %v", name, b.out.Notes)
		}
	}
}

// fakeRelay answers over HTTP/1.1 and TLS with what answer says.
func fakeRelay(t *testing.T, answer func(r *http.Request, body []byte) (int, string)) *endpoint {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		status, text := answer(r, body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	config := s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.ServerName, config.NextProtos = "example.com", []string{"http/1.1"}
	return &endpoint{host: s.Listener.Addr().String(), tls: config, kid: "acme-1", secret: keyring.Secret("0123456789abcdef0123456789abcdef")}
}

func senderTo(e *endpoint, batch int) *sender {
	return newSender(e, "b", 0, 10, 300, batch, newRecorder(&mesh{}))
}

func TestSenderReadsEveryAnswer(t *testing.T) {
	cases := map[string]struct {
		batch  int
		status int
		text   string
		acked  []uint64
		code   string
	}{
		"one stored":       {1, 202, `{"event_id":"x","status":"stored"}`, []uint64{0}, ""},
		"one refused":      {1, 422, `{"code":"invalid_event"}`, nil, "422 invalid_event"},
		"all stored":       {3, 200, `{"stored":3,"duplicates":0,"results":[]}`, []uint64{0, 1, 2}, ""},
		"one is rejected":  {3, 200, `{"stored":2,"duplicates":0,"results":[{"index":1,"status":"rejected","code":"c"}]}`, []uint64{0, 2}, "c"},
		"duplicates":       {3, 200, `{"stored":0,"duplicates":3,"results":[{"index":0,"status":"duplicate"},{"index":1,"status":"duplicate"},{"index":2,"status":"duplicate"}]}`, []uint64{0, 1, 2}, ""},
		"partly available": {3, 200, `{"stored":1,"results":[{"index":0,"status":"unavailable","code":"overloaded"},{"index":2,"status":"unavailable","code":"overloaded"}]}`, []uint64{1}, "overloaded"},
		"overloaded":       {3, 503, `{"code":"overloaded"}`, nil, "503 overloaded"},
		"not JSON":         {3, 200, `<html>`, nil, "200 "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := senderTo(fakeRelay(t, func(*http.Request, []byte) (int, string) { return c.status, c.text }), c.batch)
			defer s.close()
			s.send(time.Now())
			for n := range uint64(c.batch) {
				if s.acked.has(n) != slices.Contains(c.acked, n) {
					t.Errorf("event %d acknowledged: %t", n, s.acked.has(n))
				}
			}
			acked, _ := s.rec.state()
			if s.settled != len(c.acked) || acked != len(c.acked) || s.rec.failed() != c.batch-len(c.acked) {
				t.Errorf("%d settled, %d acknowledged, %d failed", s.settled, acked, s.rec.failed())
			}
			if c.code != "" && s.other[c.code] == 0 {
				t.Errorf("noted: %v", s.other)
			}
		})
	}
}

// A lost connection is an error of this batch, and the next one dials again.
func TestSenderDialsAgain(t *testing.T) {
	cut := true
	s := senderTo(fakeRelay(t, func(*http.Request, []byte) (int, string) {
		if cut {
			panic(http.ErrAbortHandler)
		}
		return 200, `{"stored":2,"duplicates":0,"results":[]}`
	}), 2)
	defer s.close()
	s.send(time.Now())
	if s.settled != 0 || s.other["no_answer"] != 1 || s.last == nil {
		t.Fatalf("after a cut: %d settled, %v", s.settled, s.other)
	}
	cut = false
	s.send(time.Now())
	if s.settled != 2 || !s.acked.has(2) || s.acked.has(0) {
		t.Errorf("after the next one: %d settled", s.settled)
	}
}

// What goes over the wire is a request that a relay can verify, and a spoiled one is not.
func TestRequestsAreSigned(t *testing.T) {
	var verdicts []bool
	var e *endpoint
	e = fakeRelay(t, func(r *http.Request, body []byte) (int, string) {
		signed := signature.Request{
			Kid: r.Header.Get(signature.KeyID), Timestamp: r.Header.Get(signature.Timestamp), RequestID: r.Header.Get(signature.RequestID),
			Method: r.Method, Host: r.Host, Target: r.RequestURI, ContentType: r.Header.Get("Content-Type"), BodySHA256: sha256.Sum256(body),
		}
		verdicts = append(verdicts, signed.Validate() == nil && signature.Verify(e.secret.Bytes(), &signed, r.Header.Get(signature.Signature)))
		return 200, `{"stored":1,"duplicates":0,"results":[]}`
	})
	w, err := dial(e, "t-")
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, spoil := range []bool{false, true, false} {
		if _, _, err := w.post([]byte("{}\n"), "application/x-ndjson", time.Now(), spoil); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(verdicts, []bool{true, false, true}) {
		t.Errorf("verified: %v", verdicts)
	}
}

func TestFlawsAreWhatTheyShouldBe(t *testing.T) {
	f := newFlaws(1)
	a := newAuthor("b", 0, 10, 300)
	lines := a.lines(nil, 20_000, time.Now())
	f.spoil(lines)
	results, err := event.DecodeLines(lines, event.Limits{MaxEvents: 20_000, MaxEventBytes: 1000}, nil)
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, r := range results {
		if r.Err != nil {
			bad++
		}
	}
	if bad != f.events || bad < 3 || bad > 25 { // 10 are expected
		t.Errorf("%d events are bad, %d were meant to be", bad, f.events)
	}
}

// A late answer counts: the request after it should have begun while it was waited for. Here all are meant to begin at
// once, so the last one took as long as all of them together.
func TestPacedCountsFromTheIntendedStart(t *testing.T) {
	s := senderTo(fakeRelay(t, func(*http.Request, []byte) (int, string) { return 202, `{}` }), 1)
	defer s.close()
	const events = 50
	began := time.Now()
	paced(t.Context(), []*sender{s}, 1e6, events*time.Microsecond)
	took := time.Since(began) - 10*time.Millisecond // until the first one
	acked, h := s.rec.state()
	if acked != events {
		t.Fatalf("%d of %d sent", acked, events)
	}
	if last := time.Duration(h.Max()) * time.Microsecond; last < took*8/10 {
		t.Errorf("the last request took %s of %s", last, took)
	}
}

func TestRaggedAnswersAreErrors(t *testing.T) {
	for _, text := range []string{"", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "HTTP/1.1 2"} {
		w := &wire{in: bufio.NewReader(strings.NewReader(text))}
		if _, _, err := w.read(); err == nil {
			t.Errorf("%q is taken for an answer", text)
		}
	}
	w := &wire{in: bufio.NewReader(strings.NewReader("HTTP/1.1 202 Accepted\r\nX: y\r\ncontent-length: 2\r\n\r\n{}"))}
	if status, body, err := w.read(); status != 202 || string(body) != "{}" || err != nil {
		t.Errorf("%d %s %v", status, body, err)
	}
}
