package uplink

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/streams/confirm"
	"github.com/weft-mesh/weft/streams/subject"
)

// remoteWindows is how many windows of events may await the confirmation of another region. They hold no slot of
// the window, so a link that is cut must not fill the relay with them.
const remoteWindows = 4

// reserve counts the events that another region has to confirm; false when there are too many already. A batch
// that is larger than the bound goes through alone.
func (u *Uplink) reserve(msgs []Message) (n int64, ok bool) {
	for i := range msgs {
		if msgs[i].Remote {
			n++
		}
	}
	if n == 0 {
		return 0, true
	}
	for {
		before := u.remote.Load()
		if before > 0 && before+n > int64(u.s.Window)*remoteWindows {
			return 0, false
		}
		if u.remote.CompareAndSwap(before, before+n) {
			return n, true
		}
	}
}

// pending says whether a result is a success only if another region has the event too.
func pending(m *Message, r *Result) bool {
	return m.Remote && (r.Status == Stored || r.Status == Duplicate) && r.copies != elsewhere
}

// confirm waits until another region has every event that asks for it, with one question to the hub of each region
// that stored some. What is not confirmed in time becomes unavailable.
func (u *Uplink) confirm(ctx context.Context, msgs []Message, results []Result) {
	var regions []string
	for i := range results {
		if !pending(&msgs[i], &results[i]) {
			continue
		}
		if results[i].copies == unshared {
			results[i] = unconfirmable
		} else if !slices.Contains(regions, msgs[i].Region) {
			regions = append(regions, msgs[i].Region)
		}
	}
	if len(regions) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, u.s.RemoteTimeout)
	defer cancel()
	var others sync.WaitGroup
	for _, region := range regions[1:] {
		others.Go(func() { u.confirmIn(ctx, region, msgs, results) })
	}
	u.confirmIn(ctx, regions[0], msgs, results)
	others.Wait()
}

// confirmIn settles what one region stored; it touches no result of another one.
func (u *Uplink) confirmIn(ctx context.Context, region string, msgs []Message, results []Result) {
	last := -1
	for i := range results {
		if msgs[i].Region == region && pending(&msgs[i], &results[i]) && (last < 0 || results[i].Seq > results[last].Seq) {
			last = i
		}
	}
	upTo := u.confirmed(ctx, &msgs[last], results[last].Seq)
	for i := range results {
		if msgs[i].Region == region && pending(&msgs[i], &results[i]) && results[i].Seq > upTo {
			results[i] = unconfirmed
		}
	}
}

// confirmed is the sequence up to which another region has what the message's origin wrote; 0 when nobody says.
func (u *Uplink) confirmed(ctx context.Context, m *Message, seq uint64) uint64 {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	left -= min(left/10, maxMargin)
	body, err := json.Marshal(confirm.Request{Origin: originOf(m), Seq: seq, WaitMS: max(left.Milliseconds(), 1)})
	if err != nil {
		return 0
	}
	reply, err := u.conn.RequestWithContext(ctx, subject.Remote(m.Region), body)
	if err != nil {
		return 0
	}
	var answer confirm.Response
	if json.Unmarshal(reply.Data, &answer) != nil || answer.Region == "" || answer.Region == m.Region {
		return 0
	}
	return answer.Seq
}

// maxMargin is the most of its time that the relay keeps for the way of the hub's last word.
const maxMargin = 500 * time.Millisecond

// originOf is the origin under whose subject the message is sent; "" when it is none.
func originOf(m *Message) string {
	e, err := subject.Parse(m.Subject)
	if err != nil {
		return ""
	}
	return e.Origin.String()
}
