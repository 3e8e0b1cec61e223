package event

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Sig is the member sig: an event's own signature, made by its producer. The mesh keeps it like everything else, and
// never looks at it.
type Sig struct {
	Algo string `json:"algo"` // how mac was made
	Kid  string `json:"kid"`  // the key, by a name that producer and consumers agree upon
	TS   int64  `json:"ts"`   // when, unix seconds
	MAC  string `json:"mac"`  // base64, standard alphabet with padding
}

// Signed is what an event's own signature covers: the event's bytes with the member sig cut out.
type Signed struct {
	Sig           Sig
	HasSig        bool
	Before, After []byte // the bytes around what was cut out, without white space around the event; they alias the input
}

// CutSig cuts the member sig out of an event: from the comma before the member, or where it is the first one from the
// member to the comma after it. An event without sig is whole in Before. The error is an *Error: the input is no strict JSON object, or its sig
// is none.
func CutSig(raw []byte) (Signed, error) {
	d := acquire(raw)
	defer d.release()
	s, fatal := d.signed()
	if fatal == nil {
		fatal = d.end()
	}
	switch {
	case fatal != nil:
		return Signed{}, fatal
	case d.content != nil:
		return Signed{}, d.content
	}
	return s, nil
}

// signed reads the value that is next.
func (d *decoder) signed() (s Signed, fatal *Error) {
	kind := d.json.PeekKind()
	start := d.json.Next()
	if kind != jsontext.KindBeginObject {
		d.refuse(CodeNotObject, "", "an event is a JSON object, this is "+kindName(kind))
		return s, d.skip()
	}
	if fatal = d.bracket(); fatal != nil {
		return s, fatal
	}
	from, to := -1, -1
	for first := true; d.json.PeekKind() != jsontext.KindEndObject; first = false {
		before, name := d.json.Offset(), d.json.Next()
		quoted, fatal := d.quoted()
		if fatal != nil {
			return s, fatal
		}
		ours := string(unquoted(quoted)) == "sig"
		value := d.json.Next()
		if fatal = d.skip(); fatal != nil {
			return s, fatal
		}
		if !ours {
			continue
		}
		s.HasSig = true
		if to = d.json.Offset(); readSig(d.body[value:to], &s.Sig) != nil {
			d.refuse(CodeSig, "/sig", "sig must be an object of algo, kid, ts (whole unix seconds) and mac (base64), and nothing else")
		}
		from = name
		if !first {
			from = before + bytes.IndexByte(d.body[before:], ',')
		}
	}
	if fatal = d.bracket(); fatal != nil {
		return s, fatal
	}
	s.Before, s.After = d.around(start, d.json.Offset(), from, to)
	return s, nil
}

// around are the bytes of the event on either side of the cut, with the comma after a first member cut out too.
func (d *decoder) around(start, end, from, to int) (before, after []byte) {
	if from < 0 {
		return d.body[start:end], nil
	}
	if d.body[from] != ',' {
		if rest := bytes.TrimLeft(d.body[to:end], " \t\r\n"); rest[0] == ',' {
			to = end - len(rest) + 1
		}
	}
	return d.body[start:from], d.body[to:end]
}

var errSig = errors.New("a member of sig is missing or empty")

// readSig is strict: what the signature does not cover must not be able to say anything.
func readSig(value []byte, s *Sig) error {
	if err := json.Unmarshal(value, s, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	if s.Algo == "" || s.Kid == "" || s.TS <= 0 || s.MAC == "" {
		return errSig
	}
	return nil
}
