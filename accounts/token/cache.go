package token

import (
	"crypto/sha256"
	"sync"
	"time"
)

// digest stands for a token, which the cache does not hold.
type digest = [sha256.Size]byte

// cache remembers tokens that were good, for each tenant apart: no tenant's tokens push out another's.
type cache struct {
	kept    int
	tenants sync.Map // name -> *shelf
}

type shelf struct {
	mu     sync.RWMutex
	tokens map[digest]*verified
}

func (c *cache) get(tenant string, id digest) *verified {
	v, ok := c.tenants.Load(tenant)
	if !ok {
		return nil
	}
	s := v.(*shelf)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.tokens[id]
}

func (c *cache) drop(tenant string, id digest) {
	if v, ok := c.tenants.Load(tenant); ok {
		s := v.(*shelf)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.tokens, id)
	}
}

// put remembers a token. On a full shelf it takes the place of one that expired, or of any other.
func (c *cache) put(tenant string, id digest, good *verified, now time.Time) {
	v, ok := c.tenants.Load(tenant)
	if !ok {
		v, _ = c.tenants.LoadOrStore(tenant, &shelf{tokens: map[digest]*verified{}})
	}
	s := v.(*shelf)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens[id] == nil && len(s.tokens) >= c.kept {
		s.makeRoom(now)
	}
	s.tokens[id] = good
}

func (s *shelf) makeRoom(now time.Time) {
	var victim digest
	for id, g := range s.tokens {
		if victim = id; !now.Before(g.expires) {
			break
		}
	}
	delete(s.tokens, victim)
}

func (c *cache) retain(keep func(string) bool) {
	c.tenants.Range(func(name, _ any) bool {
		if !keep(name.(string)) {
			c.tenants.Delete(name)
		}
		return true
	})
}
