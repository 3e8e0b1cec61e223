package broker

import (
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Clients of a removed account are shut out on purpose: that is no error. Those of others are refused for a reason.
func TestRefusedClientsOfARemovedAccount(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	l := &serverLog{log: zap.New(core), held: new(atomic.Bool), gone: new(sync.Map)}
	l.gone.Store("ABCREMOVED", nil)
	say := func(want zapcore.Level, account string) {
		t.Helper()
		l.Errorf("cid:72 - %q - maximum account active connections exceeded - Account:%s/initech", account+"/initech/jwt:UABC", account)
		if got := logs.TakeAll(); len(got) != 1 || got[0].Level != want {
			t.Errorf("told of a client of %s: %v, want one line of level %s", account, got, want)
		}
	}
	say(zap.InfoLevel, "ABCREMOVED")
	say(zap.ErrorLevel, "ABCACTIVE")
}

// Regions start one after the other: that a link is refused the first time, or that a stream is not there yet, is no error.
func TestOtherRegionStartsLater(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	l := &serverLog{log: zap.New(core), held: new(atomic.Bool), gone: new(sync.Map)}
	for msg, want := range map[string]zapcore.Level{
		`Error trying to connect as leafnode to remote server "127.0.0.1:7422" (attempt 1): connection refused`:    zap.InfoLevel,
		`Error trying to connect as leafnode to remote server "127.0.0.1:7422" (attempt 3600): connection refused`: zap.ErrorLevel,
		"JetStream error response for stream GUARD create source consumer GUARD: stream not found (10059)":         zap.InfoLevel,
		"JetStream error response for stream GUARD create source consumer GUARD: insufficient resources (10023)":   zap.ErrorLevel,
	} {
		l.Errorf("%s", msg)
		if got := logs.TakeAll(); len(got) != 1 || got[0].Level != want {
			t.Errorf("%s: told as %v, want one line of level %s", msg, got, want)
		}
	}
}
