package files

import (
	"errors"
	"io/fs"
	"net/http"
	"syscall"

	"github.com/minio/minio-go/v7"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

// failed is what is returned of a batch that was not written: its events wait, whatever it was. No event is to blame
// for its store.
func (s *Sink) failed(err error) error {
	err = trouble(opWrite, err)
	s.metrics.Failed(retry.Classify(err))
	if code := fault.CodeOf(err); code != s.said {
		s.said = code
		s.log.Error("events cannot be written, they wait in the stream", zap.Error(err))
	}
	return err
}

// trouble sorts out what is wrong with the store or the table: what to mend differs. While events are written
// everything is kind Unavailable, because what was right when the table was opened can become so again.
func trouble(op string, err error) error {
	f := &fault.Error{Op: op, Kind: fault.Unavailable, Err: err}
	var answer minio.ErrorResponse
	var own *fault.Error
	switch {
	case errors.As(err, &own):
		f.Kind, f.Code = own.Kind, own.Code
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		f.Code, f.Detail = "disk_full", "no space is left: make room, the events wait in the stream"
	case errors.Is(err, fs.ErrPermission):
		f.Kind, f.Code, f.Detail = fault.Denied, "not_permitted", "this user may not write to the directory"
	case errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOTSUP):
		f.Kind, f.Code, f.Detail = fault.Invalid, "no_links", "the file system has no hard links, which commits need"
	case errors.As(err, &answer):
		f.Kind, f.Code, f.Detail = refusal(&answer)
	}
	if op == opWrite {
		f.Kind = fault.Unavailable
	}
	return f
}

// refusal is what an S3 server's answer means.
func refusal(r *minio.ErrorResponse) (fault.Kind, string, string) {
	switch {
	case r.Code == minio.NoSuchBucket:
		return fault.NotFound, "no_bucket", "there is no such bucket"
	case r.StatusCode == http.StatusForbidden, r.StatusCode == http.StatusUnauthorized:
		return fault.Denied, "not_permitted", "the server refuses the key, or what it may do (" + r.Code + ")"
	case r.StatusCode == http.StatusNotImplemented:
		return fault.Invalid, "no_conditional_writes", "the server does not know conditional writes"
	case r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusServiceUnavailable:
		return fault.Limited, "slow_down", "the server asks to slow down (" + r.Code + ")"
	default:
		return fault.Unavailable, "s3_error", ""
	}
}
