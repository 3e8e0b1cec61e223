package event

import (
	"bytes"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/subject"
)

// fields is a set of the members that mean something.
type fields uint16

const (
	fieldID fields = 1 << iota
	fieldType
	fieldVersion
	fieldOccurredAt
	fieldKey
	fieldUserID // in key
	fieldPayload
	fieldCtx
	fieldSourceSeq
	fieldSourceEpoch
)

// member says how one of them is called and refused.
type member struct {
	field   fields
	pointer string
	code    string // of a value outside the grammar
	grammar string
}

// members in the order in which their absence is told.
var members = [...]member{
	{fieldID, "/event_id", CodeEventID, "must be 1 to 128 characters of A-Z a-z 0-9 _ . : -"},
	{fieldType, "/event_type", CodeEventType, "must be at most 128 characters: words of a-z 0-9 _ joined by single dots"},
	{fieldVersion, "/schema_version", CodeSchemaVersion, "must be a semantic version of at most 64 characters, such as 1.0.0"},
	{fieldOccurredAt, "/occurred_at", CodeOccurredAt, "must be an RFC 3339 time in UTC, such as 2026-01-31T23:59:59.123Z"},
	{fieldUserID, "/key/user_id", CodeUserID, "must be 1 to 256 bytes without control characters"},
	{fieldPayload, "/payload", CodeWrongType, "must be an object"},
	{fieldKey, "/key", CodeWrongType, "must be an object"},
	{fieldCtx, "/ctx", CodeWrongType, "must be an object (leave it out where there is none)"},
	{fieldSourceSeq, "/source_seq", CodeSourceSeq, "must be a whole number from 0 to 18446744073709551615, in digits"},
	{fieldSourceEpoch, "/source_epoch", CodeSourceSeq, "must be a whole number from 0 to 18446744073709551615, in digits"},
}

// required members; a missing key is told as its user_id.
const required = fieldID | fieldType | fieldVersion | fieldOccurredAt | fieldUserID | fieldPayload

func describe(f fields) *member {
	for i := range members {
		if members[i].field == f {
			return &members[i]
		}
	}
	panic("event: member without description")
}

// wrong refuses a value outside the grammar of a member.
func (d *decoder) wrong(f fields) {
	m := describe(f)
	d.refuse(m.code, m.pointer, m.pointer[1:]+" "+m.grammar)
}

// mistyped refuses a value of another JSON type, and reads over it.
func (d *decoder) mistyped(f fields, want string) *Error {
	m := describe(f)
	d.refuse(CodeWrongType, m.pointer, m.pointer[1:]+" must be "+want+", this is "+kindName(d.json.PeekKind()))
	return d.skip()
}

func (d *decoder) requireAll(seen fields) {
	for _, m := range members {
		if required&^seen&m.field != 0 {
			if m.field == fieldUserID && seen&fieldKey != 0 {
				continue // told when key was read
			}
			d.refuse(CodeMissingField, m.pointer, m.pointer[1:]+" is required")
		}
	}
}

// name reads a member's name; 0 where it means nothing.
func (d *decoder) name() (fields, *Error) {
	quoted, fatal := d.quoted()
	if fatal != nil {
		return 0, fatal
	}
	return fieldOf(unquoted(quoted)), nil
}

// unquoted is the text of a string.
func unquoted(quoted []byte) []byte {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	plain, _ := jsontext.AppendUnquote(make([]byte, 0, len(quoted)), quoted) // the scanner accepted it
	return plain
}

func fieldOf(name []byte) fields {
	switch string(name) {
	case "event_id":
		return fieldID
	case "event_type":
		return fieldType
	case "schema_version":
		return fieldVersion
	case "occurred_at":
		return fieldOccurredAt
	case "key":
		return fieldKey
	case "payload":
		return fieldPayload
	case "ctx":
		return fieldCtx
	case "source_seq":
		return fieldSourceSeq
	case "source_epoch":
		return fieldSourceEpoch
	}
	return 0
}

