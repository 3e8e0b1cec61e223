package intake

import "net/http"

// Admitted is what the checks of a whole request found.
type Admitted struct {
	Status int    // 0: admitted
	Code   string // of the refusal
	Kid    string // of the key that signed
	Guard  string // scheme, owner and id, as the replay guard gets them
}

// Admit runs the checks without decoding or publishing events.
func (h *Handler) Admit(r *http.Request) Admitted {
	x := h.exchange()
	defer h.recycle(x)
	if p := h.admit(x, r); p != nil {
		return Admitted{Status: p.status, Code: p.code}
	}
	return Admitted{Kid: x.caller.key.Kid, Guard: x.guard.scheme + " " + x.guard.owner + " " + x.guard.id}
}

// ContentKind is contentKind.
func ContentKind(s string) string { return contentKind(s) }
