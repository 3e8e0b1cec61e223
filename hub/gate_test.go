package hub

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	lost := []Loss{{Stream: "EVENTS", Kind: LossShort}}
	one, two := map[string]string{"us": "timeout"}, map[string]string{"us": "timeout", "ap": "timeout"}
	for name, c := range map[string]struct {
		losses         []Loss
		silent, waived map[string]string
		proof          evidence
		over           bool
		want           verdict
	}{
		"all answered, nothing lost":          {want: admit},
		"nothing lost, asking is not over":    {proof: cleanStop, want: admit},
		"a loss outranks every evidence":      {losses: lost, proof: cleanStop, over: true, want: expel},
		"a loss outranks a waiver":            {losses: lost, silent: one, waived: one, proof: everySync, over: true, want: expel},
		"silent, no evidence":                 {silent: one, over: true, want: wait},
		"silent, evidence, not over yet":      {silent: one, proof: sameBoot, want: wait},
		"silent, evidence, over":              {silent: one, proof: sameBoot, over: true, want: admit},
		"silent, first start":                 {silent: one, proof: firstStart, over: true, want: admit},
		"silent and waived, no evidence":      {silent: one, waived: one, want: admit},
		"two silent, one waived, no evidence": {silent: two, waived: one, over: true, want: wait},
		"two silent, one waived, evidence":    {silent: two, waived: one, proof: cleanStop, over: true, want: admit},
	} {
		if got := decide(c.losses, c.silent, c.waived, c.proof, c.over); got != c.want {
			t.Errorf("%s: verdict %d, want %d", name, got, c.want)
		}
	}
}

