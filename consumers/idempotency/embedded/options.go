package embedded

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Options of a Store; Dir is required.
type Options struct {
	Dir      string        // made when it is not there
	Horizon  time.Duration // how long marks are kept at least, 1 minute to 400 days; default 24 h
	MaxMarks int           // how many are held at most; default 20 million, about 3 GB
	FS       vfs.FS        // default: the machine's
	Now      func() time.Time
	Logger   *zap.Logger // default: none
}

func (o Options) withDefaults() Options {
	if o.Horizon == 0 {
		o.Horizon = 24 * time.Hour
	}
	if o.MaxMarks == 0 {
		o.MaxMarks = 20_000_000
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

func (o Options) validate() error {
	problem := ""
	switch {
	case o.Dir == "":
		problem = "a directory is needed"
	case o.Horizon < time.Minute || o.Horizon > 400*24*time.Hour:
		problem = "the horizon is 1 minute to 400 days"
	case o.MaxMarks < 1:
		problem = "the most marks is at least 1"
	default:
		return nil
	}
	return fault.New(opOpen, fault.Invalid, "invalid_options", "%s", problem)
}

// logger shows what pebble has to say. After Fatalf the process is over.
type logger struct{ log *zap.Logger }

func (l logger) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l logger) Errorf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }
func (l logger) Fatalf(format string, args ...any) { l.log.Fatal(fmt.Sprintf(format, args...)) }
