package broker

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weft-mesh/weft/streams/fault"
)

// serverLog turns the server's log lines into ours: what it calls a notice is detail to us. It also keeps the
// first fatal message, which the server does not return as an error.
type serverLog struct {
	log    *zap.Logger
	held   *atomic.Bool // links are refused on purpose
	gone   *sync.Map    // accounts that were removed: their clients are refused on purpose
	first  atomic.Pointer[string]
	breaks func(error) // told of a failure of the disk after which the server refuses writes for good

	unrecovered atomic.Pointer[string] // the first stream or consumer that could not be recovered at the start
}

// refusesWrites are the server's words for that: it tells nobody else, and answers requests as before.
var refusesWrites = []string{"ritical write error", "will be DISABLED"}

// notRecovered are the server's words for a stream or consumer that it could not read and may have deleted for that.
var notRecovered = []string{"Error recreating stream", "Error adding consumer", "Error configuring jetstream for account"}

func (l *serverLog) recovers(msg string) {
	for _, words := range notRecovered {
		if strings.Contains(msg, words) {
			l.unrecovered.CompareAndSwap(nil, &msg)
		}
	}
}

// lost is the first thing that was not recovered, or nothing.
func (l *serverLog) lost() string {
	if p := l.unrecovered.Load(); p != nil {
		return strings.TrimSpace(*p)
	}
	return ""
}

// fatal is the first fatal message, or nothing.
func (l *serverLog) fatal() string {
	if p := l.first.Load(); p != nil {
		return *p
	}
	return ""
}

// Noticef logs at debug level.
func (l *serverLog) Noticef(format string, v ...any) {
	if l.log.Core().Enabled(zap.DebugLevel) {
		l.log.Debug(fmt.Sprintf(format, v...))
	}
}

// Warnf logs a warning.
func (l *serverLog) Warnf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	l.recovers(msg)
	l.say(zap.WarnLevel, msg)
}

// Errorf logs an error.
func (l *serverLog) Errorf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	for _, words := range refusesWrites {
		if strings.Contains(msg, words) {
			l.breaks(fault.New("broker.write", fault.Unavailable, "disk_failed", "%s", msg))
		}
	}
	l.recovers(msg)
	l.say(zap.ErrorLevel, msg)
}

// say keeps at debug level what the server reports of every normal start: nobody could act on it.
func (l *serverLog) say(level zapcore.Level, msg string) {
	for _, normal := range []string{
		"Sourcing state is outdated",                                                         // each added source
		"Error trying to connect to route (attempt", "Waiting for routing to be established", // servers of a region start one after the other
		errHeld.Error(), // clients that come back before the region opened
		"JetStream has not established contact with a meta leader", "Metalayer blocking snapshot",
	} {
		if strings.Contains(msg, normal) {
			level = zap.DebugLevel
		}
	}
	if refused := strings.Contains(msg, "maximum account active connections exceeded"); refused && (l.held.Load() || strings.Contains(msg, "Leafnode Error")) {
		level = zap.DebugLevel // a link of a tenant to a region that is not open, on either end
	}
	if level > zap.InfoLevel && (l.ofRemoved(msg) || tooEarly(msg)) {
		level = zap.InfoLevel
	}
	l.log.Log(level, msg)
}

// tooEarly says whether a link was refused the first time that it was tried, or another region has not made the stream yet
// that is read from it: regions start one after the other, and the server tries again. What lasts is told by the hub.
func tooEarly(msg string) bool {
	return strings.Contains(msg, "Error trying to connect as leafnode") && strings.Contains(msg, "(attempt 1)") ||
		strings.Contains(msg, "create source consumer") && strings.Contains(msg, "stream not found")
}

// ofRemoved says whether the server speaks of an account that was removed. Each of its clients is an error to the server
// when it is shut out, and again whenever it tries to come back.
func (l *serverLog) ofRemoved(msg string) (found bool) {
	l.gone.Range(func(account, _ any) bool {
		found = strings.Contains(msg, account.(string))
		return !found
	})
	return found
}

// Fatalf logs an error and keeps it; it does not end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	msg := fmt.Sprintf(format, v...)
	l.first.CompareAndSwap(nil, &msg)
	l.log.Error(msg)
}

// Debugf is never called: the server's debug log is off.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef is never called: the server's trace, which would show payloads, is off.
func (l *serverLog) Tracef(string, ...any) {}
