// Package grant turns roles into subject permissions.
//
// Hubs mint users with them. Every grant is an allow list: what is not on it is refused by the server, so
// a user can neither reach another region's JetStream nor forge what travels between regions, whatever the
// links let through. All functions are pure.
//
// # What a list of subjects cannot enforce
//
// A server answers an API request on whatever reply subject the request names, and does not check that
// subject against what the requester may publish: an owner or consumer can have an API answer (without any
// header) or a message that it pulls (with its headers, so under its old id) stored in its own tenant's
// stream. Readers therefore treat a message without weft's headers as no event.
//
// Whoever may create a consumer chooses its configuration, which is in the request's body: limits, start,
// and a deliver subject. (A consumer whose name and filter stand in the subject cannot have another name or
// filter: the server compares.)
package grant

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/streams/subject"
)

// Permissions are the subjects that a user may publish and subscribe to. An empty list allows nothing.
type Permissions struct {
	Publish   []string
	Subscribe []string
	Leaf      bool // for a link between servers; otherwise for a client
}

// localAPI is JetStream's API as a client of the own region reaches it. Servers map the form with their own
// domain's name to it before they look at permissions, so that form is allowed and denied alike.
const localAPI = "$JS.API."

// Owner is a tenant's owner: creates, inspects and consumes any durable on EVENTS, reads single messages and
// the log of refusals and the dead letters, discards and parks dead letters, publishes no event and changes no stream.
func Owner() Permissions {
	const s = subject.EventsStream
	return Permissions{
		Publish: slices.Concat(
			api("INFO", "STREAM.NAMES", "STREAM.LIST", "STREAM.INFO."+s, "STREAM.MSG.GET."+s, "DIRECT.GET."+s, "DIRECT.GET."+s+".>"),
			api("CONSUMER.CREATE."+s, "CONSUMER.CREATE."+s+".>", "CONSUMER.DURABLE.CREATE."+s+".*"),
			api("CONSUMER.NAMES."+s, "CONSUMER.LIST."+s),
			api("CONSUMER.INFO."+s+".*", "CONSUMER.DELETE."+s+".*", "CONSUMER.MSG.NEXT."+s+".*"),
			api("CONSUMER.PAUSE."+s+".*", "CONSUMER.UNPIN."+s+".*", "CONSUMER.RESET."+s+".*"),
			acks(s, "*"),
			[]string{subject.DeadLettersBy("*")},
			logReader(subject.RejectsStream),
			logReader(subject.DeadLettersStream),
			api("STREAM.MSG.DELETE."+subject.DeadLettersStream),
		),
		Subscribe: []string{"_INBOX.>", "_INB.>"},
	}
}

// logReader reads a tenant's log through consumers of its own.
func logReader(s string) []string {
	return slices.Concat(
		api("STREAM.INFO."+s, "STREAM.MSG.GET."+s, "DIRECT.GET."+s, "DIRECT.GET."+s+".>"),
		api("CONSUMER.CREATE."+s+".>", "CONSUMER.INFO."+s+".*", "CONSUMER.DELETE."+s+".*", "CONSUMER.MSG.NEXT."+s+".*"),
		acks(s, "*"),
	)
}

// Relay is a relay in a tenant's account: publishes events to every region, writes what was refused into its
// own region's log and what has no schema into the dead letters, asks for the digests of originals and whether another region has an event. Its answers come to its own inbox, RelayInbox. An id that is not ValidID is granted nothing.
func Relay(region, relayID string) Permissions {
	if !ValidID(relayID) {
		return Permissions{}
	}
	return Permissions{
		Publish:   []string{"evt.*.*.*.*.>", subject.RejectsOf(region), subject.DeadLettersOfRelays(region), digestAnywhere, remoteAnywhere},
		Subscribe: []string{RelayInbox(region, relayID) + ".>"},
	}
}

// RelayInbox is the inbox prefix that a relay must connect with in a tenant's account.
func RelayInbox(region, relayID string) string { return subject.InboxPrefix(region) + "." + relayID }

// ControlReader is a relay in the CONTROL account: reads the control log and the journal of request ids through
// consumers of its own, writes into that journal, asks for credentials and its next certificate, and tells the hub what it knows. Its inbox
// prefix is the region's. What it may write to names no region, because the epoch does not fit into a wildcard; the
// links let none of it pass.
func ControlReader(region string) Permissions {
	p := Permissions{
		Publish:   append(api("INFO"), subject.Credential(region), subject.Renewal(region, region), subject.Relays(region), subject.GuardAnywhere()),
		Subscribe: []string{subject.InboxPrefix(region) + ".>"},
	}
	for _, s := range []string{subject.ControlStream, subject.GuardStream} {
		p.Publish = append(p.Publish, slices.Concat(
			api("STREAM.INFO."+s, "CONSUMER.CREATE."+s+".>"),
			api("CONSUMER.INFO."+s+".*", "CONSUMER.DELETE."+s+".*", "CONSUMER.MSG.NEXT."+s+".*"),
			acks(s, "*"),
		)...)
	}
	return p
}

