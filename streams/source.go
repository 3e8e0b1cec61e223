package streams

import (
	"context"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
)

// AddSourceTo adds one source to a stream; a source that is there already is left alone. A source of the same
// stream, place and filter that differs otherwise is an error: drop it first. The link to the other region
// has to be up.
func AddSourceTo(ctx context.Context, js jetstream.JetStream, stream string, src *jetstream.StreamSource) error {
	have, err := existing(ctx, js, "streams.source.add", stream)
	if err != nil {
		return err
	}
	return addTo(ctx, js, have, src)
}

func addTo(ctx context.Context, js jetstream.JetStream, have *jetstream.StreamConfig, src *jetstream.StreamSource) error {
	for _, s := range have.Sources {
		if equalSource(s, src) {
			return nil
		}
		if SameSource(s, src) {
			return fault.New("streams.source.add", fault.Conflict, "source_differs", "%s has source %s, which is not %s: drop it first", have.Name, sourceText(s), sourceText(src))
		}
	}
	c := *have
	c.Sources = append(slices.Clone(have.Sources), src)
	return update(ctx, js, c)
}

// DropSourceOf takes one source out of a stream. What it brought stays. A source that is not there is as wanted.
func DropSourceOf(ctx context.Context, js jetstream.JetStream, stream string, src *jetstream.StreamSource) error {
	have, err := existing(ctx, js, "streams.source.drop", stream)
	if err != nil {
		return err
	}
	return dropFrom(ctx, js, have, src)
}

func dropFrom(ctx context.Context, js jetstream.JetStream, have *jetstream.StreamConfig, src *jetstream.StreamSource) error {
	c := *have
	c.Sources = slices.DeleteFunc(slices.Clone(have.Sources), func(s *jetstream.StreamSource) bool { return SameSource(s, src) })
	if len(c.Sources) == len(have.Sources) {
		return nil
	}
	return update(ctx, js, c)
}

// Kick restarts a source that fell silent: it is dropped and added again. The server finds its position among
// the stored messages, so nothing is lost or stored twice, provided that the source starts at sequence 1 where
// it has none. When the second half fails the source is missing, and AddSourceTo puts it back.
func Kick(ctx context.Context, js jetstream.JetStream, stream string, src *jetstream.StreamSource) error {
	const op = "streams.source.kick"
	if src.OptStartSeq != 1 {
		return fault.New(op, fault.Invalid, "unsafe_start", "%s: source %s has no OptStartSeq 1; a kick could lose events", stream, sourceText(src))
	}
	have, err := existing(ctx, js, op, stream)
	if err != nil {
		return err
	}
	if err := dropFrom(ctx, js, have, src); err != nil {
		return err
	}
	// Read again: somebody may have added another source in between.
	if have, err = existing(ctx, js, op, stream); err != nil {
		return err
	}
	return addTo(ctx, js, have, src)
}

func existing(ctx context.Context, js jetstream.JetStream, op, stream string) (*jetstream.StreamConfig, error) {
	have, err := present(ctx, js, stream)
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, fault.New(op, fault.NotFound, "no_stream", "there is no stream %s", stream)
	}
	return have, nil
}

// SameSource says that two entries read the same messages from the same place.
func SameSource(x, y *jetstream.StreamSource) bool {
	xa, _ := external(x)
	ya, _ := external(y)
	return x.Name == y.Name && xa == ya && x.FilterSubject == y.FilterSubject
}