func TestWeigh(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last  *life
		first bool
		boot  string
		want  evidence
	}{
		"new files, no store":                  {first: true, boot: "b", want: firstStart},
		"old files, no store":                  {boot: "b", want: noEvidence},
		"clean stop":                           {last: &life{Boot: "a", Clean: true}, boot: "b", want: cleanStop},
		"killed, same boot":                    {last: &life{Boot: "b"}, boot: "b", want: sameBoot},
		"killed, other boot":                   {last: &life{Boot: "a"}, boot: "b", want: noEvidence},
		"killed, other boot, synced":           {last: &life{Boot: "a", Synced: true}, boot: "b", want: everySync},
		"lost, clean stop before":              {last: &life{Boot: "b", Clean: true, Synced: true, Lost: true}, boot: "b", want: noEvidence},
		"no boot id known now or then":         {last: &life{}, want: noEvidence},
		"an unreadable life and new files":     {last: &life{}, first: true, boot: "b", want: noEvidence},
		"a life outranks the first-start mark": {last: &life{Boot: "a"}, first: true, boot: "b", want: noEvidence},
	} {
		if got := weigh(c.last, c.first, c.boot); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestOptionsOfTheGateAreChecked(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"))
	for name, edit := range map[string]func(*Options){
		"negative dedupe window": func(o *Options) { o.DedupeWindow = -time.Second },
		"tiny dedupe window":     func(o *Options) { o.DedupeWindow = time.Millisecond },
		"endless dedupe window":  func(o *Options) { o.DedupeWindow = 1000 * time.Hour },
		"negative asking":        func(o *Options) { o.AskPeers = -1 },
		"endless asking":         func(o *Options) { o.AskPeers = 100 * time.Hour },
	} {
		o := m.options(0, 0)
		edit(&o)
		if _, err := New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A life that cannot be read proves nothing.
func TestDamagedLifeIsNoEvidence(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"))
	h, err := New(m.options(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.evidence(); got != firstStart {
		t.Errorf("a new region: %q", got)
	}
	if err := os.WriteFile(lifeFile(m.store("eu-0")), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.evidence(); got != noEvidence {
		t.Errorf("a damaged life: %q", got)
	}
	if err := h.noteLife(false); err != nil {
		t.Fatal(err)
	}
	if got := h.evidence(); got != sameBoot {
		t.Errorf("a life of this boot: %q", got)
	}
}

// A region whose files are new opens although nobody answers; the mark is gone then. What was decided without a peer is
// logged, once.
func TestFirstStartNeedsNobody(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	core, logs := observer.New(zap.WarnLevel)
	m.tune = func(o *Options) { o.Logger = zap.New(core) }
	told := func(words string) {
		t.Helper()
		if n := logs.FilterMessageSnippet(words).Len(); n != 1 {
			t.Errorf("%q is logged %d times", words, n)
		}
	}
	t.Cleanup(func() { m.stop("us-0"); m.stop("eu-0") })
	m.startOnly("us-0")
	m.open("us-0")
	if s := m.hubs["us-0"].Status(); len(s.Silent) != 1 {
		t.Errorf("eu does not run and the status says %+v", s)
	}
	told("opens without the word of eu")
	m.wipe("us-0")
	m.startOnly("us-0")
	m.closed("us-0", "can only be told by eu", "weft hub open --region us --without eu")
	told("can only be told by eu")
	m.startOnly("eu-0")
	m.open("eu-0", "us-0") // eu was never given anything: nothing is lost
}

// Whoever stopped in order, or was killed and runs in the same boot, opens while its peer is down.
func TestRestartsOpenByEvidence(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	n := m.flows("acme", "one", 0, 200, "eu-0", "us-0")

	m.stop("us-0")
	m.restart("eu-0") // its peer is down; the stop was an orderly one
	m.open("eu-0")
	m.stop("eu-0")
	m.last("eu-0", life{Boot: bootID()}) // killed
	m.startOnly("eu-0")
	m.open("eu-0")
	publish(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), "alone", 50)
	m.startOnly("us-0")
	m.open("us-0")
	m.converged("acme", n+50, 20*time.Second, "eu-0", "us-0")

	m.stop("eu-0")
	m.stop("us-0")
	m.startOnly("us-0") // the other order
	m.open("us-0")
	m.startOnly("eu-0")
	m.open("eu-0")
	n = m.flows("acme", "two", n+50, 100, "eu-0", "us-0")

	// The power failed in both: neither has evidence, and each has the other's word.
	m.stop("eu-0")
	m.stop("us-0")
	m.last("eu-0", life{Boot: "before"})
	m.last("us-0", life{Boot: "before"})
	m.startOnly("eu-0", "us-0")
	m.open("eu-0", "us-0")
	m.flows("acme", "three", n, 100, "eu-0", "us-0")
	for _, s := range []string{"eu-0", "us-0"} {
		if o := m.hubs[s].Origin(); o.Epoch != 1 {
			t.Errorf("%s goes on as %s although nothing was lost", s, o)
		}
	}
}

// Without evidence a region waits for a peer, and an operator can do without its word.
func TestOpenWithoutAPeer(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"), region("ap"))
	m.start()
	m.tenant("acme")
	m.flows("acme", "one", 0, 50, "eu-0", "us-0", "ap-0")
	m.stop("us-0")
	m.stop("ap-0")
	m.stop("eu-0")
	m.last("eu-0", life{Boot: "before"})
	m.startOnly("eu-0")
	m.closed("eu-0", "can only be told by ap and us", "--without ap,us")
	eu := m.hubs["eu-0"]
	if err := eu.Waive(nil, "test"); fault.CodeOf(err) != "no_peers" {
		t.Errorf("without naming anybody: %v", err)
	}
	if err := eu.Waive([]string{"mars"}, "test"); fault.CodeOf(err) != "peer_answers" {
		t.Errorf("without a region that does not exist: %v", err)
	}
	if err := eu.Waive([]string{"us"}, "test"); err != nil {
		t.Fatal(err)
	}
	m.closed("eu-0", "can only be told by ap")
	if err := eu.Waive([]string{"ap"}, "test"); err != nil {
		t.Fatal(err)
	}
	m.open("eu-0")
	if got := slices.Sorted(maps.Keys(eu.Status().Waived)); !slices.Equal(got, []string{"ap", "us"}) {
		t.Errorf("the status tells of %v", got)
	}
	if err := eu.Waive([]string{"ap"}, "test"); fault.CodeOf(err) != "is_open" {
		t.Errorf("of an open region: %v", err)
	}
	m.startOnly("us-0", "ap-0")
	m.open("us-0", "ap-0")
	m.flows("acme", "two", 150, 50, "eu-0", "us-0", "ap-0")
}

// A region that opened by evidence and hears later that it lost data takes itself out of service; its next
// start stays closed.
func TestEvidenceIsContradictedLater(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	m.flows("acme", "one", 0, 100, "eu-0", "us-0")
	m.backup("eu-0")
	m.flows("acme", "two", 200, 100, "eu-0", "us-0")
	m.stop("us-0")
	m.rollback("eu-0") // with the clean mark of the copy
	m.startOnly("eu-0")
	m.open("eu-0")
	m.startOnly("us-0")
	m.failed("eu-0")
	m.closed("eu-0", "lost data", "EVENTS of acme", "weft hub rejoin --region eu")
	m.rejoin("eu-0")
	m.open("eu-0")
	m.flows("acme", "three", len(m.events("eu-0", "acme")), 0, "eu-0")
}

// A peer that told of a loss and goes away has not taken it back, neither for the evidence of an older copy nor
// for an operator nor for the next start.
func TestLossIsRememberedWhileThePeerIsAway(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	m.flows("acme", "one", 0, 50, "eu-0", "us-0")
	m.backup("eu-0")
	m.flows("acme", "two", 100, 50, "eu-0", "us-0")
	m.stop("eu-0")
	m.rollback("eu-0") // with the clean mark of the copy
	m.startOnly("eu-0")
	m.closed("eu-0", "lost data")
	m.cutters["us-eu"].Cut()
	eu := m.hubs["eu-0"]
	streamtest.Eventually(t, 15*time.Second, func() (bool, string) { return len(eu.Status().Silent) == 1, "us still answers" })
	m.closed("eu-0", "lost data")
	if err := eu.Waive([]string{"us"}, "test"); fault.CodeOf(err) != "data_lost" {
		t.Errorf("a loss that a peer told of is waived while it is away: %v", err)
	}
	m.restart("eu-0")
	m.closed("eu-0", "can only be told by us")
	m.cutters["us-eu"].Heal()
	m.closed("eu-0", "lost data")
	m.rejoin("eu-0")
	m.open("eu-0")
}

// What was stored after the fork of a rolled back store is told apart from what both have.
func TestLossOfStreams(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"))
	m.start()
	m.tenant("acme")
	h := m.hubs["eu-0"]
	publish(t, m.publisher("eu-0", "acme"), h.Origin(), "e", 10)
	s := h.tenancyOf("acme").openSession()
	st, err := s.js.Stream(t.Context(), subject.EventsStream)
	if err != nil {
		t.Fatal(err)
	}
	last, err := st.GetLastMsgForSubject(t.Context(), subject.ReplicatedEvents(h.Origin()))
	if err != nil {
		t.Fatal(err)
	}
	good := *heldIn(last)
	edit := func(do func(*Held)) Held {
		h := good
		do(&h)
		return h
	}
	for name, c := range map[string]struct {
		held Held
		want string
	}{
		"the same":        {good, ""},
		"another id":      {edit(func(h *Held) { h.ID = "x" }), LossDiffers},
		"another subject": {edit(func(h *Held) { h.Subject = "x" }), LossDiffers},
		"more":            {edit(func(h *Held) { h.Seq = 1000 }), LossShort},
	} {
		loss, err := h.lossOf(t.Context(), s, subject.EventsStream, subject.Replicated(h.Origin()), c.held)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if loss != nil {
			got = loss.Kind
		}
		if got != c.want {
			t.Errorf("%s: loss %q, want %q", name, got, c.want)
		}
	}
	if loss, err := h.lossOf(t.Context(), s, "OTHER", ">", good); err != nil || loss == nil || loss.Kind != LossGone {
		t.Errorf("a stream that is not there: %+v, %v", loss, err)
	}
}

// Messages that limits took out are no loss, and a region's newest record must be there although others have
// taken the stream's sequence further.
func TestRemovedMessagesAreNoLoss(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, js := streamtest.Server(t).Stream(jetstream.StreamConfig{Name: subject.ControlStream, Subjects: []string{"own.>", "other.>"}, MaxMsgsPerSubject: 1})
	h, s := &Hub{}, &session{js: js}
	for _, to := range []string{"own.a", "own.b", "other.a", "other.b", "own.b", "other.a", "other.b"} {
		if _, err := s.js.Publish(ctx, to, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		held Held
		want bool
	}{
		"replaced by a newer one":                      {Held{Seq: 2, Subject: "own.b"}, false},
		"the newest":                                   {Held{Seq: 5, Subject: "own.b"}, false},
		"newer than the own newest, before the end":    {Held{Seq: 6, Subject: "own.b"}, true},
		"newer, and what stands there was taken out":   {Held{Seq: 4, Subject: "own.a"}, false},
		"after the own newest, where others stand":     {Held{Seq: 7, Subject: "own.a"}, true},
		"beyond the end":                               {Held{Seq: 8, Subject: "own.a"}, true},
		"replaced, with a life of its own, in the end": {Held{Seq: 3, Subject: "own.a", Expires: true}, false},
	} {
		loss, err := h.lossOf(ctx, s, subject.ControlStream, "own.>", c.held)
		if err != nil {
			t.Fatal(err)
		}
		if (loss != nil) != c.want {
			t.Errorf("%s: loss %+v, want one: %t", name, loss, c.want)
		}
	}
}

// Two regions that are closed answer each other: no start waits for the other to be open.
func TestClosedRegionsAnswerEachOther(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	n := m.flows("acme", "one", 0, 100, "eu-0", "us-0")
	m.cutters["us-eu"].Cut()
	for _, s := range []string{"eu-0", "us-0"} {
		m.stop(s)
		m.last(s, life{Boot: "before"})
	}
	m.startOnly("eu-0", "us-0")
	m.closed("eu-0", "can only be told by us")
	m.closed("us-0", "can only be told by eu")
	m.cutters["us-eu"].Heal()
	m.open("eu-0", "us-0")
	m.flows("acme", "two", n, 100, "eu-0", "us-0")
}

// An open that fails half way is tried again until it succeeds.
func TestOpenIsTriedAgain(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"))
	m.start()
	m.tenant("acme")
	m.stop("eu-0")
	in := filepath.Join(m.store("eu-0"), "life.json")
	if err := os.Remove(in); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(in, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	m.startOnly("eu-0")
	m.closed("eu-0")
	if err := os.RemoveAll(in); err != nil {
		t.Fatal(err)
	}
	m.open("eu-0")
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return m.hubs["eu-0"].served(), "not noted as open" })
}