// Consumer is a consumer bound to its durables and topics: creates, inspects and pulls those durables, each
// with exactly one of the topics as its filter, parks what they give up, pulls what of that is requeued, and reads no message otherwise. Any event type below the
// topic may be filtered for.
//
// A durable that is not ValidID and a topic that is not valid are left out: they would widen the list.
//
// The client must connect with ConsumerInbox of one of its durables as its inbox prefix: a shared inbox
// would show it what other consumers of the account are sent.
func Consumer(durables, topics []string) Permissions {
	const s = subject.EventsStream
	p := Permissions{Publish: api("INFO", "STREAM.INFO."+s)}
	for _, d := range durables {
		if !ValidID(d) {
			continue
		}
		p.Publish = append(p.Publish, api("CONSUMER.INFO."+s+"."+d, "CONSUMER.MSG.NEXT."+s+"."+d)...)
		for _, t := range topics {
			if subject.ValidTopic(t) || subject.ValidDerivedTopic(t) {
				p.Publish = append(p.Publish, api("CONSUMER.CREATE."+s+"."+d+"."+subject.Topic(t))...)
			}
		}
		p.Publish = append(p.Publish, acks(s, d)...)
		p.Publish = append(p.Publish, subject.DeadLettersBy(d))
		const again = subject.DeadLettersStream // what is requeued, through a durable that the owner makes
		p.Publish = append(p.Publish, api("CONSUMER.INFO."+again+"."+d, "CONSUMER.MSG.NEXT."+again+"."+d)...)
		p.Publish = append(p.Publish, acks(again, d)...)
		p.Subscribe = append(p.Subscribe, ConsumerInbox(d)+".>")
	}
	return p
}

// ConsumerInbox is the inbox prefix of a client that is bound to the durable.
func ConsumerInbox(durable string) string { return "_INBOX." + durable }

// Service is the hub's own user in a tenant's account or in CONTROL: it manages the streams of its own
// region, publishes markers, heartbeats and repaired copies, which stay in the region, under the live origin
// and the next, and answers requests that come from any region.
func Service(self subject.Origin) Permissions {
	p := Permissions{
		Publish: []string{
			localAPI + ">", subject.APIPrefix(self.Region) + ".>", "$JS.ACK.>",
			"_INB.>", // answers
			"weft.*.position", "weft.*.known", "weft.*.held", subject.Rejoin("*", self.Region), subject.Repair("*", self.Region),
			subject.Renewal("*", self.Region),
		},
		Subscribe: []string{
			subject.InboxPrefix(self.Region) + ".>",
			subject.Digest(self.Region), subject.Remote(self.Region), subject.Held(self.Region), subject.Credential(self.Region),
			subject.Position(self.Region), subject.Known(self.Region), subject.Relays(self.Region), subject.Rejoin(self.Region, "*"), subject.Repair(self.Region, "*"),
			subject.Renewal(self.Region, "*"),
			"$JS.EVENT.ADVISORY.>",
		},
	}
	for _, o := range []subject.Origin{self, self.Next()} {
		p.Publish = append(p.Publish, subject.Marker(o), subject.RegionalOf(o), subject.ControlOf(o))
	}
	return p
}

// System is the hub's own user in its region's system account: asks the servers and hears their events.
func System(region string) Permissions {
	return Permissions{
		Publish:   []string{"$SYS.REQ.>"},
		Subscribe: []string{"$SYS.>", "_INBOX.>", subject.InboxPrefix(region) + ".>"},
	}
}

// ValidID says whether s may name a relay or a durable: [A-Za-z0-9_-]{1,64}, one subject token.
func ValidID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	})
}

// subject.Digest and subject.Remote of every region.
const (
	digestAnywhere = "weft.*.digest"
	remoteAnywhere = "weft.*.remote"
)

func api(requests ...string) []string {
	out := make([]string, len(requests))
	for i, r := range requests {
		out[i] = localAPI + r
	}
	return out
}

// acks are the acknowledgements of a stream's consumer in the servers' two forms: without and with the
// domain and the account's hash.
func acks(stream, consumer string) []string {
	return []string{"$JS.ACK." + stream + "." + consumer + ".>", "$JS.ACK.*.*." + stream + "." + consumer + ".>"}
}
