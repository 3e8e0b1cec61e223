// Package streams is every stream of weft as data: what it is configured like, how what is there differs
// from it (MakePlan) and how to make it so (Apply), and what must not be built at all (CheckLoops,
// CheckCapacity).
//
// The hub applies and watches streams, cmd/weft shows plans. Nothing in here knows of roles, accounts or
// servers: it is handed a JetStream context of one account in one region.
//
// # Concurrency
//
// Configurations, Diff, CheckLoops and CheckCapacity are pure. MakePlan, Apply, AddSourceTo, DropSourceOf and Kick
// hold no state and may be called from any goroutine, but each reads a stream's configuration and writes
// it back: two of them on the same stream at the same time can undo each other, so one stream has one
// caller at a time.
package streams

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/subject"
)

const (
	// DefaultDuplicates is the window in which a message id is stored once. A stream with sources has none
	// unless it is set.
	DefaultDuplicates = 2 * time.Minute
	// controlVersions is how many records of each control subject are kept.
	controlVersions = 8
)

// EventsSpec is what differs between one EVENTS stream and another.
type EventsSpec struct {
	Self       subject.Origin   // what the region stores as its own
	History    []subject.Origin // its own older epochs, read back from the first peer after a loss of data
	Peers      []subject.Origin // whose events it copies: one for each other region and epoch
	Replicas   int              // 0 = 1
	MaxBytes   int64            // 0 = no limit
	MaxAge     time.Duration    // 0 = for ever
	Duplicates time.Duration    // 0 = DefaultDuplicates
}

// EventsConfig is the stream of a tenant in a region: it stores what its own region originates and copies
// from every other region only what that one originated, so that nothing can go round.
func EventsConfig(s EventsSpec) jetstream.StreamConfig {
	c := base(subject.EventsStream, subject.OfOrigin(s.Self), s.Replicas)
	c.MaxBytes = unlimited(s.MaxBytes)
	c.MaxAge = s.MaxAge
	c.Discard = jetstream.DiscardNew // full is an answer and an alarm, never a silent loss of the oldest
	c.DenyDelete = true
	c.AllowMsgTTL = true
	if s.Duplicates > 0 {
		c.Duplicates = s.Duplicates
	}
	if s.MaxAge > 0 {
		c.Duplicates = min(c.Duplicates, s.MaxAge) // the server refuses a window longer than the age
	}
	if len(s.Peers) > 0 {
		for _, old := range s.History {
			c.Sources = append(c.Sources, Source(c.Name, s.Self.Region, s.Peers[0].Region, subject.Replicated(old)))
		}
	}
	for _, p := range s.Peers {
		c.Sources = append(c.Sources, Source(c.Name, s.Self.Region, p.Region, subject.Replicated(p)))
	}
	return c
}

// ControlSpec is what differs between the CONTROL streams of the regions.
type ControlSpec struct {
	Self     subject.Origin
	Peers    []subject.Origin
	Replicas int // 0 = 1
}

// ControlConfig is the log of the control state in a region, replicated like events but without a scope: all
// of it goes everywhere, and of each record the last few versions are kept.
func ControlConfig(s ControlSpec) jetstream.StreamConfig {
	c := base(subject.ControlStream, subject.ControlOf(s.Self), s.Replicas)
	c.MaxMsgsPerSubject = controlVersions
	for _, p := range s.Peers {
		c.Sources = append(c.Sources, Source(c.Name, s.Self.Region, p.Region, subject.ControlOf(p)))
	}
	return c
}

// GuardAge is how long a region keeps the ids of requests: longer than any of them can be valid, and than the
// clocks of relays may differ on top of that.
const GuardAge = 15 * time.Minute

// GuardSpec is what differs between the GUARD streams of the regions.
type GuardSpec struct {
	Self     subject.Origin
	Peers    []subject.Origin
	Replicas int   // 0 = 1
	MaxBytes int64 // 0 = no limit
}

// GuardConfig is the journal of request ids in a region: all of it goes everywhere. Full is an answer: with an
// older id dropped, its request could be sent again.
func GuardConfig(s GuardSpec) jetstream.StreamConfig {
	c := base(subject.GuardStream, subject.GuardOf(s.Self), s.Replicas)
	c.MaxAge, c.MaxBytes, c.Discard = GuardAge, unlimited(s.MaxBytes), jetstream.DiscardNew
	c.Compression = jetstream.NoCompression // hashes do not shrink
	for _, p := range s.Peers {
		c.Sources = append(c.Sources, Source(c.Name, s.Self.Region, p.Region, subject.GuardOf(p)))
	}
	return c
}

// base has what all our streams have in common, with the limits that the server would fill in written out.
func base(name, subjects string, replicas int) jetstream.StreamConfig {
	compression := jetstream.S2Compression
	if replicas > 1 {
		// A server that was killed shortens the last block of a replicated stream when it comes back, and cannot if
		// that is compressed: the stream refuses writes, and with all servers killed at once stays without a leader.
		compression = jetstream.NoCompression
	}
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{subjects},
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Compression: compression,
		Replicas: max(1, replicas), Duplicates: DefaultDuplicates, AllowDirect: true,
		MaxBytes: -1, MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	}
}

// Source copies what matches filter from the stream of the same name in another region. OptStartSeq 1 is not
// the default that it looks like: without it a source of which the stream holds no message any more starts
// at the time of the stream's last message and silently skips what is older. The filter must not be a
// subject transform: that makes the server read the whole stream whenever the source is added.
func Source(stream, to, from, filter string) *jetstream.StreamSource {
	return &jetstream.StreamSource{
		Name: stream, FilterSubject: filter, OptStartSeq: 1,
		External: &jetstream.ExternalStream{APIPrefix: subject.APIPrefix(from), DeliverPrefix: subject.DeliverPrefix(to, from)},
	}
}

func unlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}
