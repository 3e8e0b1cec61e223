package reorder

import (
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// Options of a Counted or a Timed. Zero fields mean their defaults.
type Options struct {
	Window        time.Duration // how long an event is held at most, up to 10 min; default 60 s
	MaxHeld       int           // events held in all; default 5,000
	MaxHeldPerKey int           // events held of one key; default 1,000
	MaxKeys       int           // keys remembered while nothing of theirs is held; default 100,000
	// StartWithin is the highest number that the first event of an unknown count may have to be held for those before
	// it; default 16. Only Counted uses it.
	StartWithin uint64
}

const (
	defaultWindow = 60 * time.Second
	maxWindow     = 10 * time.Minute
)

// DefaultOptions returns the options with every default filled in.
func DefaultOptions() Options { return Options{}.withDefaults() }

func (o Options) withDefaults() Options {
	or := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	or(&o.MaxHeld, 5000)
	or(&o.MaxHeldPerKey, 1000)
	or(&o.MaxKeys, 100_000)
	if o.Window == 0 {
		o.Window = defaultWindow
	}
	if o.StartWithin == 0 {
		o.StartWithin = 16
	}
	return o
}

func (o *Options) validate() error {
	switch {
	case o.Window < 0 || o.Window > maxWindow:
		return fault.New("reorder.new", fault.Invalid, "invalid_options", "window %s: more than 0, at most %s", o.Window, maxWindow)
	case o.MaxHeld < 1 || o.MaxHeldPerKey < 1 || o.MaxKeys < 1:
		return fault.New("reorder.new", fault.Invalid, "invalid_options", "MaxHeld, MaxHeldPerKey and MaxKeys must be positive")
	}
	return nil
}
