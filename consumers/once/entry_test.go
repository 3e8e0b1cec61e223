package once_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/once"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// To a store an event and its copy in another major version are one event, and another content under its id is none.
func TestEntryOfACopyIsItsOriginals(t *testing.T) {
	raw := func(version, payload string) []byte {
		return []byte(`{"event_id":"e1","event_type":"bet.placed","schema_version":"` + version + `","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"u"},"source_seq":7,"source_epoch":2,"payload":` + payload + `}`)
	}
	sum, err := event.Digest(raw("1.0.0", `{"amount":1}`))
	if err != nil {
		t.Fatal(err)
	}
	message := func(id, digest string, raw []byte) *consumers.Message {
		h := nats.Header{header.Source: {"wallet"}}
		if digest != "" {
			h.Set(header.DerivedDigest, digest)
		}
		return &consumers.Message{Raw: raw, EventID: id, Header: h, Origin: subject.Origin{Region: "eu", Epoch: 1}, OriginSeq: 9, IngestedAt: time.Unix(5, 0)}
	}
	entry, err := once.Entry(message("e1", "", raw("1.0.0", `{"amount":1}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := idempotency.Entry{
		EventID: "e1", Digest: sum, Source: "wallet", UserID: "u", SourceEpoch: 2, SourceSeq: 7, HasSourceSeq: true,
		Origin: subject.Origin{Region: "eu", Epoch: 1}, OriginSeq: 9, OccurredAt: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), IngestedAt: time.Unix(5, 0),
	}
	if entry != want {
		t.Errorf("%+v", entry)
	}
	copied, err := once.Entry(message("e1~v2", hex.EncodeToString(sum[:]), raw("2.0.0", `{"stake":100}`)))
	if err != nil || copied != want {
		t.Errorf("of the copy %+v, %v", copied, err)
	}
	other, err := once.Entry(message("e1", "", raw("2.0.0", `{"stake":100}`)))
	if err != nil || other.Digest == want.Digest || other.EventID != want.EventID {
		t.Errorf("of another event under the id: %+v, %v", other, err)
	}
	for _, digest := range []string{"00", "no hex", hex.EncodeToString(sum[:]) + "00"} {
		if _, err := once.Entry(message("e1~v2", digest, raw("2.0.0", `{}`))); !strings.Contains(fmt.Sprint(err), header.DerivedDigest) {
			t.Errorf("%q: %v", digest, err)
		}
	}
	if _, err := once.Entry(message("e1", "", []byte(`{`))); err == nil {
		t.Error("half an event has an entry")
	}
}
