package hub

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/subject"
)

// getRequest asks the leader of a stream for one message.
type getRequest struct {
	Seq  uint64 `json:"seq,omitempty"`
	Last string `json:"last_by_subj,omitempty"` // the newest under this filter
	Next string `json:"next_by_subj,omitempty"` // the first under this filter from Seq on
}

type getAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Headers []byte    `json:"hdrs"`
		Data    []byte    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
}

// message reads one message from the leader of a stream. A direct get, which the client library would use, is
// answered by any replica, also by one that is behind: what is decided from messages that are there or not
// must not come from such a one. The errors are those of the library: ErrStreamNotFound, ErrMsgNotFound.
func (s *session) message(ctx context.Context, stream string, req getRequest) (*jetstream.RawStreamMsg, error) {
	raw, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	m, err := s.js.Conn().RequestWithContext(ctx, subject.MessageGet(stream), raw)
	if err != nil {
		return nil, err
	}
	var a getAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return nil, err
	}
	switch {
	case a.Error != nil && a.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case a.Error != nil && a.Error.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return nil, jetstream.ErrStreamNotFound
	case a.Error != nil:
		return nil, a.Error
	case a.Message == nil:
		return nil, jetstream.ErrInvalidJetStreamResponse
	}
	out := &jetstream.RawStreamMsg{Subject: a.Message.Subject, Sequence: a.Message.Seq, Data: a.Message.Data, Time: a.Message.Time, Header: nats.Header{}}
	if len(a.Message.Headers) > 0 {
		if out.Header, err = nats.DecodeHeadersMsg(a.Message.Headers); err != nil {
			return nil, err
		}
	}
	return out, nil
}
