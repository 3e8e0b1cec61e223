package reorder

import (
	"container/heap"
	"time"
)

// deadline is when what a key holds must go, and its place among those of the other keys.
type deadline struct {
	at    time.Time
	index int // in the heap plus one; 0: not in it
}

func (d *deadline) place() *deadline { return d }

type waiting interface{ place() *deadline }

// deadlines orders the keys that hold something by the time at which the first of it must go.
type deadlines struct{ keys []waiting }

// set puts the key to its new place, or in if it is not there yet.
func (d *deadlines) set(k waiting, at time.Time) {
	own := k.place()
	own.at = at
	if own.index == 0 {
		heap.Push(d, k)
		return
	}
	heap.Fix(d, own.index-1)
}

// drop takes the key out, if it is in.
func (d *deadlines) drop(k waiting) {
	if own := k.place(); own.index > 0 {
		heap.Remove(d, own.index-1)
	}
}

// next is the earliest deadline.
func (d *deadlines) next() (time.Time, bool) {
	if len(d.keys) == 0 {
		return time.Time{}, false
	}
	return d.keys[0].place().at, true
}

func (d *deadlines) Len() int { return len(d.keys) }
func (d *deadlines) Less(i, j int) bool {
	return d.keys[i].place().at.Before(d.keys[j].place().at)
}
func (d *deadlines) Swap(i, j int) {
	d.keys[i], d.keys[j] = d.keys[j], d.keys[i]
	d.keys[i].place().index, d.keys[j].place().index = i+1, j+1
}
func (d *deadlines) Push(k any) {
	d.keys = append(d.keys, k.(waiting))
	k.(waiting).place().index = len(d.keys)
}
func (d *deadlines) Pop() any {
	last := len(d.keys) - 1
	k := d.keys[last]
	d.keys[last] = nil
	d.keys = d.keys[:last]
	k.place().index = 0
	return k
}
