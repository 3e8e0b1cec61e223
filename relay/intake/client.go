package intake

import (
	"net/http"

	"github.com/weft-mesh/weft/streams/fault"
)

// checkClient asks whether the connection's certificate is still accepted. It comes first: the handshake that let the
// client in may be hours old, and one that is refused is told nothing else.
func (h *Handler) checkClient(r *http.Request) *problem {
	if h.o.Client == nil {
		return nil
	}
	if err := h.o.Client(r); err != nil {
		status := http.StatusUnauthorized
		if fault.KindOf(err) == fault.Unavailable { // it may be known again soon
			status = http.StatusServiceUnavailable
		}
		return fail(status, fault.CodeOf(err), "%s", detailOf(err))
	}
	return nil
}
