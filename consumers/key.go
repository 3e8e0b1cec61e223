package consumers

import (
	"strconv"

	"github.com/weft-mesh/weft/streams/event"
)

// UserKey is the order that topics keep unless they name another key: that of the events of one user. It is the
// default of Options.Key.
func UserKey(m *Message) string {
	if m.envelope != nil {
		return m.envelope.UserID
	}
	var e event.Event
	_ = event.Decode(m.Raw, &e) // relays let no such event in, and what cannot be read names no user
	return e.UserID
}

// keyOf asks for the key of an event. One without a key is ordered with its partition, which is what its key was
// hashed to: coarser, never wrong.
func (o *Options) keyOf(m *Message) (key string) {
	defer func() {
		if recover() != nil || key == "" {
			key = "\x00" + strconv.Itoa(m.Subject.Partition) // a user id has no such character
		}
	}()
	return o.Key(m)
}
