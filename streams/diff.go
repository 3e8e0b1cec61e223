package streams

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Action is what a Change does.
type Action string

// The actions, in the order in which Apply takes them for one stream.
const (
	Create     Action = "create"
	DropSource Action = "drop-source"
	Update     Action = "update"
	AddSource_ Action = "add-source"
)

// Change is one difference between a wanted and a present stream.
type Change struct {
	Action      Action `json:"action"`
	Stream      string `json:"stream"`
	Field       string `json:"field,omitempty"`
	Want        string `json:"want,omitempty"`
	Have        string `json:"have,omitempty"`
	Destructive bool   `json:"destructive,omitempty"` // stored messages may be removed by it
}

// String is one line, such as "~ EVENTS MaxAge: 1h0m0s -> 168h0m0s".
func (c Change) String() string {
	var line string
	switch c.Action {
	case Create:
		line = "+ " + c.Stream + " " + c.Want
	case DropSource:
		line = "- " + c.Stream + " source " + c.Have
	case AddSource_:
		line = "+ " + c.Stream + " source " + c.Want
	default:
		line = fmt.Sprintf("~ %s %s: %s -> %s", c.Stream, c.Field, c.Have, c.Want)
	}
	if c.Destructive {
		line += "  (removes stored messages)"
	}
	return line
}
