package streams

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
)

// AddSourceTo adds a source to a stream; one that is there already is left alone.
func AddSourceTo(ctx context.Context, js jetstream.JetStream, stream string, src *jetstream.StreamSource) error {
	return change(ctx, js, stream, func(cfg *jetstream.StreamConfig) bool {
		if hasSource(cfg.Sources, src) {
			return false
		}
		cfg.Sources = append(cfg.Sources, src)
		return true
	})
}

// DropSourceOf removes a source from a stream; one that is not there is no error.
func DropSourceOf(ctx context.Context, js jetstream.JetStream, stream string, src *jetstream.StreamSource) error {
	return change(ctx, js, stream, func(cfg *jetstream.StreamConfig) bool {
		if !hasSource(cfg.Sources, src) {
			return false
		}
		cfg.Sources = slices.DeleteFunc(cfg.Sources, func(s *jetstream.StreamSource) bool { return sourceKey(s) == sourceKey(src) })
		return true
	})
}

// Kick drops a source and adds it again, which makes the server ask its upstream anew at once. The position
// is recovered from the stream; nothing is lost or stored twice.
func Kick(ctx context.Context, js jetstream.JetStream, stream string, src *jetstream.StreamSource) error {
	if err := DropSourceOf(ctx, js, stream, src); err != nil {
		return err
	}
	return AddSourceTo(ctx, js, stream, src)
}

func change(ctx context.Context, js jetstream.JetStream, stream string, edit func(*jetstream.StreamConfig) bool) error {
	cfg, err := present(ctx, js, stream)
	if err != nil {
		return err
	}
	if cfg == nil {
		return fault.New("streams.source", fault.NotFound, "no_stream", "there is no stream %s", stream)
	}
	if !edit(cfg) {
		return nil
	}
	return update(ctx, js, cfg)
}

const (
	callTimeout = 2 * time.Second // after a leader stepped down some calls are never answered
	callTries   = 3
)

// call runs one API call with a short timeout and asks again when it was not answered. Calls are
// idempotent: each carries the whole configuration.
func call(ctx context.Context, op string, do func(context.Context) error) error {
	var err error
	for range callTries {
		try, cancel := context.WithTimeout(ctx, callTimeout)
		err = do(try)
		timedOut := try.Err() != nil
		cancel()
		if err == nil {
			return nil
		}
		if !timedOut || ctx.Err() != nil {
			break
		}
	}
	kind := fault.Unavailable
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code == 400 {
		kind = fault.Invalid
	}
	return &fault.Error{Op: op, Kind: kind, Code: "stream_api", Err: err}
}
