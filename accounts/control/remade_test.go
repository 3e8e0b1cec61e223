package control_test

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// A region that lost its store has a new control stream, which counts from one again: whoever read the old one
// further than that must not wait for its sequence.
func TestTheReaderNoticesANewStream(t *testing.T) {
	server := streamtest.Server(t)
	wipe := server.Backup() // of an empty store
	cfg := streams.ControlConfig(streams.ControlSpec{Self: eu, Replicas: 1})
	cfg.Subjects = []string{"ctl.>"}
	_, js := server.Stream(cfg)
	writer, reader := open(t, js, eu), open(t, js, eu)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if err := put(t, writer, control.KindRegion, name, accounts.RegionInfo{Name: name, Epoch: 1}); err != nil {
			t.Fatal(err)
		}
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return len(reader.State().Regions) == 5, "not read" })
	wipe()
	_, js = server.Stream(cfg)
	if err := put(t, open(t, js, eu), control.KindRegion, "f", accounts.RegionInfo{Name: "f", Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	streamtest.Eventually(t, 15*time.Second, func() (bool, string) {
		return reader.State().Regions["f"] != nil, "the reader does not see the new stream"
	})
	if len(reader.State().Regions) != 6 {
		t.Error("what was known is forgotten")
	}
}

// A stream that was put back to an older copy bears the date of the one before, and is soon as long.
func TestTheReaderNoticesAnOlderStream(t *testing.T) {
	server, js := controlStream(t)
	reader := open(t, js, eu)
	region := func(l *control.Log, name string) {
		t.Helper()
		streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
			err := put(t, l, control.KindRegion, name, accounts.RegionInfo{Name: name, Epoch: 1})
			return err == nil, "not written"
		})
	}
	region(open(t, js, eu), "a")
	restore := server.Backup()
	writer := open(t, js, eu)
	for _, name := range []string{"b", "c", "d", "e"} {
		region(writer, name)
	}
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) { return len(reader.State().Regions) == 5, "not read" })
	restore()
	region(open(t, js, eu), "f")
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		return reader.State().Regions["f"] != nil, "the reader waits for sequences that the older stream has not"
	})
}

// A value that is written again under a later origin does not outrank a newer one, and holds where there is none.
func TestRestatedValuesLoseAgainstNewerOnes(t *testing.T) {
	_, js := controlStream(t)
	eu9, eu10 := subject.Origin{Region: "eu", Epoch: 9}, subject.Origin{Region: "eu", Epoch: 10}
	old := open(t, js, eu9)
	if err := put(t, old, control.KindRoutes, "acme", accounts.DefaultRoutes("acme")); err != nil {
		t.Fatal(err)
	}
	if err := put(t, old, control.KindRoutes, "globex", accounts.DefaultRoutes("globex")); err != nil {
		t.Fatal(err)
	}
	written := old.State().WrittenBy("eu", 10)
	if len(written) != 2 || len(old.State().WrittenBy("eu", 9)) != 0 {
		t.Fatalf("written under older epochs: %+v", written)
	}
	newer := accounts.DefaultRoutes("acme")
	newer.Topics[0].Retention *= 2
	if err := put(t, open(t, js, us), control.KindRoutes, "acme", newer); err != nil {
		t.Fatal(err)
	}
	next := open(t, js, eu10)
	for _, w := range written {
		_ = next.Restate(t.Context(), w, "test") // acme's is outranked, which is said
	}
	state := next.State()
	if state.Routes["acme"].Topics[0].Retention != newer.Topics[0].Retention {
		t.Error("an older value won over a newer one")
	}
	if n := len(state.WrittenBy("eu", 10)); n != 0 {
		t.Errorf("%d values are still those of an older epoch", n)
	}
	if !state.HasOf(eu10) || state.HasOf(subject.Origin{Region: "eu", Epoch: 1}) || state.Len() != 2 {
		t.Error("the state does not know what was written under which origin")
	}
}
