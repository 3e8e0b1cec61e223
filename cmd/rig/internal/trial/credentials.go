package trial

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
	"github.com/weft-mesh/weft/cmd/rig/internal/load"
	"github.com/weft-mesh/weft/cmd/rig/internal/nemesis"
)

const (
	// afterEnd is how long a credential is used after its end: longer than it takes to be known everywhere.
	afterEnd = checker.KnownWithin + time.Second
	// graceOf a key that is replaced.
	graceOf = 2 * time.Second
	// maxSkew is how far a producer's clock may be off.
	maxSkew = 300 * time.Second
)

// Credentials is nemesis.Traffic.
func (p *producers) Credentials(ctx context.Context, f nemesis.Fault, restart func() error) error {
	s := p.senders
	own, err := p.t.fleet.Producer(keysTenant)
	if err != nil {
		return err
	}
	switch f.Kind {
	case nemesis.RevokeKey:
		return s.revokeKey(ctx, f, own)
	case nemesis.RevokeCert:
		return s.revokeCertificate(ctx, f, own)
	case nemesis.ExpireCert:
		return s.expire(ctx, f, own)
	case nemesis.RotateKey:
		return s.rotate(ctx, f, own)
	case nemesis.SkewSender:
		return s.skew(ctx, f, own)
	case nemesis.Replay:
		return s.replay(ctx, f, own, restart)
	case nemesis.Forge:
		return s.forge(ctx, f, own)
	}
	return fmt.Errorf("nobody inflicts %s", f.Kind)
}

// insist repeats what an operator would until a region takes it; other faults may strike meanwhile.
func insist(ctx context.Context, do func() error) error {
	err := do()
	for range 20 {
		if err == nil || ctx.Err() != nil {
			return err
		}
		sleep(ctx, 500*time.Millisecond)
		err = do()
	}
	return err
}

// during uses credentials everywhere while do runs, and for a time after it.
func (s *senders) during(ctx context.Context, before, after time.Duration, do func() error, cs ...*credential) error {
	use, stop := context.WithCancel(ctx)
	var using sync.WaitGroup
	using.Go(func() { s.everywhere(use, sending{}, cs...) })
	sleep(ctx, before)
	err := do()
	sleep(ctx, after)
	stop()
	using.Wait()
	return err
}

// newKey makes a key of the fault's own. A try of which it is not known whether it was taken is followed by another name.
func (s *senders) newKey(ctx context.Context, f nemesis.Fault, own *fleet.Credentials) (*credential, error) {
	c := newCredential(string(f.Kind), "", nil, own.TLS)
	err := insist(ctx, func() (err error) {
		c.kid = s.name("vault-key")
		c.secret, err = s.t.fleet.AddKey(ctx, f.Region, keysTenant, c.kid)
		return err
	})
	c.from = s.t.clock() + int64(checker.KnownWithin)
	return c, err
}

func (s *senders) revokeKey(ctx context.Context, f nemesis.Fault, own *fleet.Credentials) error {
	c, err := s.newKey(ctx, f, own)
	if err != nil {
		return err
	}
	return s.during(ctx, f.For, afterEnd, func() error {
		began := s.t.clock()
		c.lives(began, checker.Forever)
		err := insist(ctx, func() error { return s.t.fleet.RevokeKey(ctx, f.Region, c.kid) })
		if err == nil {
			s.ends(c).lives(began, s.t.clock())
		}
		return err
	}, c)
}

func (s *senders) revokeCertificate(ctx context.Context, f nemesis.Fault, own *fleet.Credentials) error {
	name := s.name("vault-client")
	c := newCredential(string(f.Kind), own.Kid, own.Secret, own.TLS)
	serial := ""
	if err := insist(ctx, func() error {
		conf, number, err := s.t.fleet.IssueCertificate(ctx, keysTenant, name)
		if err == nil {
			c.http, serial = load.NewSender(conf), number
		}
		return err
	}); err != nil {
		return err
	}
	return s.during(ctx, f.For, afterEnd, func() error {
		began := s.t.clock()
		c.lives(began, checker.Forever)
		err := insist(ctx, func() error { return s.t.fleet.RevokeCertificate(ctx, f.Region, keysTenant, serial) })
		if err == nil {
			s.ends(c).lives(began, s.t.clock())
		}
		return err
	}, c)
}

func (s *senders) expire(ctx context.Context, f nemesis.Fault, own *fleet.Credentials) error {
	conf, end, err := s.t.fleet.ShortCertificate(keysTenant, s.name("vault-short"), f.For)
	if err != nil {
		return err
	}
	c := newCredential(string(f.Kind), own.Kid, own.Secret, conf)
	c.calm = true
	at := s.t.clock() + int64(time.Until(end))
	s.ends(c).lives(at, at)
	return s.during(ctx, time.Until(end), afterEnd, func() error { return nil }, c)
}

