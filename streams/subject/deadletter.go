package subject

import "strings"

// DeadLetter is where an event stands that a consumer gave up.
type DeadLetter struct {
	Region  string
	Cause   string // lower-case letters, at most 32
	Topic   string
	Durable string // of the consumer: [A-Za-z0-9_-]{1,64}
}

// String is dlq.<region>.<cause>.<topic>.<durable>.
func (d DeadLetter) String() string {
	return "dlq." + d.Region + "." + d.Cause + "." + d.Topic + "." + d.Durable
}

// ParseDeadLetter reads a subject made by DeadLetter.String and refuses everything else.
func ParseDeadLetter(s string) (DeadLetter, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 5 || parts[0] != "dlq" || !ValidRegion(parts[1]) || !validKind(parts[2]) || !ValidTopic(parts[3]) && !ValidDerivedTopic(parts[3]) || !ValidDurable(parts[4]) {
		return DeadLetter{}, bad("subject of a dead letter", s)
	}
	return DeadLetter{Region: parts[1], Cause: parts[2], Topic: parts[3], Durable: parts[4]}, nil
}

// ValidDurable says whether s has the form of a durable's name: [A-Za-z0-9_-]{1,64}.
func ValidDurable(s string) bool {
	return s != "" && len(s) <= 64 && all(s, func(c byte) bool { return lower(c) || digit(c) || c >= 'A' && c <= 'Z' || c == '_' || c == '-' })
}

// DeadLettersOf matches every dead letter of a region.
func DeadLettersOf(region string) string { return "dlq." + region + ".>" }

// DeadLettersBy matches the dead letters of one durable, of every region.
func DeadLettersBy(durable string) string { return "dlq.*.*.*." + durable }

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
