package uplink

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/subject"
)

// compare looks at every result that the server called a duplicate: its content must be the original's.
// The server compares ids only, so without this a second event under a known id would be told that it
// is stored.
func (u *Uplink) compare(ctx context.Context, msgs []Message, results []Result) {
	var regions []string
	for i := range results {
		if results[i].Status == Duplicate && !slices.Contains(regions, msgs[i].Region) {
			regions = append(regions, msgs[i].Region)
		}
	}
	for _, region := range regions {
		u.compareIn(ctx, region, msgs, results)
	}
}

func (u *Uplink) compareIn(ctx context.Context, region string, msgs []Message, results []Result) {
	ctx, cancel := context.WithTimeout(ctx, u.s.DigestTimeout)
	defer cancel()
	var seqs []uint64
	for i := range results {
		if results[i].Status == Duplicate && msgs[i].Region == region {
			seqs = append(seqs, results[i].Seq)
		}
	}
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	known := make(map[uint64]original.Digest, len(seqs))
	for part := range slices.Chunk(seqs, original.MaxSeqs) {
		if ask(ctx, u.conn, region, part, known) != nil {
			break // what was not answered stays unknown
		}
	}
	for i := range results {
		if results[i].Status == Duplicate && msgs[i].Region == region {
			results[i] = settleDuplicate(&msgs[i], results[i].Seq, known)
		}
	}
}

func ask(ctx context.Context, conn *nats.Conn, region string, seqs []uint64, known map[uint64]original.Digest) error {
	body, err := json.Marshal(original.Request{Seqs: seqs})
	if err != nil {
		return err
	}
	m, err := conn.RequestWithContext(ctx, subject.Digest(region), body)
	if err != nil {
		return err
	}
	var answer original.Response
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	for _, d := range answer.Digests {
		known[d.Seq] = d
	}
	return nil
}

func settleDuplicate(m *Message, seq uint64, known map[uint64]original.Digest) Result {
	d, ok := known[seq]
	switch {
	case !ok:
		return unavailable(CodeDigestUnavailable, "an event with this event_id is stored, but its content could not be compared")
	case d.Error != "":
		return unavailable(CodeDigestUnavailable, "an event with this event_id was stored, but is no longer there to be compared")
	case d.EventID != m.ID:
		return Result{Status: Rejected, Code: CodeEventIDConflict, Detail: "event_id is taken by another event"}
	case m.DerivedFrom != "": // made of the same event, which was compared; maybe by the mapping that there was before
		return Result{Status: Duplicate, Seq: seq, copies: copiesOf(m, &d)}
	}
	sum, err := event.Digest(m.Data)
	if err != nil {
		return unavailable(CodeDigestUnavailable, "the content has no canonical form to be compared")
	}
	if hex.EncodeToString(sum[:]) != d.Digest {
		return Result{Status: Rejected, Code: CodeEventIDConflict,
			Detail: "event_id is taken: an event with this id and other content (event_type, key, source_seq, payload) is stored"}
	}
	return Result{Status: Duplicate, Seq: seq, copies: copiesOf(m, &d)}
}

// copiesOf says whether a position of another region can tell of the original of a duplicate: what it came from
// has it, and what its region's live origin wrote is on its way. A regional event leaves no trace in positions.
func copiesOf(m *Message, d *original.Digest) copies {
	switch {
	case !m.Remote:
		return awaited
	case d.Sourced:
		return elsewhere
	case d.Origin != "" && d.Origin == originOf(m):
		return awaited
	}
	return unshared
}
