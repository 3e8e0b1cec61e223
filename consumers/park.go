package consumers

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// deadLetter is what parks when Options.Park is nil: it stores the event in the tenant's DLQ of this region.
func (s *Subscription) deadLetter(ctx context.Context, p *Parked) error {
	call, cancel := context.WithTimeout(ctx, s.opts.APITimeout)
	defer cancel()
	region, err := s.ownRegion(call)
	if err != nil {
		return err
	}
	m := p.Message
	letter := &deadletter.Letter{
		Cause: p.Cause.String(), Consumer: s.opts.Durable, Region: region, ParkedAt: time.Now(), Attempts: p.Attempts,
		FirstAt: p.FirstAt, FirstError: p.First.Error(), LastAt: p.LastAt, LastError: p.Last.Error(),
		EventID: m.EventID, Subject: m.Subject.String(), Origin: m.Origin.String(), OriginSeq: m.OriginSeq, TraceID: traceID(m.Header.Get(header.TraceParent)),
		Requeued: m.Requeued,
	}
	msg, err := letter.Message(m.Header, m.Raw)
	if err != nil {
		return err
	}
	_, err = s.js.PublishMsg(call, msg, jetstream.WithExpectStream(subject.DeadLettersStream))
	return fault.Wrap("consumers.park", fault.Unavailable, err)
}

// ownRegion is the region whose stream is read: the one whose events are stored there first.
func (s *Subscription) ownRegion(ctx context.Context) (string, error) {
	if known := s.region.Load(); known != nil {
		return *known, nil
	}
	const op = "consumers.park"
	stream, err := s.js.Stream(ctx, s.opts.Stream)
	if err != nil {
		return "", fault.Wrap(op, fault.Unavailable, err)
	}
	for _, of := range stream.CachedInfo().Config.Subjects {
		rest, _ := strings.CutPrefix(of, "evt.")
		token, _, _ := strings.Cut(rest, ".")
		if origin, err := subject.ParseOrigin(token); err == nil {
			s.region.Store(&origin.Region)
			return origin.Region, nil
		}
	}
	return "", fault.New(op, fault.Conflict, "no_region", "stream %s stores no region's events: set Options.Park", s.opts.Stream)
}

// traceID is the second field of a W3C traceparent.
func traceID(parent string) string {
	_, rest, _ := strings.Cut(parent, "-")
	id, _, _ := strings.Cut(rest, "-")
	return id
}
