package intake

import (
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

// Header names in net/http's canonical form, for lookups that see every value.
const (
	headerContentType     = "Content-Type"
	headerContentEncoding = "Content-Encoding"
	headerTraceParent     = "Traceparent"
)

const queryAll = "results=all"

// checkTarget pins path, method, query and the declared length.
func (h *Handler) checkTarget(x *exchange, r *http.Request) *problem {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case path != Path:
		return fail(http.StatusNotFound, codeNotFound, "there is nothing at this path; events are posted to %s", Path)
	case r.Method != http.MethodPost:
		p := fail(http.StatusMethodNotAllowed, codeMethod, "events are sent with POST")
		p.allow = http.MethodPost
		return p
	case r.ContentLength > h.o.Limits.BodyBytes:
		return h.bodyTooLarge()
	case query != "" && query != queryAll:
		return fail(http.StatusBadRequest, codeQuery, "the query may be empty or %q, nothing else", queryAll)
	}
	x.all = query == queryAll
	x.signed.Method, x.signed.Target, x.signed.Host = r.Method, r.RequestURI, r.Host
	return nil
}

func (h *Handler) bodyTooLarge() *problem {
	return fail(http.StatusRequestEntityTooLarge, codeTooLarge, "the body is larger than %d bytes: send fewer events in one request", h.o.Limits.BodyBytes)
}

// checkHeaders takes every header that means something exactly once and pins the content type.
func (h *Handler) checkHeaders(x *exchange, r *http.Request) *problem {
	for name := range r.Header {
		if header.IsNats(name) {
			return fail(http.StatusBadRequest, codeHeaderForbidden, "a header of the request begins with Nats-: these belong to the mesh")
		}
	}
	if p := x.readSignature(r.Header); p != nil {
		return p
	}
	if p := checkContent(x, r.Header); p != nil {
		return p
	}
	return x.checkSigned()
}

func repeated(name string, n int) *problem {
	return fail(http.StatusBadRequest, codeHeaderRepeated, "the header %s is there %d times, it must be there once", name, n)
}

// detailOf is an error's words without its operation, which means nothing to a client.
func detailOf(err error) string {
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Detail != "" {
		return e.Detail
	}
	return err.Error()
}

const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

func checkContent(x *exchange, head http.Header) *problem {
	types, encodings := head[headerContentType], head[headerContentEncoding]
	if len(types) > 1 {
		return repeated(headerContentType, len(types))
	}
	if len(encodings) > 1 {
		return repeated(headerContentEncoding, len(encodings))
	}
	if len(types) == 1 {
		x.signed.ContentType = types[0]
	}
	if len(encodings) == 1 {
		x.signed.ContentEncoding = encodings[0]
	}
	if contentKind(x.signed.ContentType) == "" {
		return fail(http.StatusUnsupportedMediaType, codeContentType,
			"Content-Type must be %s or %s, with no parameter but charset=utf-8", typeJSON, typeNDJSON)
	}
	if e := x.signed.ContentEncoding; e != "" && !strings.EqualFold(e, "identity") {
		return fail(http.StatusUnsupportedMediaType, codeContentEncoding, "Content-Encoding must be absent or identity: bodies are not compressed")
	}
	return nil
}

// contentKind is typeJSON or typeNDJSON, "" for everything else. Only ASCII is compared without case: Unicode has other
// letters that fold to an s.
func contentKind(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) {
		return ""
	}
	media, params, has := strings.Cut(s, ";")
	if has {
		name, value, _ := strings.Cut(strings.TrimSpace(params), "=")
		if !strings.EqualFold(name, "charset") || !strings.EqualFold(strings.Trim(value, `"`), "utf-8") {
			return ""
		}
	}
	switch media = strings.TrimSpace(media); {
	case strings.EqualFold(media, typeJSON):
		return typeJSON
	case strings.EqualFold(media, typeNDJSON):
		return typeNDJSON
	}
	return ""
}

// checkHost refuses a request that was signed for somebody else: a copy of it sent here is not for us.
func (h *Handler) checkHost(r *http.Request) *problem {
	if _, ok := h.hosts[strings.ToLower(r.Host)]; ok {
		return nil
	}
	return fail(http.StatusMisdirectedRequest, codeHost, "the Host of the request is not a name of this relay")
}

const firstRead = 4 << 10

// readBody reads at most one byte more than may be there and hashes what was read. The buffer grows as
// bytes arrive, so a length that is only declared costs nothing.
func (h *Handler) readBody(x *exchange, r *http.Request) *problem {
	if cap(x.body) == 0 {
		x.body = make([]byte, 0, firstRead)
	}
	limit := int(h.o.Limits.BodyBytes)
	b := x.body[:0]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Body.Read(b[len(b):min(cap(b), limit+1)])
		b = b[:len(b)+n]
		x.body = b
		switch {
		case len(b) > limit:
			return h.bodyTooLarge()
		case err == nil:
		case errors.Is(err, io.EOF):
			x.signed.BodySHA256 = sha256.Sum256(b)
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fail(http.StatusRequestTimeout, codeReadTimeout, "the body did not arrive in time: %d bytes did", len(b))
		default:
			return fail(http.StatusBadRequest, codeBodyIncomplete, "the body ended early: %d bytes arrived", len(b))
		}
	}
}
