package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
)

// Exit codes of every verb.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitProblems = 3 // a check ran and found something
)

// errorWithHint adds what the user can do about err: "weft send: what: hint".
func errorWithHint(err error, hint string) error { return &hintError{err, hint} }

type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }
func (e *hintError) Hint() string  { return e.hint }

// usageErrorf is a command line that makes no sense: exit code 2.
func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// problemsFoundf is the end of a check that ran and found something: exit code 3.
func problemsFoundf(format string, args ...any) error {
	return &problemsError{fmt.Sprintf(format, args...)}
}

type problemsError struct{ text string }

func (e *problemsError) Error() string { return e.text }

// exitCode is the one table from errors to exit codes.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[*problemsError](err); ok {
		return exitProblems
	}
	return exitFailure
}

// errorLine renders "weft send: what: hint" in one line.
func errorLine(command string, err error) string {
	line := command + ": " + errorText(err)
	if hinted, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok && hinted.Hint() != "" {
		line += ": " + hinted.Hint()
	}
	return strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// errorText leaves out the operations that a fault names for logs: the command says what was being done.
func errorText(err error) string {
	switch e := err.(type) { //nolint:errorlint // takes the chain apart link by link
	case *fault.Error:
		switch {
		case e.Err == nil && e.Detail == "":
			return e.Kind.String()
		case e.Err == nil:
			return e.Detail
		case e.Detail == "":
			return errorText(e.Err)
		}
		return e.Detail + ": " + errorText(e.Err)
	case interface {
		Hint() string
		Unwrap() error
	}:
		return errorText(e.Unwrap())
	case *usageError:
		return errorText(e.err)
	}
	if errors.Is(err, context.Canceled) && err.Error() == context.Canceled.Error() {
		return "interrupted"
	}
	return err.Error()
}
