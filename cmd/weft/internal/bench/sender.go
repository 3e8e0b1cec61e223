package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// sender is one producer with a connection of its own, and keys that no other one uses: it sends the next request
// after the answer to the last one, so that its keys have an order. It belongs to one goroutine at a time.
type sender struct {
	*author
	end      *endpoint
	wire     *wire // nil: to be dialled
	batch    int
	rec      *recorder
	plain    []byte
	body     []byte
	acked    bitset
	settled  int            // acknowledged
	intended *intents       // when requests should have begun; nil: nobody asks
	flaws    *flaws         // what goes wrong on purpose; nil: nothing
	other    map[string]int // answers by code, that were not plain success
	last     error
}

func newSender(e *endpoint, tag string, number, keys, size, batch int, rec *recorder) *sender {
	return &sender{author: newAuthor(tag, number, keys, size), end: e, batch: batch, rec: rec, plain: plainAnswer(batch), other: map[string]int{}}
}

func (s *sender) close() {
	if s.wire != nil {
		s.wire.close()
		s.wire = nil
	}
}

// pauseAfterFailure keeps a sender whose connection fails from spinning.
const pauseAfterFailure = 20 * time.Millisecond

// send sends the next request; its latency counts from intended.
func (s *sender) send(intended time.Time) {
	now := time.Now()
	if s.wire == nil {
		w, err := dial(s.end, fmt.Sprintf("%s-%d-%d-", s.tag, s.sender, now.UnixMilli()))
		if err != nil {
			s.lost(err)
			return
		}
		s.wire = w
	}
	if s.intended != nil {
		s.intended.add(intended)
	}
	first := s.next
	kind := "application/x-ndjson"
	if s.batch == 1 {
		kind = "application/json"
		s.body = s.append(s.body[:0], now)
	} else {
		s.body = s.lines(s.body[:0], s.batch, now)
	}
	if s.flaws != nil {
		s.flaws.before(s, kind, now)
		s.flaws.spoil(s.body)
	}
	status, answer, err := s.wire.post(s.body, kind, now, false)
	if err != nil {
		s.close()
		s.lost(err)
		return
	}
	acked := s.settle(first, status, answer)
	s.settled += acked
	s.rec.done(time.Since(intended), acked, s.batch-acked)
	if s.flaws != nil {
		s.flaws.after(s, kind, now)
	}
}

func (s *sender) lost(err error) {
	s.last = err
	s.other["no_answer"]++
	s.rec.done(0, 0, s.batch)
	time.Sleep(pauseAfterFailure)
}

// settle marks what the answer acknowledges.
func (s *sender) settle(first uint64, status int, answer []byte) (acked int) {
	if s.batch == 1 && status == 202 || s.batch > 1 && status == 200 && storedWhole(answer, s.plain) {
		for i := range uint64(s.batch) {
			s.acked.add(first + i)
		}
		return s.batch
	}
	var a struct {
		Code    string `json:"code"`
		Results []struct {
			Index  int    `json:"index"`
			Status string `json:"status"`
			Code   string `json:"code"`
		} `json:"results"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || status != 200 {
		s.other[fmt.Sprintf("%d %s", status, a.Code)]++
		return 0
	}
	stored := make([]bool, s.batch)
	for i := range stored {
		stored[i] = true
	}
	for _, r := range a.Results {
		stored[r.Index] = r.Status != "rejected" && r.Status != "unavailable"
		if !stored[r.Index] {
			s.other[r.Code]++
		}
	}
	for i, ok := range stored {
		if ok {
			s.acked.add(first + uint64(i))
			acked++
		}
	}
	return acked
}

// closed lets every sender send as fast as answers come, for d.
func closed(ctx context.Context, senders []*sender, d time.Duration) {
	closedGroups(ctx, rotate(senders, len(senders)), d)
}

// closedGroups lets one sender of each group at a time send, one after the other.
func closedGroups(ctx context.Context, groups [][]*sender, d time.Duration) {
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for _, group := range groups {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				now := time.Now()
				if !now.Before(end) {
					return
				}
				group[i%len(group)].send(now)
			}
		})
	}
	wg.Wait()
}

// paced lets the senders start requests at a fixed rate of events for d, whether answers come or not: a late answer
// makes the next request of its sender late, and the latency of that counts from when it should have begun.
func paced(ctx context.Context, senders []*sender, rate float64, d time.Duration) {
	interval := time.Duration(float64(time.Second) * float64(senders[0].batch) / rate)
	if interval <= 0 {
		interval = 1
	}
	began := time.Now().Add(10 * time.Millisecond)
	var wg sync.WaitGroup
	for i, s := range senders {
		wg.Go(func() {
			for k := i; ctx.Err() == nil; k += len(senders) {
				after := time.Duration(k) * interval
				if after >= d {
					return
				}
				at := began.Add(after)
				time.Sleep(time.Until(at))
				s.send(at)
			}
		})
	}
	wg.Wait()
}
