// Package schema is what the registry knows of one version of a schema: whose it is, what it says, where it stands
// in its life, who did what when. The registry's records, the admin API and the relay's gate share it.
//
// It knows the two languages only as names; package jsonschema and package protobuf compile documents, package compat
// says whether a version may follow. All values are immutable and all functions pure and safe for concurrent use.
package schema

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Language is what a document is written in.
type Language string

// The languages.
const (
	JSONSchema Language = "json-schema"
	Protobuf   Language = "protobuf"
)

// Document is a schema as it was registered.
type Document struct {
	Subject  string   // the event type that it describes
	Version  Version  // unique in its subject; its content never changes
	Language Language //
	Message  string   // of protobuf: the payload's message; may be empty where the source has one alone
	Text     []byte   // as it came
}

// Validate checks all but the text, which its language's compiler judges.
func (d *Document) Validate() error {
	switch {
	case !subject.ValidType(d.Subject):
		return fault.New("schema.validate", fault.Invalid, "schema_subject", "%q is no event type: words of a-z 0-9 _ joined by single dots, at most 128 characters", d.Subject)
	case d.Version == Version{}:
		return fault.New("schema.validate", fault.Invalid, "schema_version", "the version is 0.0.0 or missing; the first one is 1.0.0, or 0.1.0 while all may change")
	case d.Language != JSONSchema && d.Language != Protobuf:
		return fault.New("schema.validate", fault.Invalid, "schema_language", "%q is no language of schemas; they are %s and %s", d.Language, JSONSchema, Protobuf)
	case d.Language != Protobuf && d.Message != "":
		return fault.New("schema.validate", fault.Invalid, "schema_message", "a message is named, and only protobuf has messages")
	case len(d.Text) == 0:
		return fault.New("schema.validate", fault.Invalid, "schema_empty", "the document is empty")
	}
	return nil
}

// Hash is the SHA-256, in hex, of what the document says: of JSON in canonical form (RFC 8785, integers as they are),
// so that white space and the order of members make no other document; of protobuf the text. Language and message
// are part of it, subject and version are not: two regions that register other content under one version differ here.
func (d *Document) Hash() (string, error) {
	text := d.Text
	if d.Language == JSONSchema {
		canonical := jsontext.Value(append([]byte(nil), text...))
		if err := canonical.Canonicalize(jsontext.CanonicalizeRawInts(false)); err != nil {
			return "", fault.New("schema.hash", fault.Invalid, "schema_syntax", "the document is no strict JSON: %v", err)
		}
		text = canonical
	}
	h := sha256.New()
	for _, part := range []string{string(d.Language), d.Message} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":" + part + "\n"))
	}
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Version is a release version of Semantic Versioning: pre-releases and builds are no versions of a schema.
type Version struct{ Major, Minor, Patch uint32 }

// ParseVersion reads major.minor.patch.
func ParseVersion(s string) (Version, error) {
	parts := strings.Split(s, ".")
	var v Version
	numbers := []*uint32{&v.Major, &v.Minor, &v.Patch}
	if len(parts) == len(numbers) {
		for i, part := range parts {
			n, err := strconv.ParseUint(part, 10, 31)
			if err != nil || part != strconv.FormatUint(n, 10) {
				break
			}
			*numbers[i] = uint32(n)
			if i == len(parts)-1 {
				return v, nil
			}
		}
	}
	return Version{}, fault.New("schema.version", fault.Invalid, "schema_version", "%q is no version of a schema: three numbers, such as 1.4.0", s)
}

// String is major.minor.patch.
func (v Version) String() string {
	return strconv.FormatUint(uint64(v.Major), 10) + "." + strconv.FormatUint(uint64(v.Minor), 10) + "." + strconv.FormatUint(uint64(v.Patch), 10)
}

// MarshalText is String.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is ParseVersion.
func (v *Version) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVersion(string(text))
	return err
}

// Compare is -1, 0 or 1.
func (v Version) Compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch))
}

// NewMajor says whether v starts another major version than before: a contract of its own, behind a flag.
func (v Version) NewMajor(before Version) bool { return v.Major != before.Major }

// Step is one change of a version's status.
type Step struct {
	Status Status
	By     string // who: a person or a process, as the admin API authenticated it
	At     time.Time
	Why    string
}
