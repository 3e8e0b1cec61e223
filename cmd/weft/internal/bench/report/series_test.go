package report

import (
	"math"
	"reflect"
	"testing"
)

func TestThinned(t *testing.T) {
	var samples []Sample
	for i := range 1000 {
		s := Sample{At: float64(i), Phase: "a", PerSecond: 10, Cores: 1, P99: 1, RSS: 5}
		if i >= 499 {
			s.Phase = "b"
		}
		samples = append(samples, s)
	}
	samples[1].PerSecond, samples[1].P99, samples[1].RSS = 40, 7, 9
	samples[2].PerSecond = math.NaN()
	got, size := thinned(samples, 300)
	if size != 4 || len(got) != 125+126 {
		t.Fatalf("%d samples of %d each", len(got), size)
	}
	want := Sample{At: 0, Phase: "a", PerSecond: 15, Cores: 1, P99: 7, RSS: 9}
	if got[0] != want {
		t.Errorf("the first is %+v, want %+v", got[0], want)
	}
	if last := got[124]; last.Phase != "a" || last.At != 496 {
		t.Errorf("the last of a is %+v", last)
	}
	if first := got[125]; first.Phase != "b" || first.At != 499 {
		t.Errorf("the first of b is %+v", first)
	}
	if same, size := thinned(samples, 1000); size != 1 || len(same) != 1000 {
		t.Errorf("as many as may be drawn became %d", len(same))
	}
	if none, size := thinned(nil, 300); size != 1 || len(none) != 0 {
		t.Errorf("none became %d", len(none))
	}
}

func TestPhases(t *testing.T) {
	got := phases([]Sample{{At: 0, Phase: "a"}, {At: 1, Phase: "a"}, {At: 3, Phase: "b"}, {At: 4, Phase: "a"}})
	want := []phase{{"a", 0, 2}, {"b", 2, 3.5}, {"a", 3.5, 4}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := phases(nil); got != nil {
		t.Errorf("phases of nothing: %v", got)
	}
}

func TestClock(t *testing.T) {
	for seconds, want := range map[float64]string{0: "s", 600: "s", 601: "min", 10800: "min", 10801: "h"} {
		if got, _ := clock(seconds); got != want {
			t.Errorf("%v seconds are told in %s, want %s", seconds, got, want)
		}
	}
}