func (s *senders) rotate(ctx context.Context, f nemesis.Fault, own *fleet.Credentials) error {
	next := newCredential(string(f.Kind), "", nil, own.TLS)
	old, err := s.newKey(ctx, f, own)
	if err != nil {
		return err
	}
	return s.during(ctx, f.For, 0, func() error {
		began := s.t.clock()
		if err := insist(ctx, func() (err error) {
			next.kid, next.secret, err = s.t.fleet.RotateKey(ctx, f.Region, old.kid, graceOf)
			return err
		}); err != nil {
			old.lives(began, checker.Forever)
			return nil // a region does not answer: the old key may stay as it is
		}
		done := s.t.clock()
		next.from = done + int64(checker.KnownWithin)
		s.ends(old).lives(began+int64(graceOf), done+int64(graceOf))
		return s.during(ctx, graceOf+afterEnd, 0, func() error { return nil }, next)
	}, old)
}

// skew sends by a clock that is off, as far as is allowed or further. What is refused has to say by how much.
func (s *senders) skew(ctx context.Context, f nemesis.Fault, own *fleet.Credentials) error {
	c := newCredential(string(f.Kind), own.Kid, own.Secret, own.TLS)
	c.calm = true
	ahead := time.Duration(f.Amount) * time.Second
	if ahead.Abs() > maxSkew {
		c.lives(0, 0)
	}
	end := time.Now().Add(f.For)
	for time.Now().Before(end) && ctx.Err() == nil {
		for _, r := range s.t.plan.Regions {
			began := s.t.clock()
			reply, _ := s.send(ctx, c, r.Name, sending{ahead: ahead})
			off := reply.Skew != nil && (time.Duration(*reply.Skew)*time.Second-ahead).Abs() <= 3*time.Second
			if reply.Code == "timestamp_skew" && !off && !s.t.inject.DisturbedAt(began, s.t.clock()) {
				return fmt.Errorf("a producer whose clock is %s off is told something else by %s", ahead, r.Name)
			}
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return nil
}

// toCapture is how many requests are captured by one fault.
const toCapture = 20

// replay captures requests at one region and sends them again at all, before and after the relay's restart.
func (s *senders) replay(ctx context.Context, f nemesis.Fault, own *fleet.Credentials, restart func() error) error {
	c := newCredential(string(f.Kind), own.Kid, own.Secret, own.TLS)
	var got []*captured
	for range toCapture {
		if _, r := s.send(ctx, c, f.Region, sending{once: true}); r != nil {
			got = append(got, r)
		}
	}
	s.mu.Lock()
	s.copies = append(s.copies, got...)
	s.mu.Unlock()
	sleep(ctx, checker.KnownWithin) // what every relay can know by now
	s.replayAll(ctx, got, f.Region)
	if err := restart(); err != nil {
		return err
	}
	sleep(ctx, f.For-checker.KnownWithin)
	s.replayAll(ctx, got, f.Region)
	return nil
}

// replayAll sends copies at the region that has seen the requests, and at the others if its journal could reach them:
// regions that are cut off from each other promise less.
func (s *senders) replayAll(ctx context.Context, got []*captured, home string) {
	for _, r := range s.t.plan.Regions {
		for _, one := range got {
			if r.Name == home || !s.t.inject.DisturbedAt(one.at, one.at+int64(checker.KnownWithin)) {
				s.again(ctx, one, r.Name)
			}
		}
	}
}

// forge sends what nobody signed so.
func (s *senders) forge(ctx context.Context, f nemesis.Fault, own *fleet.Credentials) error {
	other, err := s.t.fleet.Producer(hotTenant)
	if err != nil {
		return err
	}
	set := func(name string, change func(string) string) func(*load.Request) {
		return func(r *load.Request) { r.Header.Set(name, change(r.Header.Get(name))) }
	}
	forgeries := []struct {
		name   string
		client *fleet.Credentials
		key    *fleet.Credentials
		tamper func(*load.Request)
	}{
		{"another signature", own, own, set(signature.Signature, flipLast)},
		{"another time", own, own, set(signature.Timestamp, flipLast)},
		{"another id", own, own, set(signature.RequestID, flipLast)},
		{"another body", own, own, func(r *load.Request) { r.Body[len(r.Body)-4] ^= 1 }},
		{"another host", own, own, func(r *load.Request) { r.Host = "" }},
		{"another tenant's key", own, other, func(*load.Request) {}},
		{"another tenant's certificate", other, own, func(*load.Request) {}},
		{"no signature", own, own, func(r *load.Request) { r.Header = http.Header{"Content-Type": r.Header["Content-Type"]} }},
	}
	end := time.Now().Add(f.For)
	for time.Now().Before(end) && ctx.Err() == nil {
		for _, x := range forgeries {
			c := newCredential(string(f.Kind)+"-"+x.name, x.key.Kid, x.key.Secret, x.client.TLS)
			c.fault = string(f.Kind)
			c.lives(0, 0)
			for _, r := range s.t.plan.Regions {
				s.send(ctx, c, r.Name, sending{tamper: x.tamper})
			}
			c.http.CloseIdleConnections()
		}
	}
	return nil
}

// flipLast changes the last character to another digit.
func flipLast(v string) string {
	if v == "" {
		return "0"
	}
	last := byte('0')
	if v[len(v)-1] == '0' {
		last = '1'
	}
	return v[:len(v)-1] + string(last)
}
