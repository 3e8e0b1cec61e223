package nats

import (
	"context"
	"errors"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

// failed is what is returned of a batch that was not published as a whole: its events wait, whatever it was. No event
// is to blame for the target.
func (s *Sink) failed(err error) error {
	err = trouble(opWrite, s.why(err))
	s.metrics.Failed(retry.Classify(err))
	if code := fault.CodeOf(err); code != s.said {
		s.said = code
		s.log.Error("events cannot be published, they wait in the stream", zap.Error(err))
	}
	return err
}

// why is the reason for an answer that did not come, where the server told the connection: it never answers a request
// that the credentials do not allow.
func (s *Sink) why(err error) error {
	silent := errors.Is(err, client.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrAsyncPublishTimeout)
	if silent && s.nc != nil && errors.Is(s.nc.LastError(), client.ErrPermissionViolation) {
		return s.nc.LastError()
	}
	return err
}

// trouble sorts out what is wrong with the target: what to mend differs. While events are published everything is kind
// Unavailable, because what was right when the target was opened can become so again.
func trouble(op string, err error) error {
	f := &fault.Error{Op: op, Kind: fault.Unavailable, Err: err}
	var own *fault.Error
	var api *jetstream.APIError
	switch {
	case errors.As(err, &own):
		f.Kind, f.Code = own.Kind, own.Code
	case errors.Is(err, client.ErrAuthorization), errors.Is(err, client.ErrAuthExpired), errors.Is(err, client.ErrAuthRevoked):
		f.Kind, f.Code, f.Detail = fault.Unauthenticated, "credentials_refused", "the target refuses the credentials"
	case errors.Is(err, client.ErrPermissionViolation):
		f.Kind, f.Code, f.Detail = fault.Denied, "not_permitted", "these credentials may not do that at the target"
	case errors.Is(err, jetstream.ErrStreamNotFound):
		f.Kind, f.Code, f.Detail = fault.NotFound, "no_target", "there is no such stream: make it, this sink does not"
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, client.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		f.Code, f.Detail = "no_stream", "no stream stores this subject, the target has no leader, or there is no such domain"
	case errors.Is(err, client.ErrTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, jetstream.ErrAsyncPublishTimeout):
		f.Code, f.Detail = "no_answer", "the target does not answer"
	case errors.Is(err, client.ErrDisconnected), errors.Is(err, client.ErrConnectionClosed), errors.Is(err, client.ErrReconnectBufExceeded):
		f.Code, f.Detail = "disconnected", "the connection to the target is down"
	case errors.As(err, &api):
		f.Code, f.Detail = "target_refuses", "the target does not store" // full, for example: its words follow
	}
	if op == opWrite {
		f.Kind = fault.Unavailable
	}
	return f
}
