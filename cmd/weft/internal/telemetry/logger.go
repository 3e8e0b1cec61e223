// Package telemetry is how a weft process is observed: its logger, and the plain HTTP listener with health,
// metrics and profiles.
//
// Used by cmd/weft alone: libraries get a *zap.Logger and a prometheus.Registerer in their options.
// A Server's methods are safe for concurrent use.
package telemetry

import (
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/weft-mesh/weft/streams/fault"
)

// NewLogger writes to w at level debug, info, warn or error. Format is console, json, or auto: console when
// w is a terminal, else json. Colours are for terminals without NO_COLOR in the environment.
func NewLogger(level, format string, w io.Writer) (*zap.Logger, error) {
	at, err := zapcore.ParseLevel(level)
	if err != nil || at > zapcore.ErrorLevel {
		return nil, fault.New("telemetry.logger", fault.Invalid, "log_level", "log level %q is not one of debug, info, warn, error", level)
	}
	terminal := IsTerminal(w)
	if format == "auto" {
		format = map[bool]string{true: "console", false: "json"}[terminal]
	}
	var encoder zapcore.Encoder
	switch format {
	case "console":
		encoder = zapcore.NewConsoleEncoder(consoleConfig(terminal && os.Getenv("NO_COLOR") == ""))
	case "json":
		encoder = zapcore.NewJSONEncoder(jsonConfig())
	default:
		return nil, fault.New("telemetry.logger", fault.Invalid, "log_format", "log format %q is not one of auto, console, json", format)
	}
	core := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), at)
	return zap.New(core, zap.ErrorOutput(zapcore.Lock(zapcore.AddSync(w)))), nil
}

// IsTerminal says whether w is one.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func consoleConfig(color bool) zapcore.EncoderConfig {
	c := zap.NewDevelopmentEncoderConfig()
	c.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
	c.EncodeDuration = zapcore.StringDurationEncoder
	c.ConsoleSeparator = " "
	if color {
		c.EncodeLevel = zapcore.CapitalColorLevelEncoder
	}
	return c
}

func jsonConfig() zapcore.EncoderConfig {
	c := zap.NewProductionEncoderConfig()
	c.TimeKey = "time"
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.SecondsDurationEncoder
	return c
}
