package jsonschema

import (
	"time"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// format is one that is asserted. quick says yes to the common form of a valid text without allocating; where it
// does not, the library judges.
type format struct {
	name  string
	quick func([]byte) bool
	exact func(any) error
}

func newFormat(f *library.Format) *format {
	quick := map[string]func([]byte) bool{"date-time": plainDateTime, "date": plainDate, "uuid": plainUUID, "email": plainEmail}[f.Name]
	return &format{name: f.Name, quick: quick, exact: f.Validate}
}

func (f *format) valid(plain []byte) bool {
	if f.quick != nil && f.quick(plain) {
		return true
	}
	return f.exact(string(plain)) == nil
}

func digits(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

func plainDate(b []byte) bool {
	if len(b) != 10 || b[4] != '-' || b[7] != '-' {
		return false
	}
	year, ok1 := digits(b[:4])
	month, ok2 := digits(b[5:7])
	day, ok3 := digits(b[8:])
	if !ok1 || !ok2 || !ok3 || month < 1 || month > 12 || day < 1 {
		return false
	}
	return day <= 28 || day <= daysIn(year, month)
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// plainDateTime takes times without leap seconds whose offset is Z or ±hh:mm.
func plainDateTime(b []byte) bool {
	if len(b) < 20 || b[10] != 'T' || b[13] != ':' || b[16] != ':' || !plainDate(b[:10]) {
		return false
	}
	hour, ok1 := digits(b[11:13])
	minute, ok2 := digits(b[14:16])
	second, ok3 := digits(b[17:19])
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 59 {
		return false
	}
	rest := b[19:]
	if rest[0] == '.' {
		i := 1
		for i < len(rest) && rest[i] >= '0' && rest[i] <= '9' {
			i++
		}
		if i == 1 {
			return false
		}
		rest = rest[i:]
	}
	if len(rest) == 1 {
		return rest[0] == 'Z'
	}
	if len(rest) != 6 || rest[0] != '+' && rest[0] != '-' || rest[3] != ':' {
		return false
	}
	hour, ok1 = digits(rest[1:3])
	minute, ok2 = digits(rest[4:])
	return ok1 && ok2 && hour <= 23 && minute <= 59
}

func plainUUID(b []byte) bool {
	if len(b) != 36 {
		return false
	}
	for i, c := range b {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// plainEmail takes letters, digits and single dots and hyphens between them on both sides of one @.
func plainEmail(b []byte) bool {
	if len(b) > 63 {
		return false
	}
	at, before := -1, byte('.')
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '@' && at < 0, c == '.', c == '-':
			if before == '.' || before == '-' || before == '@' {
				return false
			}
			if c == '@' {
				at = i
			}
		default:
			return false
		}
		before = c
	}
	return at > 0 && before != '.' && before != '-' && before != '@'
}