// member reads the value of a member that means something.
func (d *decoder) member(f fields, e *Event, s *spans) *Error {
	switch f {
	case fieldID:
		return d.string(f, &s.id, validID)
	case fieldType:
		return d.string(f, &s.typ, subject.ValidType[[]byte])
	case fieldVersion:
		return d.string(f, &s.version, validVersion)
	case fieldOccurredAt:
		var at span
		fatal := d.string(f, &at, func(text []byte) (ok bool) {
			e.OccurredAt, ok = parseTime(text)
			return ok
		})
		d.text = d.text[:len(d.text)-int(at.length)] // the time itself is kept, not its text
		return fatal
	case fieldKey:
		return d.key(e, s)
	case fieldSourceSeq:
		n, ok, fatal := d.integer(f)
		e.SourceSeq, e.HasSourceSeq = n, ok
		return fatal
	case fieldSourceEpoch:
		n, _, fatal := d.integer(f)
		e.SourceEpoch = n
		return fatal
	default: // payload, ctx
		if d.json.Peek() != '{' {
			return d.mistyped(f, "an object")
		}
		if f == fieldPayload {
			return d.payload(e, s)
		}
		return d.skip()
	}
}

// key reads the object that holds user_id.
func (d *decoder) key(e *Event, s *spans) *Error {
	if d.json.Peek() != '{' {
		return d.mistyped(fieldKey, "an object")
	}
	start := d.json.Next()
	if fatal := d.bracket(); fatal != nil {
		return fatal
	}
	found := false
	for d.json.Peek() != '}' {
		quoted, fatal := d.quoted()
		if fatal != nil {
			return fatal
		}
		if string(unquoted(quoted)) == "user_id" {
			found = true
			if fatal := d.string(fieldUserID, &s.user, validUserID); fatal != nil {
				return fatal
			}
		} else if fatal := d.skip(); fatal != nil {
			return fatal
		}
	}
	if fatal := d.bracket(); fatal != nil {
		return fatal
	}
	end := d.json.Offset()
	e.Key = d.body[start:end:end]
	if !found {
		d.refuse(CodeMissingField, "/key/user_id", "key/user_id is required")
	}
	return nil
}

// string reads a string, keeps its text where valid says so, and refuses it where not.
func (d *decoder) string(f fields, at *span, valid func([]byte) bool) *Error {
	if d.json.Peek() != '"' {
		return d.mistyped(f, "a string")
	}
	quoted, fatal := d.quoted()
	if fatal != nil {
		return fatal
	}
	start := len(d.text)
	if bytes.IndexByte(quoted, '\\') < 0 {
		d.text = append(d.text, quoted[1:len(quoted)-1]...)
	} else {
		d.text, _ = jsontext.AppendUnquote(d.text, quoted) // the scanner accepted it
	}
	if !valid(d.text[start:]) {
		d.text = d.text[:start]
		d.wrong(f)
		return nil
	}
	*at = span{uint32(start), uint32(len(d.text) - start)}
	return nil
}

// integer reads a whole number that is not negative.
func (d *decoder) integer(f fields) (n uint64, ok bool, fatal *Error) {
	if c := d.json.Peek(); c != '-' && (c < '0' || c > '9') {
		return 0, false, d.mistyped(f, "a number")
	}
	start := d.json.Next()
	if fatal := d.skip(); fatal != nil {
		return 0, false, fatal
	}
	n, err := strconv.ParseUint(string(d.body[start:d.json.Offset()]), 10, 64)
	if err != nil {
		d.wrong(f)
		return 0, false, nil
	}
	return n, true, nil
}

// span is a piece of decoder.text.
type span struct{ start, length uint32 }

// spans are the texts of one event.
type spans struct{ id, typ, version, user span }

// bind gives the event its strings. They share one allocation.
func (s *spans) bind(text string, e *Event) {
	cut := func(p span) string { return text[p.start : p.start+p.length] }
	e.ID, e.Type, e.SchemaVersion, e.UserID = cut(s.id), cut(s.typ), cut(s.version), cut(s.user)
}

