package intake

import "encoding/hex"

// parseTrace reads a W3C Trace Context traceparent (https://www.w3.org/TR/trace-context/) and writes it
// anew as version 00. Whatever is not exactly one valid value gives "": no byte of a client's header is
// copied unread.
func parseTrace(values []string) string {
	const (
		length  = 55
		idAt    = 3
		spanAt  = 36
		flagsAt = 53
		known   = 0x03 // sampled and random; the other flags are not defined
	)
	if len(values) != 1 || len(values[0]) < length {
		return ""
	}
	s := values[0]
	if s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" {
		return ""
	}
	if len(s) > length && (s[:2] == "00" || s[length] != '-') {
		return ""
	}
	var version, flags [1]byte
	if !lowerHex(version[:], s[:2]) || !lowerHex(flags[:], s[flagsAt:length]) {
		return ""
	}
	var id [16]byte
	var span [8]byte
	if !lowerHex(id[:], s[idAt:35]) || !lowerHex(span[:], s[spanAt:52]) || id == [16]byte{} || span == [8]byte{} {
		return ""
	}
	out := make([]byte, 0, length)
	out = append(out, "00-"...)
	out = append(hex.AppendEncode(out, id[:]), '-')
	out = append(hex.AppendEncode(out, span[:]), '-')
	return string(hex.AppendEncode(out, []byte{flags[0] & known}))
}

func lowerHex(dst []byte, s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}
