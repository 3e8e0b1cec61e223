package event

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// fill checks the members that were found and moves them into e. The five texts share one allocation.
func (s *scanner) fill(e *Event) *Error {
	f := &s.found
	for _, need := range []struct {
		there   bool
		pointer string
	}{
		{f.id != nil, "/event_id"}, {f.typ != nil, "/event_type"}, {f.version != nil, "/schema_version"}, {f.occurred != nil, "/occurred_at"},
		{f.key, "/key"}, {f.user != nil, "/key/user_id"}, {f.payload, "/payload"},
	} {
		if !need.there {
			return &Error{Code: CodeMissingField, Pointer: need.pointer, Detail: "this member is required"}
		}
	}
	id, typ, version, user := plain(f.id), plain(f.typ), plain(f.version), plain(f.user)
	if err := checkTexts(id, typ, version, user); err != nil {
		return err
	}
	text := make([]byte, 0, len(id)+len(typ)+len(version)+len(user))
	text = append(append(append(append(text, id...), typ...), version...), user...)
	all := string(text)
	e.ID, all = all[:len(id)], all[len(id):]
	e.Type, all = all[:len(typ)], all[len(typ):]
	e.SchemaVersion, e.UserID = all[:len(version)], all[len(version):]
	if err := e.occurred(plain(f.occurred)); err != nil {
		return err
	}
	return e.sequence(f.seq, f.epoch)
}

func checkTexts(id, typ, version, user []byte) *Error {
	switch {
	case !validID(id):
		return &Error{Code: CodeEventID, Pointer: "/event_id", Detail: "an event_id is 1 to 128 of A-Z a-z 0-9 _ . : -"}
	case !validType(typ):
		return &Error{Code: CodeEventType, Pointer: "/event_type", Detail: "an event_type is tokens of a-z 0-9 _ joined by dots, at most 128 bytes"}
	case !validSemver(version):
		return &Error{Code: CodeSchemaVersion, Pointer: "/schema_version", Detail: "a schema_version is semantic, such as 1.0.0"}
	case !validUser(user):
		return &Error{Code: CodeUserID, Pointer: "/key/user_id", Detail: "a user_id is 1 to 256 bytes without control characters"}
	}
	return nil
}

func (e *Event) occurred(b []byte) *Error {
	utc := bytes.HasSuffix(b, []byte("Z")) || bytes.HasSuffix(b, []byte("+00:00"))
	if !utc || e.OccurredAt.UnmarshalText(b) != nil {
		return &Error{Code: CodeOccurredAt, Pointer: "/occurred_at", Detail: "occurred_at is RFC 3339 in UTC, such as 2026-01-31T12:00:00.5Z"}
	}
	e.OccurredAt = e.OccurredAt.UTC()
	return nil
}

func (e *Event) sequence(seq, epoch []byte) *Error {
	var err error
	if seq != nil {
		e.HasSourceSeq = true
		if e.SourceSeq, err = strconv.ParseUint(string(seq), 10, 64); err != nil {
			return &Error{Code: CodeSourceSeq, Pointer: "/source_seq", Detail: "source_seq is a whole number from 0"}
		}
	}
	if epoch != nil {
		if e.SourceEpoch, err = strconv.ParseUint(string(epoch), 10, 64); err != nil {
			return &Error{Code: CodeSourceSeq, Pointer: "/source_epoch", Detail: "source_epoch is a whole number from 0"}
		}
	}
	return nil
}

func validID(b []byte) bool {
	if len(b) == 0 || len(b) > MaxIDLen {
		return false
	}
	for _, c := range b {
		if !lower(c) && !digit(c) && (c < 'A' || c > 'Z') && c != '_' && c != '.' && c != ':' && c != '-' {
			return false
		}
	}
	return true
}

func validType(b []byte) bool {
	if len(b) == 0 || len(b) > MaxTypeLen {
		return false
	}
	start := true
	for _, c := range b {
		switch {
		case c == '.' && !start:
			start = true
		case lower(c) || digit(c) || c == '_':
			start = false
		default:
			return false
		}
	}
	return !start
}

func validUser(b []byte) bool {
	if len(b) == 0 || len(b) > MaxUserIDLen {
		return false
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return false
		}
		i += n
	}
	return true
}

// validSemver follows semver.org 2.0.0: three numbers without leading zeros, then pre-release and build.
func validSemver(b []byte) bool {
	if len(b) > 64 {
		return false
	}
	core, build, hasBuild := bytes.Cut(b, []byte("+"))
	core, pre, hasPre := bytes.Cut(core, []byte("-"))
	if hasBuild && !identifiers(build, false) || hasPre && !identifiers(pre, true) {
		return false
	}
	parts := 0
	for rest, more := core, true; more; parts++ {
		var n []byte
		n, rest, more = bytes.Cut(rest, []byte("."))
		if !number(n) {
			return false
		}
	}
	return parts == 3
}

func number(b []byte) bool {
	for _, c := range b {
		if !digit(c) {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 9 && (b[0] != '0' || len(b) == 1)
}

// identifiers checks dot-separated identifiers; strict ones refuse numbers with leading zeros.
func identifiers(b []byte, strict bool) bool {
	for rest, more := b, true; more; {
		var id []byte
		id, rest, more = bytes.Cut(rest, []byte("."))
		if len(id) == 0 {
			return false
		}
		numeric := true
		for _, c := range id {
			if !digit(c) {
				numeric = false
			}
			if !digit(c) && !lower(c) && (c < 'A' || c > 'Z') && c != '-' {
				return false
			}
		}
		if strict && numeric && len(id) > 1 && id[0] == '0' {
			return false
		}
	}
	return true
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }
func digit(c byte) bool { return c >= '0' && c <= '9' }
