package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key    string `json:"key,omitempty" yaml:"key,omitempty"`     // the setting, such as "listen.nats"
	Where  string `json:"where,omitempty" yaml:"where,omitempty"` // "hub.yaml:7", "env WEFT_X" or "flag --x"
	Detail string `json:"detail" yaml:"detail"`

	line int // of the file, 0 when the value is not from there
}

// String renders "where: key: detail".
func (p Problem) String() string {
	parts := slices.DeleteFunc([]string{p.Where, p.Key, p.Detail}, func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// Problems is everything that is wrong with a configuration; as an error it is one line.
type Problems []Problem

// Error joins the problems with semicolons.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "; ")
}

// As makes every set of problems a fault of kind Invalid for the caller who maps kinds.
func (p Problems) As(target any) bool {
	f, ok := target.(**fault.Error)
	if ok {
		*f = fault.New("config.load", fault.Invalid, "config_invalid", "%s", p.Error())
	}
	return ok
}

func (p *Problems) addf(key, format string, args ...any) {
	*p = append(*p, Problem{Key: key, Detail: fmt.Sprintf(format, args...)})
}

// sort puts what is wrong in the file into the file's order, the rest behind it.
func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Compare(uint(a.line-1), uint(b.line-1)) // line 0 becomes the largest
	})
}

// err is nil when there is no problem: a nil slice in an error variable would not be.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// nearest is the candidate that was probably meant, or "". A last part that matches counts, so that
// "https" finds "listen.https".
func nearest(word string, candidates []string) string {
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	best, bestCost := "", max(2, len(word)/3)+1
	for _, c := range candidates {
		cost := distance(word, c)
		if dot := strings.LastIndexByte(c, '.'); dot >= 0 {
			cost = min(cost, distance(word, c[dot+1:])+1)
		}
		if cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
