package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/event"
)

// inputLine is one line that is not blank: an event, or why it is none.
type inputLine struct {
	number  int // from 1
	raw     []byte
	id      string       // the event's, where it could be read
	refused *event.Error // the relay would refuse it for the same reason: the decoder is the same
}

// lineReader reads events from lines of any length; what is longer than an event may be is skipped.
type lineReader struct {
	in       *bufio.Reader
	number   int
	maxBytes int
	now      func() time.Time // nil: occurred_at stays
}

func newLineReader(r io.Reader, now func() time.Time) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(r, 64<<10), maxBytes: event.DefaultLimits().MaxEventBytes, now: now}
}

// next returns the next line that is not blank, io.EOF after the last one, or the reader's error.
func (l *lineReader) next() (inputLine, error) {
	for {
		raw, tooLong, err := l.line()
		if err != nil {
			return inputLine{}, err
		}
		switch {
		case tooLong:
			return inputLine{number: l.number, refused: &event.Error{
				Code: "too_large", Detail: fmt.Sprintf("longer than %d bytes", l.maxBytes)}}, nil
		case len(bytes.TrimSpace(raw)) > 0:
			return l.parse(raw), nil
		}
	}
}

func (l *lineReader) parse(raw []byte) inputLine {
	if l.now != nil {
		raw = replaceOccurredAt(raw, l.now())
	}
	line := inputLine{number: l.number, raw: raw}
	var e event.Event
	err := event.Decode(raw, &e)
	line.id = e.ID
	if refused, ok := errors.AsType[*event.Error](err); ok {
		line.refused = refused
	} else if err != nil {
		line.refused = &event.Error{Code: "syntax", Detail: err.Error()}
	}
	return line
}

// line reads up to the next line break, which is not part of it ("\n" or "\r\n"), into memory of its own.
func (l *lineReader) line() (raw []byte, tooLong bool, err error) {
	for {
		part, err := l.in.ReadSlice('\n')
		done := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
		if errors.Is(err, io.EOF) {
			if len(part) == 0 && len(raw) == 0 && !tooLong {
				return nil, false, io.EOF
			}
			done = true
		}
		if !tooLong {
			raw = append(raw, part...)
		}
		if len(raw) > l.maxBytes+len("\r\n") {
			raw, tooLong = nil, true
		}
		if done {
			l.number++
			raw = bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
			return raw, tooLong || len(raw) > l.maxBytes, nil
		}
	}
}

// replaceOccurredAt exchanges the value of the top-level member occurred_at and leaves every other byte as
// it is. What has no such member, or is no JSON object, comes back unchanged for the decoder to refuse.
func replaceOccurredAt(raw []byte, now time.Time) []byte {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return raw
	}
	for {
		name, err := dec.ReadToken()
		if err != nil || name.Kind() != '"' {
			return raw
		}
		wanted := name.String() == "occurred_at"
		value, err := dec.ReadValue()
		if err != nil {
			return raw
		}
		if wanted {
			end := int(dec.InputOffset())
			out := make([]byte, 0, len(raw)+32)
			out = append(out, raw[:end-len(value)]...)
			out = now.UTC().AppendFormat(append(out, '"'), "2006-01-02T15:04:05.000Z")
			return append(append(out, '"'), raw[end:]...)
		}
	}
}

// feed puts lines into out until the input ends or ctx does, closes out, and leaves the reader's error, if
// any, in err, which may be read once out is closed.
func (l *lineReader) feed(ctx context.Context, out chan<- inputLine, err *error) {
	defer close(out)
	for {
		line, readErr := l.next()
		if readErr != nil {
			if !errors.Is(readErr, io.EOF) {
				*err = fmt.Errorf("reading stopped after line %d: %w", l.number, readErr)
			}
			return
		}
		select {
		case out <- line:
		case <-ctx.Done():
			return
		}
	}
}
