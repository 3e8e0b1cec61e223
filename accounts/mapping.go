package accounts

import (
	"strconv"
	"time"
)

// Mapping is what carries payloads of one event type between two of its major versions, as the control log holds it.
// While both live, relays store events of the keys for which the flag is on in both.
type Mapping struct {
	Tenant  string    `json:"tenant"`
	Subject string    `json:"subject"` // the event type
	Low     uint32    `json:"low"`     // the lower major version
	High    uint32    `json:"high"`
	Flag    string    `json:"flag,omitempty"` // of the tenant: on for the keys whose events are stored in both versions
	Text    []byte    `json:"text,omitempty"` // mapping.Spec, JSON; empty: there is no mapping any more
	Hash    string    `json:"hash,omitempty"` // SHA-256 of Text, hex
	By      string    `json:"by"`             // a principal
	At      time.Time `json:"at"`
	Why     string    `json:"why,omitempty"`
}

// Bounds of what the control log holds of mappings.
const (
	MaxMappingText = 64 << 10 // bytes of one
	MaxMappings    = 100      // of a tenant, those that are gone included
)

// MappingID names a mapping among those of all tenants.
func MappingID(tenant, subject string, low, high uint32) string {
	return tenant + "." + subject + "." + strconv.FormatUint(uint64(low), 10) + "-" + strconv.FormatUint(uint64(high), 10)
}

// ID is MappingID.
func (m *Mapping) ID() string { return MappingID(m.Tenant, m.Subject, m.Low, m.High) }

// There says whether there is a mapping, and not only the record of one that is gone.
func (m *Mapping) There() bool { return m != nil && len(m.Text) > 0 }

// Label names the mapping's very text in a header: subject, the two versions, and the hash's beginning.
func (m *Mapping) Label() string {
	return m.Subject + ":" + strconv.FormatUint(uint64(m.Low), 10) + "-" + strconv.FormatUint(uint64(m.High), 10) + "@" + m.Hash[:min(len(m.Hash), 12)]
}

// MajorOf is the major version of a semantic version that package event accepted.
func MajorOf(version string) (uint32, bool) {
	for i := range len(version) {
		if version[i] == '.' {
			n, err := strconv.ParseUint(version[:i], 10, 31)
			return uint32(n), err == nil
		}
	}
	return 0, false
}
