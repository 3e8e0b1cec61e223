package streamtest

import (
	"math/rand/v2"
	"time"
)

// Direction of bytes through a Cutter.
type Direction int

// Directions.
const (
	Forward  Direction = iota // from the dialler to the target
	Backward                  // from the target to the dialler
)

// Shape is the state of a link. The zero value is a healthy one.
type Shape struct {
	Cut    bool // connections are reset, new ones too
	Freeze bool // a black hole: connections stay open, also new ones, and nothing comes through

	// One-way loss: bytes of this direction do not arrive while both ends stay connected and the other direction
	// works. Since TCP sends again what was lost, they are held back and arrive, in order, when the loss ends. Unlike
	// on a real path the losing direction still carries TCP's own acknowledgements of the other one.
	DropForward, DropBackward bool

	Delay  time.Duration // every byte read from now on arrives so much later
	Jitter time.Duration // and up to so much later still, drawn for each read; order is kept

	BytesPerSecond int // in each direction, shared by all connections; 0 is unlimited
}

// holds says whether bytes of a direction stay where they are.
func (s Shape) holds(d Direction) bool {
	return s.Freeze || d == Forward && s.DropForward || d == Backward && s.DropBackward
}

// Set changes the whole state at once. Bytes on their way keep the delay that they were read with.
func (c *Cutter) Set(s Shape) { c.change(func(now *Shape) { *now = s }) }

// Shape is the present state.
func (c *Cutter) Shape() Shape {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shape
}

// Cut resets every connection and refuses new ones until Heal.
func (c *Cutter) Cut() { c.change(func(s *Shape) { s.Cut = true }) }

// Freeze makes the proxy a black hole until Heal.
func (c *Cutter) Freeze() { c.change(func(s *Shape) { s.Freeze = true }) }

// Drop loses the bytes of one direction until Heal; see Shape. A second call adds the other direction.
func (c *Cutter) Drop(d Direction) {
	c.change(func(s *Shape) {
		if d == Forward {
			s.DropForward = true
		} else {
			s.DropBackward = true
		}
	})
}

// Heal ends Cut, Freeze and Drop. What was held back goes through now. Delay, jitter and bandwidth stay.
func (c *Cutter) Heal() {
	c.change(func(s *Shape) {
		*s = Shape{Delay: s.Delay, Jitter: s.Jitter, BytesPerSecond: s.BytesPerSecond}
	})
}

// Delay lets every byte read from now on arrive d later, in each direction.
func (c *Cutter) Delay(d time.Duration) { c.change(func(s *Shape) { s.Delay = d }) }

// Jitter adds up to d to the delay, drawn for each read.
func (c *Cutter) Jitter(d time.Duration) { c.change(func(s *Shape) { s.Jitter = d }) }

// Bandwidth limits each direction to so many bytes per second, 0 for no limit.
func (c *Cutter) Bandwidth(bytesPerSecond int) {
	c.change(func(s *Shape) { s.BytesPerSecond = bytesPerSecond })
}

// Seed restarts the sequence from which jitter is drawn (1 if never called). Which connection gets which draw
// depends on the order in which they are read.
func (c *Cutter) Seed(seed uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dice = rand.New(rand.NewPCG(seed, 0))
}

func (c *Cutter) change(f func(*Shape)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.shape)
	close(c.changed)
	c.changed = make(chan struct{})
	c.free = [2]time.Time{} // everyone who waits under the old limit asks again
	if c.shape.Cut {
		c.resetAll()
	}
}
