package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Codes of refusals. They are part of the HTTP interface: never renamed.
const (
	// The bytes are no strict JSON.
	CodeSyntax       = "syntax"
	CodeDuplicateKey = "duplicate_key"
	CodeInvalidUTF8  = "invalid_utf8"
	CodeDepth        = "depth"
	CodeNumberRange  = "number_range"
	CodeTrailingData = "trailing_data"

	// The batch as a whole.
	CodeEmptyBatch    = "empty_batch"
	CodeTooManyEvents = "too_many_events"

	// One event's content.
	CodeTooLarge      = "too_large"
	CodeNotObject     = "not_object"
	CodeMissingField  = "missing_field"
	CodeWrongType     = "wrong_type"
	CodeEventID       = "invalid_event_id"
	CodeEventType     = "invalid_event_type"
	CodeSchemaVersion = "invalid_schema_version"
	CodeOccurredAt    = "invalid_occurred_at"
	CodeUserID        = "invalid_user_id"
	CodeSourceSeq     = "invalid_source_seq"

	// An event's own signature; nothing that a relay looks at.
	CodeSig = "invalid_sig"
)

// maxPointerLen bounds Error.Pointer: member names are the producer's and may be of any length.
const maxPointerLen = 256

// Error says why bytes are refused: what, and where. It never quotes the producer's data, beyond the one
// character or escape sequence that breaks the syntax, and member names in Pointer.
type Error struct {
	Code    string // one of the Code constants
	Detail  string // one line for a person
	Pointer string // RFC 6901, from the event's root; of a long one, the innermost enclosing value that fits in 256 bytes
	Index   int    // position in its batch, from 0, of the event; of a batch refused as a whole, how many were readable before
	Syntax  bool   // the bytes are no strict JSON or no batch (HTTP 400); else they are, and the content is wrong (HTTP 422)
}

// Error renders "code at pointer: detail".
func (e *Error) Error() string {
	if e.Pointer == "" {
		return e.Code + ": " + e.Detail
	}
	return e.Code + " at " + strconv.Quote(e.Pointer) + ": " + e.Detail
}

// refuse keeps the first refusal of the current event's content. The rest is read on: a syntax error behind
// it weighs more.
func (d *decoder) refuse(code, pointer, detail string) {
	if d.content == nil {
		d.content = &Error{Code: code, Pointer: pointer, Detail: detail, Index: d.index}
	}
}

// broken makes the refusal of an input that is no strict JSON at an offset of it.
func (d *decoder) broken(code string, pointer jsontext.Pointer, offset int64, what string) *Error {
	return &Error{Code: code, Pointer: d.pointer(pointer), Detail: what + " " + d.position(int(offset)), Index: d.index, Syntax: true}
}

// syntax translates an error of the tokenizer.
func (d *decoder) syntax(err error) *Error {
	if err == io.EOF { //nolint:errorlint // the tokenizer's own, never wrapped
		return d.broken(CodeSyntax, "", int64(len(d.body)), "unexpected end of the input")
	}
	serr, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return d.broken(CodeSyntax, "", int64(d.json.Offset()), "unreadable input")
	}
	code, what := CodeSyntax, "invalid JSON"
	switch {
	case errors.Is(serr.Err, jsontext.ErrDuplicateName):
		code, what = CodeDuplicateKey, "a member name appears twice in one object,"
	case errors.Is(serr.Err, io.ErrUnexpectedEOF):
		what = "unexpected end of the input"
	case d.badUTF8(serr.ByteOffset):
		code, what = CodeInvalidUTF8, "invalid UTF-8"
	case strings.HasPrefix(serr.Err.Error(), "invalid surrogate pair"):
		code, what = CodeInvalidUTF8, "half of a surrogate pair, which no UTF-8 can express,"
	case serr.Err != nil:
		what = serr.Err.Error()
	}
	return d.broken(code, serr.JSONPointer, serr.ByteOffset, what)
}

func (d *decoder) badUTF8(offset int64) bool {
	if offset < 0 || offset >= int64(len(d.body)) {
		return false
	}
	r, n := utf8.DecodeRune(d.body[offset:])
	return r == utf8.RuneError && n == 1
}

// pointer is p from the event's root, shortened to an enclosing value where it is too long to be repeated.
func (d *decoder) pointer(p jsontext.Pointer) string {
	for range d.base {
		if len(p) == 0 {
			break
		}
		if _, rest, ok := strings.Cut(string(p[1:]), "/"); ok {
			p = jsontext.Pointer("/" + rest)
		} else {
			p = ""
		}
	}
	if len(p) > maxPointerLen {
		p = p[:maxPointerLen+1].Parent()
	}
	return string(p)
}

// position tells a person where an offset of the input is.
func (d *decoder) position(offset int) string {
	before := d.body[:min(max(offset, 0), len(d.body))]
	line, column := 1+bytes.Count(before, []byte{'\n'}), len(before)-bytes.LastIndexByte(before, '\n')
	if d.line > 0 {
		line = d.line
	}
	return fmt.Sprintf("at line %d, column %d (byte offset %d)", line, column, d.start+offset)
}
