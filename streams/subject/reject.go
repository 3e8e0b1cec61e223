package subject

import "strings"

// Reject is the subject of a record about what was refused. It names a region and no origin: these records
// never leave their region, so no epoch has to keep two histories apart.
type Reject struct {
	Region string
	Cause  string // lower-case letters, at most 32
	Code   string // [a-z0-9_]{1,64}
}

// String is rej.<region>.<cause>.<code>.
func (r Reject) String() string { return "rej." + r.Region + "." + r.Cause + "." + r.Code }

// ParseReject reads a subject made by Reject.String and refuses everything else.
func ParseReject(s string) (Reject, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 4 || parts[0] != "rej" || !ValidRegion(parts[1]) || !validKind(parts[2]) || !ValidCode(parts[3]) {
		return Reject{}, bad("subject of a refusal", s)
	}
	return Reject{Region: parts[1], Cause: parts[2], Code: parts[3]}, nil
}

// ValidCode says whether s has the form of a refusal's code: [a-z0-9_]{1,64}.
func ValidCode(s string) bool {
	return s != "" && len(s) <= 64 && all(s, func(c byte) bool { return lower(c) || digit(c) || c == '_' })
}

// RejectsOf matches every refusal of a region.
func RejectsOf(region string) string { return "rej." + region + ".>" }

// RejectsWithCode matches the refusals with one code, of every region and cause.
func RejectsWithCode(code string) string { return "rej.*.*." + code }

// RejectsWithCause matches the refusals of one cause.
func RejectsWithCause(cause string) string { return "rej.*." + cause + ".*" }
