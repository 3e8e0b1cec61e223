// Package subject builds and parses every subject and name that weft uses on NATS. Nothing else assembles
// subjects: what is not written here does not exist on the wire.
//
// Every role uses it. All functions are pure and safe for concurrent use.
package subject

import (
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
)

// Streams that every account of their kind has, one in each region, under the same name.
const (
	EventsStream      = "EVENTS"  // in tenant accounts
	RejectsStream     = "REJECTS" // in tenant accounts
	DeadLettersStream = "DLQ"     // in tenant accounts
	ControlStream     = "CONTROL" // in the CONTROL account
	GuardStream       = "GUARD"   // in the CONTROL account
)

// MaxPartition is the largest partition number: keys are spread over 64.
const MaxPartition = 63

// Origin is a region in one of its lives. A region that lost data comes back under the next epoch, so an
// origin never writes two different histories.
type Origin struct {
	Region string
	Epoch  int // from 1
}

// String is the origin's token, such as "eu_1".
func (o Origin) String() string { return o.Region + "_" + strconv.Itoa(o.Epoch) }

// Next is the origin under which the region comes back after a loss.
func (o Origin) Next() Origin { return Origin{Region: o.Region, Epoch: o.Epoch + 1} }

// ParseOrigin reads a token made by String.
func ParseOrigin(s string) (Origin, error) {
	region, epoch, ok := strings.Cut(s, "_")
	n, err := strconv.Atoi(epoch)
	if !ok || err != nil || n < 1 || n > 1<<30 || strconv.Itoa(n) != epoch || !ValidRegion(region) {
		return Origin{}, bad("origin", s)
	}
	return Origin{Region: region, Epoch: n}, nil
}

// ValidRegion says whether s names a region: [a-z][a-z0-9-]{0,30}.
func ValidRegion(s string) bool {
	if s == "" || len(s) > 31 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return all(s, func(c byte) bool { return lower(c) || digit(c) || c == '-' })
}

// Scope says whether an event leaves its region.
type Scope byte

// The scopes.
const (
	Global   Scope = 'g' // replicated to the other regions
	Regional Scope = 'l' // stays
)

// Event is the subject of a stored event.
type Event struct {
	Origin    Origin
	Scope     Scope
	Partition int // 0 to MaxPartition
	Topic     string
	Type      string // event type; may span several tokens
}

// Append appends the subject evt.<origin>.<scope>.<partition>.<topic>.<type>.
func (e Event) Append(b []byte) []byte {
	b = append(b, "evt."...)
	b = append(b, e.Origin.Region...)
	b = append(b, '_')
	b = strconv.AppendInt(b, int64(e.Origin.Epoch), 10)
	b = append(b, '.', byte(e.Scope), '.')
	b = strconv.AppendInt(b, int64(e.Partition), 10)
	b = append(b, '.')
	b = append(b, e.Topic...)
	b = append(b, '.')
	return append(b, e.Type...)
}

// String is the subject as text.
func (e Event) String() string { return string(e.Append(make([]byte, 0, 96))) }

// Parse reads a subject made by Append and refuses everything else. The result shares memory with s.
func Parse(s string) (Event, error) {
	prefix, rest, _ := strings.Cut(s, ".")
	origin, rest, _ := strings.Cut(rest, ".")
	scope, rest, _ := strings.Cut(rest, ".")
	partition, rest, _ := strings.Cut(rest, ".")
	topic, typ, _ := strings.Cut(rest, ".")
	if prefix != "evt" || scope != "g" && scope != "l" || !ValidTopic(topic) && !ValidDerivedTopic(topic) || !ValidType(typ) {
		return Event{}, bad("event subject", s)
	}
	o, err := ParseOrigin(origin)
	if err != nil {
		return Event{}, err
	}
	n, err := strconv.Atoi(partition)
	if err != nil || n < 0 || n > MaxPartition || strconv.Itoa(n) != partition {
		return Event{}, bad("event subject", s)
	}
	return Event{Origin: o, Scope: Scope(scope[0]), Partition: n, Topic: topic, Type: typ}, nil
}

