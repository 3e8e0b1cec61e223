package consumers

import (
	"context"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

// Keys finds the key with which a producer signs its events, by the kid in the event's own signature. It must compare
// whose key it is with who sent the event (header.Source of m), or one producer could sign for another. An error is the
// handler's: a key that is not known yet is worth a retry, one that never will be is retry.Permanent.
type Keys func(ctx context.Context, m *Message, kid string) (signature.EventKey, error)

// Verified is a handler that passes on what carries a right signature of its producer's own (signature.VerifyEvent), and
// fails for good on everything else: such events are parked with cause permanent. It needs nobody between producer
// and consumer to be believed, neither relay nor stream.
func Verified(keys Keys, next Handler) Handler {
	return func(ctx context.Context, m *Message) error {
		_, err := signature.VerifyEvent(m.Raw, func(kid string) (signature.EventKey, error) { return keys(ctx, m, kid) })
		switch {
		case err == nil:
			return next(ctx, m)
		case fault.KindOf(err) == fault.Unauthenticated:
			return retry.Permanent(err)
		default:
			return err
		}
	}
}
