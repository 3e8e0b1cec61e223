package event

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Digest is the SHA-256 of what an event says: event_type, key, source_seq and payload in canonical form
// (RFC 8785, but whole numbers are kept digit by digit). Two events of one id with different digests are a
// conflict, not a duplicate. occurred_at is left out: a producer may stamp a retry anew.
func Digest(raw []byte) ([32]byte, error) {
	picked, err := pick(raw)
	if err != nil {
		return [32]byte{}, err
	}
	v := jsontext.Value(picked)
	if err := v.Canonicalize(jsontext.CanonicalizeRawInts(false)); err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(v), nil
}

// pick copies the members that count into an object of their own.
func pick(raw []byte) ([]byte, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, errors.Join(errors.New("an event is a JSON object"), err)
	}
	out := []byte{'{'}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		key := string(plain(name))
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		switch key {
		case "event_type", "key", "source_seq", "payload":
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(strconv.AppendQuote(out, key), ':')
			out = append(out, value...)
		}
	}
	return append(out, '}'), nil
}

// Lookup finds the string or number at a JSON pointer (RFC 6901), for routing keys other than key.user_id. A
// number is returned as it is written.
func Lookup(raw []byte, pointer string) (string, bool) {
	if pointer == "" || pointer[0] != '/' {
		return "", false
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	for token := range strings.SplitSeq(pointer[1:], "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		if !descend(dec, token) {
			return "", false
		}
	}
	v, err := dec.ReadValue()
	if err != nil || v.Kind() != '"' && v.Kind() != '0' {
		return "", false
	}
	return string(plain(v)), true
}

// descend moves into the member or element that a pointer's token names.
func descend(dec *jsontext.Decoder, token string) bool {
	tok, err := dec.ReadToken()
	if err != nil || tok.Kind() != '{' && tok.Kind() != '[' {
		return false
	}
	object := tok.Kind() == '{'
	for i := 0; ; i++ {
		if k := dec.PeekKind(); k == '}' || k == ']' || k == 0 {
			return false
		}
		here := strconv.Itoa(i)
		if object {
			name, err := dec.ReadValue()
			if err != nil {
				return false
			}
			here = string(plain(name))
		}
		if here == token {
			return true
		}
		if dec.SkipValue() != nil {
			return false
		}
	}
}