// ValidTopic says whether s names a topic: [a-z0-9_-]{1,64}.
func ValidTopic(s string) bool {
	return s != "" && len(s) <= 64 && all(s, func(c byte) bool { return lower(c) || digit(c) || c == '_' || c == '-' })
}

// ValidDerivedTopic says whether s is a topic that the mesh derived: <topic>~<major version>, the version
// without leading zeros.
func ValidDerivedTopic(s string) bool {
	topic, major, ok := strings.Cut(s, "~")
	return ok && ValidTopic(topic) && major != "" && len(major) <= 9 && all(major, digit) && (major == "0" || major[0] != '0')
}

// ValidType says whether s is an event type: [a-z0-9_]+(\.[a-z0-9_]+)*, at most 128 bytes. It takes bytes too,
// so that the decoder need not make a string first.
func ValidType[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	start := true
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.' && !start:
			start = true
		case lower(c) || digit(c) || c == '_':
			start = false
		default:
			return false
		}
	}
	return !start
}

// OfOrigin matches everything that an origin wrote.
func OfOrigin(o Origin) string { return "evt." + o.String() + ".>" }

// Replicated matches what an origin wrote and other regions source.
func Replicated(o Origin) string { return "evt." + o.String() + ".g.>" }

// ReplicatedEvents matches what Replicated does, markers left out.
func ReplicatedEvents(o Origin) string { return "evt." + o.String() + ".g.*.>" }

// Marker is where an origin writes its markers. Four tokens: no filter over events sees it.
func Marker(o Origin) string { return "evt." + o.String() + markerEnd }

// IsMarker says whether a subject is some origin's Marker.
func IsMarker(s string) bool {
	return strings.HasPrefix(s, "evt.") && strings.HasSuffix(s, markerEnd) && strings.Count(s, ".") == 3
}

const markerEnd = ".g.hb"

// RegionalOf matches what an origin wrote and what stays in its region.
func RegionalOf(o Origin) string { return "evt." + o.String() + ".l.>" }

// OriginOf is the origin whose events a subject or filter is about, false if it is about none or several.
func OriginOf(s string) (Origin, bool) {
	rest, ok := strings.CutPrefix(s, "evt.")
	token, _, _ := strings.Cut(rest, ".")
	o, err := ParseOrigin(token)
	return o, ok && err == nil
}

// Events matches every event of every origin, and no marker.
func Events() string { return "evt.*.*.*.>" }

// Topic matches the events of one topic.
func Topic(topic string) string { return "evt.*.*.*." + topic + ".>" }

// Partition matches the events of one partition.
func Partition(p int) string { return "evt.*.*." + strconv.Itoa(p) + ".>" }

// InPartition narrows a filter over events, such as Events, Topic or Partition make, to one partition: false if it matches
// none of it.
func InPartition(filter string, p int) (string, bool) {
	tokens := strings.Split(filter, ".")
	one := strconv.Itoa(p)
	if len(tokens) < 5 || tokens[0] != "evt" || tokens[3] != "*" && tokens[3] != one {
		return "", false
	}
	tokens[3] = one
	return strings.Join(tokens, "."), true
}

// PartitionTopic matches the events of one topic in one partition.
func PartitionTopic(p int, topic string) string {
	return "evt.*.*." + strconv.Itoa(p) + "." + topic + ".>"
}

// Control is the subject of a control record.
type Control struct {
	Origin   Origin
	Kind, ID string
}

// String is ctl.<origin>.<kind>.<id>.
func (c Control) String() string { return "ctl." + c.Origin.String() + "." + c.Kind + "." + c.ID }

// ParseControl reads a subject made by Control.String.
func ParseControl(s string) (Control, error) {
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 4 || parts[0] != "ctl" {
		return Control{}, bad("control subject", s)
	}
	o, err := ParseOrigin(parts[1])
	if err != nil {
		return Control{}, err
	}
	if !validKind(parts[2]) || !validID(parts[3]) {
		return Control{}, bad("control subject", s)
	}
	return Control{Origin: o, Kind: parts[2], ID: parts[3]}, nil
}

func validKind(s string) bool { return s != "" && len(s) <= 32 && all(s, lower) }

