package bench

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// eventTypes are those of a gaming brand; together with 64 partitions they make 1,280 subjects, about as many as real
// traffic has.
var eventTypes = [...]string{
	"bet.placed", "bet.settled", "bet.voided", "bet.cashed_out", "spin.started", "spin.ended", "session.opened", "session.closed", "deposit.opened", "deposit.done",
	"withdrawal.opened", "withdrawal.done", "bonus.granted", "bonus.used", "kyc.opened", "kyc.done", "limit.set", "limit.reached", "login.done", "login.failed",
}

func eventType(n uint64) string { return eventTypes[n%uint64(len(eventTypes))] }

// author writes the events of one sender. Its events are numbered from 0, and number n is of its key n modulo keys, so
// that an id alone tells key and place: <tag>-<sender>-<number>.
type author struct {
	tag    string
	sender int
	keys   int
	next   uint64
	pad    string
	stamp  string // occurred_at
	second int64
}

func newAuthor(tag string, sender, keys, size int) *author {
	a := &author{tag: tag, sender: sender, keys: max(keys, 1)}
	probe := len(a.append(nil, time.Now()))
	a.next = 0
	a.pad = strings.Repeat("x", max(size-probe-4, 0)) // numbers grow by a few digits
	return a
}

// append writes the next event.
func (a *author) append(b []byte, now time.Time) []byte {
	if s := now.Unix(); s != a.second {
		a.second, a.stamp = s, now.UTC().Format(time.RFC3339)
	}
	n := a.next
	a.next++
	b = append(b, `{"event_id":"`...)
	b = a.appendID(b, n)
	b = append(b, `","event_type":"`...)
	b = append(b, eventType(n)...)
	b = append(b, `","schema_version":"1.2.0","occurred_at":"`...)
	b = append(b, a.stamp...)
	b = append(b, `","key":{"user_id":"u-`...)
	b = strconv.AppendInt(b, int64(a.sender), 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, n%uint64(a.keys), 10)
	b = append(b, `"},"source_seq":`...)
	b = strconv.AppendUint(b, n+1, 10)
	b = append(b, `,"payload":{"bet_id":"b-`...)
	b = strconv.AppendUint(b, n, 10)
	b = append(b, `","game":"roulette","stake":{"amount":"12.50","currency":"EUR"},"odds":2.75,"note":"`...)
	b = append(b, a.pad...)
	return append(b, `"}}`...)
}

func (a *author) appendID(b []byte, n uint64) []byte {
	b = append(b, a.tag...)
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(a.sender), 10)
	b = append(b, '-')
	return strconv.AppendUint(b, n, 10)
}

// parseID reads back what appendID wrote under tag.
func parseID(id, tag string) (sender int, n uint64, ok bool) {
	rest, ok := strings.CutPrefix(id, tag+"-")
	if !ok {
		return 0, 0, false
	}
	s, number, ok := strings.Cut(rest, "-")
	if !ok {
		return 0, 0, false
	}
	sender, err := strconv.Atoi(s)
	if err != nil {
		return 0, 0, false
	}
	n, err = strconv.ParseUint(number, 10, 64)
	return sender, n, err == nil
}

// lines makes a batch of n events.
func (a *author) lines(b []byte, n int, now time.Time) []byte {
	for range n {
		b = append(a.append(b, now), '\n')
	}
	return b
}

// plainAnswer is how the answer to a batch begins that was stored whole.
func plainAnswer(n int) []byte { return []byte(`{"stored":` + strconv.Itoa(n) + `,"duplicates":0,`) }

func storedWhole(answer []byte, plain []byte) bool { return bytes.HasPrefix(answer, plain) }
