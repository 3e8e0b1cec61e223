package token

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// source is an issuer with its key set. Its goroutine alone reads the set.
type source struct {
	*Issuer
	load    func(context.Context) ([]byte, error)
	wait    time.Duration // of a request, for a read
	within  time.Duration // one read
	log     *zap.Logger
	now     func() time.Time
	current atomic.Pointer[keySet]
	wake    chan struct{} // one place: a read was asked for
	waiting atomic.Int64

	reads, failures atomic.Uint64

	mu     sync.Mutex
	began  time.Time     // the last read
	flight chan struct{} // closed at the end of the read that is under way or asked for; nil: none is

	// the goroutine's own
	failed int  // reads in a row
	silent bool // the outage limit has passed, and the log says so
}

func newSource(issuer *Issuer, o *Options) *source {
	return &source{
		Issuer: issuer, load: loader(issuer, o.Fetch), wait: o.Wait, within: o.Fetch, now: o.Now, wake: make(chan struct{}, 1),
		log: o.Logger.With(zap.String("issuer", issuer.Name)),
	}
}

// run reads the key set now, at every interval and when it is asked to, until ctx ends.
func (s *source) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		s.begin()
		err := s.read(ctx)
		if ctx.Err() != nil {
			return // a request that waits still has its own limit
		}
		s.note(err)
		s.end()
		timer.Reset(s.pause())
	}
}

// begin marks a read as under way, whether a request asked for it or its time has come.
func (s *source) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.wake:
	default:
	}
	s.began = s.now()
	if s.flight == nil {
		s.flight = make(chan struct{})
	}
}

func (s *source) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.flight)
	s.flight = nil
}

func (s *source) read(ctx context.Context) error {
	began := s.now()
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	raw, err := s.load(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeys(raw)
	if err != nil {
		return err
	}
	s.current.Store(&keySet{read: began, keys: keys})
	return nil
}

// note counts a read and logs what changed by it: the first failure, the end of the issuer's time, its return.
func (s *source) note(err error) {
	s.reads.Add(1)
	set := s.current.Load()
	if err == nil {
		if s.failed > 0 || s.reads.Load() == 1 {
			s.log.Info("the issuer's keys are read", zap.Int("keys", len(set.keys)))
		}
		s.failed, s.silent = 0, false
		return
	}
	s.failures.Add(1)
	if s.failed++; s.failed == 1 {
		s.log.Warn("the issuer's keys cannot be read; those that are known hold until the outage limit", zap.Error(err), zap.Duration("outage", s.Outage))
	}
	if !s.silent && !s.holds(set, s.now()) {
		s.silent = true
		s.log.Error("no key of the issuer is known to be good: requests with its tokens get 503", zap.Error(err))
	}
}

// pause is the time to the next read: the interval, or after failures the throttle, doubled for each up to a minute.
func (s *source) pause() time.Duration {
	if s.failed == 0 {
		return s.Refresh
	}
	return min(s.Throttle<<min(s.failed-1, 10), max(s.Throttle, time.Minute), s.Refresh)
}

// holds says whether a key set still vouches for tokens.
func (s *source) holds(set *keySet, now time.Time) bool {
	return set != nil && now.Sub(set.read) <= s.Outage
}

// lookup finds a key in a set that holds. For a kid that the set does not have, it waits for one read of
// the set; whether that may happen now, the throttle says.
func (s *source) lookup(ctx context.Context, kid string) (*keySet, *key, error) {
	asked := s.now()
	if set := s.current.Load(); s.holds(set, asked) {
		if k := set.keys[kid]; k != nil {
			return set, k, nil
		}
	}
	s.await(ctx)
	set := s.current.Load()
	switch {
	case !s.holds(set, s.now()):
		return nil, nil, s.unreachable()
	case set.keys[kid] != nil:
		return set, set.keys[kid], nil
	case set.read.Before(asked):
		return nil, nil, fault.New(opVerify, fault.Unavailable, CodeKeyPending,
			"the token's kid is not among the issuer's keys, which were read %s ago: they are read again at most every %s, retry then",
			s.now().Sub(set.read).Round(time.Second), s.Throttle)
	}
	return nil, nil, fault.New(opVerify, fault.Unauthenticated, CodeKeyUnknown, "the token's kid is not among the keys that its issuer publishes")
}

func (s *source) unreachable() error {
	return fault.New(opVerify, fault.Unavailable, CodeUnreachable,
		"this relay has not been able to read the keys of the token's issuer for more than %s", s.Outage)
}

// maxWaiting bounds the requests that are held for one read; more are answered at once.
const maxWaiting = 128

// await waits for the read that is under way, or asks for one if the throttle lets it.
func (s *source) await(ctx context.Context) {
	done := s.ask()
	if done == nil {
		return
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > maxWaiting {
		return
	}
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ask is closed at the end of a read, nil when there is none and the throttle forbids one.
func (s *source) ask() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	if !s.began.IsZero() && s.now().Sub(s.began) < s.Throttle {
		return nil
	}
	s.flight = make(chan struct{})
	s.wake <- struct{}{} // there is room: it is filled only with flight nil, and emptied before flight is nil again
	return s.flight
}

func (s *source) status() Status {
	out := Status{Issuer: s.Name, Reads: s.reads.Load(), Failures: s.failures.Load()}
	now := s.now()
	if set := s.current.Load(); set != nil {
		out.Age, out.Keys, out.Reachable = now.Sub(set.read), len(set.keys), s.holds(set, now)
	}
	return out
}
