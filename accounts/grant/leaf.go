package grant

import (
	"slices"

	"github.com/weft-mesh/weft/streams/subject"
)

// Family is a kind of stream that regions replicate to each other.
type Family struct {
	Stream     string
	All        func(subject.Origin) string  // everything that an origin writes and other regions may send it; may be nil
	Replicated func(subject.Origin) string  // what of it the others source
	Services   []func(region string) string // of the hub at region, for the hubs and relays of others
	Notices    []func(region, who string) string
}

// EventsFamily is EVENTS of a tenant's account.
func EventsFamily() Family {
	return Family{
		Stream: subject.EventsStream, All: subject.OfOrigin, Replicated: subject.Replicated,
		Services: []func(string) string{subject.Digest, subject.Remote, subject.Held},
	}
}

// ControlFamily is CONTROL of the operator's account.
func ControlFamily() Family {
	return Family{
		Stream: subject.ControlStream, All: subject.ControlOf, Replicated: subject.ControlOf,
		Services: []func(string) string{subject.Position, subject.Known},
		Notices:  []func(string, string) string{subject.Rejoin, subject.Repair, subject.Renewal},
	}
}

// GuardFamily is GUARD of the operator's account. Nothing of it is published from one region into another.
func GuardFamily() Family {
	return Family{Stream: subject.GuardStream, Replicated: subject.GuardOf}
}

// Leaf is the user of a link: the soliciting region's servers present it to the accepting region's. It
// covers the live origins given and the next epoch of each; when an origin moves on, the user is minted
// anew before that epoch ends. families are the replicated streams of the link's account.
func Leaf(solicitor, acceptor subject.Origin, families ...Family) Permissions {
	return Permissions{
		Publish:   toward(solicitor, acceptor, families),
		Subscribe: toward(acceptor, solicitor, families),
		Leaf:      true,
	}
}

// toward lists what region x may send to region y:
//
//   - what is to be stored there, under y's own origins: an event that has its home at y;
//   - requests for consumers on y's stream, with which x sources it; the filter is in the subject, so that
//     only what replicates can be asked for: y's events, and x's own of earlier epochs back;
//   - a literal that nothing serves: a server announces its interest below $JS.<domain>.API.CONSUMER only
//     if a literal of that depth is allowed, and without it the wildcard entries stop all requests from
//     acceptor to solicitor, unlogged;
//   - flow control, without which sourcing stalls after about 5,000 messages;
//   - requests to y's hub, and those to it that bear x's name;
//   - answers to y's requests, messages that y sources, and acknowledgements to y's publishers.
func toward(x, y subject.Origin, families []Family) []string {
	api := subject.APIPrefix(y.Region) + ".CONSUMER."
	var out []string
	for _, f := range families {
		if f.All != nil {
			out = append(out, f.All(y), f.All(y.Next()))
		}
		for _, o := range append(upTo(y.Next()), upTo(x)...) {
			out = append(out, api+"CREATE."+f.Stream+".*."+f.Replicated(o))
		}
	}
	out = append(out, api+"weft")
	for _, f := range families {
		out = append(out, "$JS.FC."+f.Stream+".>")
	}
	out = append(out,
		"$JSC.R.>",
		subject.DeliverPrefix(y.Region, x.Region)+".>",
		subject.InboxPrefix(y.Region)+".>",
	)
	for _, f := range families {
		for _, service := range f.Services {
			out = append(out, service(y.Region))
		}
		for _, notice := range f.Notices {
			out = append(out, notice(y.Region, x.Region))
		}
	}
	return slices.Clip(out)
}

// upTo lists an origin's epochs from the first to the given one: history is asked for by the origins that
// wrote it.
func upTo(o subject.Origin) []subject.Origin {
	var out []subject.Origin
	for e := 1; e <= o.Epoch; e++ {
		out = append(out, subject.Origin{Region: o.Region, Epoch: e})
	}
	return out
}
