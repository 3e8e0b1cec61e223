package digest

import (
	"maps"
	"slices"
	"time"
)

// Bucket is what an Index knows of the events of a bucket.
type Bucket struct {
	Sum
	First, Last uint64 // sequences between which all of them lie in the stream
}

// Index holds the buckets of one stream. Make it with NewIndex.
type Index struct {
	width   time.Duration
	buckets map[Key]*Bucket
}

// NewIndex makes an empty index with slots of the given width.
func NewIndex(width time.Duration) *Index {
	return &Index{width: width, buckets: map[Key]*Bucket{}}
}

// Width is the width of the slots.
func (x *Index) Width() time.Duration { return x.width }

// Add counts in the event at a sequence of the stream.
func (x *Index) Add(k Key, h Hash, seq uint64) {
	b := x.buckets[k]
	if b == nil {
		b = &Bucket{First: seq, Last: seq}
		x.buckets[k] = b
	}
	b.Add(h)
	b.First, b.Last = min(b.First, seq), max(b.Last, seq)
}

// Prune forgets buckets that will not be compared any more.
func (x *Index) Prune(w Window) {
	maps.DeleteFunc(x.buckets, func(k Key, _ *Bucket) bool { return !w.Kept(k) })
}

// Bucket is one bucket, the zero Bucket when there is nothing in it.
func (x *Index) Bucket(k Key) Bucket {
	if b := x.buckets[k]; b != nil {
		return *b
	}
	return Bucket{}
}

// Len is the number of buckets.
func (x *Index) Len() int { return len(x.buckets) }

// Fold adds up the comparable buckets over spans of so many slots. With in, only those in one of these spans of
// inSlots slots.
func (x *Index) Fold(w Window, slots int64, in []Key, inSlots int64) map[Key]Sum {
	wanted := map[Key]bool{}
	for _, k := range in {
		wanted[k] = true
	}
	out := map[Key]Sum{}
	for k, b := range x.buckets {
		if !w.Comparable(k) || len(in) > 0 && !wanted[k.Spanned(inSlots)] {
			continue
		}
		s := out[k.Spanned(slots)]
		s.Merge(b.Sum)
		out[k.Spanned(slots)] = s
	}
	return out
}

// Total adds sums up. Sets of buckets are told apart only by what is in them.
func Total(sums map[Key]Sum) Sum {
	var s Sum
	for _, one := range sums {
		s.Merge(one)
	}
	return s
}

// Lacking are the keys under which the peer has something that may be missing here: its sum is not the own one.
// A key that only this side has is none: nothing can be missing. Oldest first.
func Lacking(own, peer map[Key]Sum) []Key {
	var out []Key
	for k, s := range peer {
		if own[k] != s {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, Key.Compare)
	return out
}

// Range is the union of the sequences between which the events of some buckets lie; ok is false when there are
// none.
func (x *Index) Range(keys []Key) (first, last uint64, ok bool) {
	for _, k := range keys {
		b := x.buckets[k]
		switch {
		case b == nil:
			continue
		case !ok:
			first, last, ok = b.First, b.Last, true
		default:
			first, last = min(first, b.First), max(last, b.Last)
		}
	}
	return first, last, ok
}
