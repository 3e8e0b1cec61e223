// Package fault is the one shape of an error that crosses a package boundary in weft: what was being
// done, which of a small closed set of kinds it is, and a stable code for the reader's script.
//
// Every role uses it; each edge (HTTP, command line, ack decision) maps kinds to its own codes in one
// table. All values are immutable after construction and safe for concurrent use.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is the class of a failure. The order is fixed: values are appended, never renumbered.
type Kind uint8

// The kinds. Edges map them: HTTP status in relay and hub, exit code in cmd/weft.
const (
	Internal        Kind = iota // a defect of ours, or something nobody foresaw
	Invalid                     // the input is wrong and stays wrong however often it is sent
	Unauthenticated             // who is asking is not proven
	Denied                      // who is asking is known, and may not
	NotFound                    // the named thing does not exist
	Conflict                    // the named thing exists with other content, or in another state
	Limited                     // over a limit; later is fine
	Unavailable                 // a dependency does not answer; nothing is known to be stored; retry
)

var kindNames = [...]string{"internal", "invalid", "unauthenticated", "denied", "not_found", "conflict", "limited", "unavailable"}

// String is the kind's name as it appears in logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// Retryable says whether the same request can succeed later without being changed.
func (k Kind) Retryable() bool { return k == Limited || k == Unavailable }

// Error is a failure with its operation, kind and code.
type Error struct {
	Op     string // what was being done, such as "tenant.add"
	Kind   Kind
	Code   string // stable and machine-readable, snake_case, such as "tenant_exists"; may be empty
	Detail string // one line for a person: what, where, and where known what to do
	Err    error  // the cause, or nil
}

// Error renders "op: detail: cause".
func (e *Error) Error() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{e.Op, e.Detail} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an Error without a cause.
func New(op string, kind Kind, code, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Wrap puts an operation and a kind around a cause; nil stays nil.
func Wrap(op string, kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Kind: kind, Err: err}
}

// KindOf is the kind of the outermost Error in the chain, Internal when there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// CodeOf is the outermost non-empty code in the chain, or the kind's name.
func CodeOf(err error) string {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if f, ok := e.(*Error); ok && f.Code != "" { //nolint:errorlint // walks the chain by hand
			return f.Code
		}
	}
	return KindOf(err).String()
}