func validID(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		ok := token != "" && len(token) <= 128 && all(token, func(c byte) bool {
			return lower(c) || digit(c) || c >= 'A' && c <= 'Z' || strings.IndexByte("_:=-", c) >= 0
		})
		if !ok {
			return false
		}
	}
	return true
}

// ControlOf matches every record that an origin wrote.
func ControlOf(o Origin) string { return "ctl." + o.String() + ".>" }

// ControlHeartbeat is where a region's hub writes that it is alive.
func ControlHeartbeat(o Origin) string { return "ctl." + o.String() + ".hb.hub" }

// Guard is the subject of a group of request ids that a relay took.
type Guard struct {
	Origin Origin
	Relay  string // the relay's id
}

// String is grd.<origin>.<relay>.
func (g Guard) String() string { return "grd." + g.Origin.String() + "." + g.Relay }

// GuardOf matches every group that the relays of an origin wrote.
func GuardOf(o Origin) string { return "grd." + o.String() + ".*" }

// GuardAnywhere matches every group of every origin.
func GuardAnywhere() string { return "grd.*.*" }

// APIPrefix is a region's JetStream API as other regions see it.
func APIPrefix(region string) string { return "$JS." + region + ".API" }

// MessageGet is the local JetStream API that reads a message from the leader of a stream.
func MessageGet(stream string) string { return "$JS.API.STREAM.MSG.GET." + stream }

// RegionOfAPI is the region in a prefix made by APIPrefix, "" when it is none.
func RegionOfAPI(prefix string) string {
	region, ok := strings.CutPrefix(prefix, "$JS.")
	region, ok2 := strings.CutSuffix(region, ".API")
	if !ok || !ok2 {
		return ""
	}
	return region
}

// DeliverPrefix is where sourced messages are delivered on their way from one region to another.
func DeliverPrefix(to, from string) string { return "_SRC." + to + "." + from }

// InboxPrefix is the inbox of a region's own clients. It carries the region so that links can let replies
// to one region pass and no others.
func InboxPrefix(region string) string { return "_INB." + region }

// Digest is the service of a region's hub in each tenant account that tells the digest of stored events.
func Digest(region string) string { return "weft." + region + ".digest" }

// Remote is the service of a region's hub in each tenant account that tells relays when another region has stored
// what this one wrote.
func Remote(region string) string { return "weft." + region + ".remote" }

// Held is the service of a region's hub in each tenant account that tells the hubs of other regions how much of
// what they wrote is stored there, for as long as they want to know.
func Held(region string) string { return "weft." + region + ".held" }

// Credential is the service of a region's hub in CONTROL that signs users for relays.
func Credential(region string) string { return "weft." + region + ".credential" }

// Relays is where the relays of a region tell its hubs, in CONTROL, what they know.
func Relays(region string) string { return "weft." + region + ".relays" }

// Known is the service of a region's hub in CONTROL that tells other regions' hubs whether a change of the control
// state has come to its relays.
func Known(region string) string { return "weft." + region + ".known" }

// Position is the service of a region's hub in CONTROL that tells other regions how much of what they wrote
// is stored there.
func Position(region string) string { return "weft." + region + ".position" }

// Rejoin is the service of a region's hub in CONTROL by which region who announces that it goes on under another
// epoch. The name of who is in the subject, so that links let no region speak for another.
func Rejoin(region, who string) string { return "weft." + region + ".rejoin." + who }

// Repair is the service of a region's hub in CONTROL by which region who asks what is stored there, and takes
// what it has lost. The name of who is in the subject, so that no region is given what is another's to have.
func Repair(region, who string) string { return "weft." + region + ".repair." + who }

// Renewal is the service of a region's hub in CONTROL that renews the certificates of region who's relays and hubs: its
// own region's, and in the control home those of all. The name of who is in the subject, so that links let no region
// ask for another.
func Renewal(region, who string) string { return "weft." + region + ".renewal." + who }

func bad(what, s string) error {
	return fault.New("subject.parse", fault.Invalid, "invalid_subject", "%.100q is no %s", s, what)
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }
func digit(c byte) bool { return c >= '0' && c <= '9' }

func all(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
