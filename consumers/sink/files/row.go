package files

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
)

// row is one event as a file has it. The partition columns dt and hour are in the file's path.
type row struct {
	EventID       string   `parquet:"event_id"`
	EventType     string   `parquet:"event_type,dict"`
	SchemaVersion string   `parquet:"schema_version,dict"`
	Topic         string   `parquet:"topic,dict"`
	OccurredAt    int64    `parquet:"occurred_at,timestamp(microsecond)"`
	IngestedAt    int64    `parquet:"ingested_at,timestamp(microsecond)"`
	StoredAt      int64    `parquet:"stored_at,timestamp(microsecond)"`
	UserID        string   `parquet:"user_id"`
	Source        string   `parquet:"source,optional,dict"`
	SourceEpoch   *decimal `parquet:"source_epoch,optional,decimal(0:20)"`
	SourceSeq     *decimal `parquet:"source_seq,optional,decimal(0:20)"`
	Origin        string   `parquet:"origin,dict"`
	OriginSeq     int64    `parquet:"origin_seq"`
	Relay         string   `parquet:"relay,dict"`
	Kid           string   `parquet:"kid,optional,dict"`
	TraceParent   string   `parquet:"traceparent,optional"`
	DerivedFrom   string   `parquet:"derived_from,optional"`
	Replayed      string   `parquet:"replayed,optional,dict"`
	Key           string   `parquet:"key"`
	Payload       string   `parquet:"payload"`
	Ctx           string   `parquet:"ctx,optional"`
	Raw           string   `parquet:"raw,optional"`
}

// column is what the table says of a column of the files.
type column struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
	Metadata any    `json:"metadata"`
}

const numeric = "decimal(20,0)" // holds every number up to 2^64-1

// columns are those of row, then the ones of the partitions.
func columns() []column {
	list := []column{
		{Name: "event_id", Type: "string"}, {Name: "event_type", Type: "string"}, {Name: "schema_version", Type: "string"}, {Name: "topic", Type: "string"},
		{Name: "occurred_at", Type: "timestamp"}, {Name: "ingested_at", Type: "timestamp"}, {Name: "stored_at", Type: "timestamp"},
		{Name: "user_id", Type: "string"}, {Name: "source", Type: "string", Nullable: true},
		{Name: "source_epoch", Type: numeric, Nullable: true}, {Name: "source_seq", Type: numeric, Nullable: true},
		{Name: "origin", Type: "string"}, {Name: "origin_seq", Type: "long"}, {Name: "relay", Type: "string"},
		{Name: "kid", Type: "string", Nullable: true}, {Name: "traceparent", Type: "string", Nullable: true},
		{Name: "derived_from", Type: "string", Nullable: true}, {Name: "replayed", Type: "string", Nullable: true},
		{Name: "key", Type: "string"}, {Name: "payload", Type: "string"}, {Name: "ctx", Type: "string", Nullable: true}, {Name: "raw", Type: "string", Nullable: true},
		{Name: "dt", Type: "date"}, {Name: "hour", Type: "integer"},
	}
	for i := range list {
		list[i].Metadata = struct{}{}
	}
	return list
}

// decimal is a whole number as Parquet keeps a DECIMAL(20, 0): two's complement, big-endian.
type decimal [9]byte

func newDecimal(n uint64) *decimal {
	var d decimal
	binary.BigEndian.PutUint64(d[1:], n)
	return &d
}

// newRow makes the row of an event that was decoded.
func newRow(m *consumers.Message, e *event.Event, raw bool) row {
	key, payload, ctx := members(m.Raw)
	r := row{
		EventID: m.EventID, EventType: e.Type, SchemaVersion: e.SchemaVersion, Topic: m.Subject.Topic,
		OccurredAt: e.OccurredAt.UnixMicro(), IngestedAt: m.IngestedAt.UnixMicro(), StoredAt: m.StoredAt.UnixMicro(),
		UserID: e.UserID, Source: m.Header.Get(header.Source), Origin: m.Origin.String(), OriginSeq: int64(m.OriginSeq), //nolint:gosec // a stream's sequence
		Relay: m.Header.Get(header.Relay), Kid: m.Header.Get(header.Kid), TraceParent: m.Header.Get(header.TraceParent),
		DerivedFrom: m.Header.Get(header.DerivedFrom), Replayed: m.Header.Get(header.Replayed),
		Key: string(key), Payload: string(payload), Ctx: string(ctx),
	}
	if e.HasSourceSeq {
		r.SourceEpoch, r.SourceSeq = newDecimal(e.SourceEpoch), newDecimal(e.SourceSeq)
	}
	if raw {
		r.Raw = string(m.Raw)
	}
	return r
}

// members cuts the objects out of an event that was decoded; "" for one that is missing.
func members(raw []byte) (key, payload, ctx string) {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() == jsontext.KindString {
		var name jsontext.Token
		if name, err = d.ReadToken(); err != nil {
			break
		}
		var into *string
		switch name.String() {
		case "key":
			into = &key
		case "payload":
			into = &payload
		case "ctx":
			into = &ctx
		default:
			err = d.SkipValue()
			continue
		}
		var value jsontext.Value
		value, err = d.ReadValue()
		*into = string(value)
	}
	return key, payload, ctx
}

// content is what two events of one id must have in common to be copies: the digest of a row's own words.
func (r *row) content() ([32]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"event_type":"` + r.EventType + `","key":` + r.Key + `,"payload":` + r.Payload)
	if r.SourceSeq != nil {
		b.WriteString(`,"source_seq":` + strconv.FormatUint(binary.BigEndian.Uint64(r.SourceSeq[1:]), 10))
	}
	b.WriteByte('}')
	return event.Digest(b.Bytes())
}

// hourOf is the partition of an event: the hour in which its producer says that it occurred.
func hourOf(e *event.Event) time.Time { return e.OccurredAt.UTC().Truncate(time.Hour) }