// ValidID says whether s is an event id.
func ValidID(s string) bool { return validID([]byte(s)) }

// inID are the characters of an event id.
var inID = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:") {
		set[c] = true
	}
	return set
}()

func validID(b []byte) bool {
	for _, c := range b {
		if !inID[c] {
			return false
		}
	}
	return len(b) > 0 && len(b) <= MaxIDLen
}

func validUserID(b []byte) bool {
	if len(b) == 0 || len(b) > MaxUserIDLen {
		return false
	}
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			if b[i] < ' ' || b[i] == 0x7f {
				return false
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if unicode.IsControl(r) {
			return false
		}
		i += n
	}
	return true
}

// validVersion implements the grammar of Semantic Versioning 2.0.0.
func validVersion(b []byte) bool {
	if len(b) > MaxVersionLen {
		return false
	}
	if len(b) == 5 && b[1] == '.' && b[3] == '.' { // as most are
		return numeric(b[:1]) && numeric(b[2:3]) && numeric(b[4:])
	}
	b, build, hasBuild := bytes.Cut(b, []byte{'+'})
	core, pre, hasPre := bytes.Cut(b, []byte{'-'})
	if hasBuild && !identifiers(build, false) || hasPre && !identifiers(pre, true) {
		return false
	}
	for i := range 3 {
		part, rest, more := bytes.Cut(core, []byte{'.'})
		if more != (i < 2) || !numeric(part) || leadingZero(part) {
			return false
		}
		core = rest
	}
	return true
}

// identifiers checks the dotted words of a pre-release or a build; a numeric one of a pre-release has no
// leading zero.
func identifiers(b []byte, pre bool) bool {
	for {
		word, rest, more := bytes.Cut(b, []byte{'.'})
		if len(word) == 0 || pre && numeric(word) && leadingZero(word) {
			return false
		}
		for _, c := range word {
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
				return false
			}
		}
		if !more {
			return true
		}
		b = rest
	}
}

func numeric(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func leadingZero(b []byte) bool { return len(b) > 1 && b[0] == '0' }

// parseTime reads RFC 3339 in UTC. An unknown local offset (-00:00) is no UTC.
func parseTime(b []byte) (time.Time, bool) {
	if len(b) < len("2006-01-02T15:04:05Z") || len(b) > MaxOccurredAtLen || !bytes.HasSuffix(b, []byte{'Z'}) && !bytes.HasSuffix(b, []byte("+00:00")) {
		return time.Time{}, false
	}
	// Package time also takes hours of one digit and a comma before the fraction (go.dev/issue/54580).
	if b[13] != ':' || b[16] != ':' || b[19] == ',' {
		return time.Time{}, false
	}
	if t, ok := plainTime(b); ok {
		return t, true
	}
	var t time.Time
	if err := t.UnmarshalText(b); err != nil {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// plainTime reads the common form of a time, with Z; package time judges every other.
func plainTime(b []byte) (time.Time, bool) {
	last := len(b) - 1
	if b[last] != 'Z' || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || last > 19 && b[19] != '.' || last > 29 || last == 20 {
		return time.Time{}, false
	}
	valid := true
	number := func(from, to int) (n int) {
		for _, c := range b[from:to] {
			valid = valid && c >= '0' && c <= '9'
			n = n*10 + int(c-'0')
		}
		return n
	}
	year, month, day, hour, minute, second := number(0, 4), number(5, 7), number(8, 10), number(11, 13), number(14, 16), number(17, 19)
	fraction := 0
	if last > 19 {
		fraction = number(20, last)
		for range 29 - last {
			fraction *= 10
		}
	}
	if !valid || month < 1 || month > 12 || day < 1 || day > 28 && !late(month, day) || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, fraction, time.UTC), true
}

// late says whether a month has a day after its 28th, whatever the year.
func late(month, day int) bool {
	switch month {
	case 2:
		return false
	case 4, 6, 9, 11:
		return day <= 30
	}
	return day <= 31
}
