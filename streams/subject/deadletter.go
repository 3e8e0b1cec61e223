package subject

import "strings"

// DeadLetter is where an event stands that a consumer gave up, or that a relay takes without a schema.
type DeadLetter struct {
	Region  string
	Cause   string // lower-case letters and _, at most 32
	Topic   string
	Durable string // of the consumer: [A-Za-z0-9_-]{1,64}; RelayDurable where a relay put it there
}

// RelayDurable stands where a consumer's name does, of an event that a relay put among the dead letters.
const RelayDurable = "weft-relay"

// String is dlq.<region>.<cause>.<topic>.<durable>.
func (d DeadLetter) String() string {
	return "dlq." + d.Region + "." + d.Cause + "." + d.Topic + "." + d.Durable
}

// ParseDeadLetter reads a subject made by DeadLetter.String and refuses everything else.
func ParseDeadLetter(s string) (DeadLetter, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 5 || parts[0] != "dlq" || !ValidRegion(parts[1]) || !validCause(parts[2]) || !ValidTopic(parts[3]) && !ValidDerivedTopic(parts[3]) || !ValidDurable(parts[4]) {
		return DeadLetter{}, bad("subject of a dead letter", s)
	}
	return DeadLetter{Region: parts[1], Cause: parts[2], Topic: parts[3], Durable: parts[4]}, nil
}

func validCause(s string) bool {
	return s != "" && len(s) <= 32 && all(s, func(c byte) bool { return lower(c) || c == '_' })
}

// ValidDurable says whether s has the form of a durable's name: [A-Za-z0-9_-]{1,64}.
func ValidDurable(s string) bool {
	return s != "" && len(s) <= 64 && all(s, func(c byte) bool { return lower(c) || digit(c) || c >= 'A' && c <= 'Z' || c == '_' || c == '-' })
}

// DeadLettersOf matches every dead letter of a region.
func DeadLettersOf(region string) string { return "dlq." + region + ".>" }

// DeadLettersBy matches the dead letters of one durable, of every region.
func DeadLettersBy(durable string) string { return "dlq.*.*.*." + durable }

// DeadLettersOfRelays matches those that relays put among the dead letters of a region.
func DeadLettersOfRelays(region string) string { return "dlq." + region + ".*.*." + RelayDurable }

// CauseRequeued is the cause in the subject of an event that stands among the dead letters to be handled again.
const CauseRequeued = "requeued"

// Requeued matches what is to be handled again by a durable, of every region.
func Requeued(durable string) string { return DeadLettersWith(CauseRequeued, durable) }

// DeadLettersWith matches the dead letters with one cause and of one durable; an empty one stands for all.
func DeadLettersWith(cause, durable string) string {
	if cause == "" {
		cause = "*"
	}
	if durable == "" {
		durable = "*"
	}
	return "dlq.*." + cause + ".*." + durable
}
