package clock_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/relay/clock"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a machine and a hub whose clocks the test sets.
type world struct {
	t       *testing.T
	watch   *clock.Watch
	metrics *prometheus.Registry
	logs    *observer.ObservedLogs
	wall    time.Time
	elapsed time.Duration
	beat    time.Time // the newest heartbeat
	hub     time.Time // the hub's clock
	stops   int       // reads during which the process is stopped
}

func newWorld(t *testing.T, wrong time.Duration) *world {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	w := &world{t: t, metrics: prometheus.NewRegistry(), logs: logs, wall: now.Add(wrong), hub: now, beat: now}
	o := clock.DefaultOptions()
	o.Now = func() time.Time {
		if w.stops > 0 {
			w.stops--
			w.pass(40 * time.Second)
		}
		return w.wall
	}
	o.Elapsed = func() time.Duration { return w.elapsed }
	o.Heartbeat = func() time.Time { return w.beat }
	o.Logger, o.Registerer = zap.New(core), w.metrics
	var err error
	if w.watch, err = clock.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.watch.Close)
	return w
}

// pass lets time go by on all clocks.
func (w *world) pass(d time.Duration) {
	w.wall, w.elapsed, w.hub = w.wall.Add(d), w.elapsed+d, w.hub.Add(d)
}

// seconds are as the relay sees them: a look in each, and a heartbeat in every fifth.
func (w *world) seconds(n int) string {
	why := ""
	for i := range n {
		w.pass(time.Second)
		if i%5 == 0 {
			w.beat = w.hub
		}
		why = w.watch.Look()
	}
	return why
}

// silence is seconds without a heartbeat.
func (w *world) silence(n int) string {
	why := ""
	for range n {
		w.pass(time.Second)
		why = w.watch.Look()
	}
	return why
}

func (w *world) expect(why, part string) {
	w.t.Helper()
	if part == "" && why != "" || !strings.Contains(why, part) || w.watch.Unsure() != why {
		w.t.Errorf("it says %q and then %q, want %q", why, w.watch.Unsure(), part)
	}
}

func (w *world) jumps(forward, back int) {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "weft_relay_clock_jumps_total" {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if got["forward"] != float64(forward) || got["back"] != float64(back) {
		w.t.Errorf("jumps %v, want %d forward and %d back", got, forward, back)
	}
	if logged := w.logs.FilterMessage("the clock of this machine jumped").Len(); logged != forward+back {
		w.t.Errorf("%d jumps are logged", logged)
	}
}

func TestARightClockIsTrusted(t *testing.T) {
	w := newWorld(t, 0)
	w.expect(w.seconds(600), "")
	w.jumps(0, 0)
}

func TestASmallJumpIsToldAndTrusted(t *testing.T) {
	w := newWorld(t, 0)
	w.wall = w.wall.Add(3 * time.Second)
	w.expect(w.seconds(1), "")
	w.wall = w.wall.Add(-3 * time.Second)
	w.expect(w.seconds(1), "")
	w.wall = w.wall.Add(time.Second) // less than Jump
	w.expect(w.seconds(1), "")
	w.jumps(1, 1)
}

// A large jump is seen at the next look. Back in time it is over by itself; confirmed by the hub, as after a machine
// was asleep, too.
func TestALargeJump(t *testing.T) {
	for _, by := range []time.Duration{9 * time.Minute, -9 * time.Minute} {
		w := newWorld(t, 0)
		w.seconds(7)
		w.wall = w.wall.Add(by)
		w.expect(w.watch.Look(), "jumped by")
		w.expect(w.seconds(60), "differs from the hub's by")
		w.wall = w.wall.Add(-by)
		w.seconds(7)
		w.expect(w.watch.Unsure(), "")
		w.jumps(1, 1)
		if w.logs.FilterLevelExact(zapcore.ErrorLevel).Len() != 1 || w.logs.FilterMessageSnippet("trusted again").Len() != 1 {
			t.Errorf("logged %v", w.logs.All())
		}
	}
}

func TestAJumpThatTheHubConfirms(t *testing.T) {
	w := newWorld(t, 0)
	w.seconds(7)
	w.wall, w.hub = w.wall.Add(10*time.Minute), w.hub.Add(10*time.Minute)
	w.expect(w.silence(3), "jumped by 600 s")
	w.expect(w.seconds(1), "")
	w.expect(w.seconds(20), "")
}

// Many small steps that no hub confirms add up.
func TestStepsAddUp(t *testing.T) {
	w := newWorld(t, 0)
	for range 20 {
		w.wall = w.wall.Add(4 * time.Second)
		w.silence(1)
	}
	w.expect(w.watch.Unsure(), "jumped by 80 s")
	w.jumps(20, 0)
}

// A clock that was wrong from the beginning never jumps: the hub's shows it, at the second heartbeat.
func TestAClockThatWasAlwaysWrong(t *testing.T) {
	for _, by := range []time.Duration{-412 * time.Second, 412 * time.Second} {
		w := newWorld(t, by)
		w.expect(w.seconds(5), "")
		w.expect(w.seconds(1), "differs from the hub's by")
		w.jumps(0, 0)
	}
	w := newWorld(t, 50*time.Second)
	w.expect(w.seconds(100), "") // within Limit
}

// One heartbeat that was on its way for long says nothing.
func TestALateHeartbeat(t *testing.T) {
	w := newWorld(t, 0)
	w.seconds(6)
	w.silence(200)
	w.beat = w.hub.Add(-150 * time.Second)
	w.expect(w.watch.Look(), "")
	w.expect(w.seconds(12), "")
}

// A process that is stopped between the two clocks did not jump.
func TestAStoppedProcess(t *testing.T) {
	w := newWorld(t, 0)
	w.stops = 1
	w.expect(w.watch.Look(), "")
	w.stops = 3
	w.expect(w.watch.Look(), "")
	w.expect(w.seconds(20), "")
	w.jumps(0, 0)
}

func TestOptions(t *testing.T) {
	if _, err := clock.New(clock.DefaultOptions()); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}
