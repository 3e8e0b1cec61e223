package deadletter_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestRecordSurvives(t *testing.T) {
	skew, index := int64(-540), 0
	r := &deadletter.Record{
		Cause: deadletter.Expired, Code: "timestamp_skew", Status: 401, Detail: "d", Pointer: "/payload/*", ReceivedAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Region: "eu", Relay: "r", Proof: deadletter.BySignature, Kid: "k", Producer: "p", RequestID: "q", TraceID: "t", Peer: "10.0.0.0/24", Skew: &skew,
		Index: &index, EventID: "e", EventType: "a.b", Topic: "c", Bytes: 7, SHA256: "s", Count: 1, Suppressed: 2,
	}
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := deadletter.Decode(raw)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%s is read as %+v, %v", raw, got, err)
	}
	if _, err := deadletter.Decode([]byte("{")); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	long := &deadletter.Record{Detail: strings.Repeat("x", 10_000)}
	if raw, err := long.Encode(); err != nil || len(raw) > 1000 || len(long.Detail) != 10_000 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

func TestPointerTellsNoNameOfTheProducers(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "/event_id": "/event_id", "/key/user_id": "/key/user_id", "/payload/ssn": "/payload/*", "/payload/bob@example.com/0/x": "/payload/*/0/*",
		"/ctx/geo": "/ctx/geo", "/12/event_id": "/12/event_id", "/payload/491701234567": "/payload/*", "/a~1b": "/*", "/": "/*",
	} {
		if got := deadletter.Pointer(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"203.0.113.77:443": "203.0.113.0/24", "[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1::/48", "[::ffff:203.0.113.77]:1": "203.0.113.0/24",
		"[fe80::1%eth0]:1": "fe80::/48", "": "", "@": "", "example.com:1": "",
	} {
		if got := deadletter.Network(in); got != want {
			t.Errorf("%q is in %q, want %q", in, got, want)
		}
	}
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range deadletter.Reasons() {
		if seen[r.Code] || !subject.ValidCode(r.Code) || r.Status < 400 || r.Status > 599 || !deadletter.IsCause(string(r.Cause)) {
			t.Errorf("%+v", r)
		}
		seen[r.Code] = true
		if _, err := subject.ParseReject(subject.Reject{Region: "eu", Cause: string(r.Cause), Code: r.Code}.String()); err != nil {
			t.Error(err)
		}
		if r.Cause.Kept() == (r.Status >= 500 || r.Status == 429) {
			t.Errorf("%s with status %d is kept: %v", r.Code, r.Status, r.Cause.Kept())
		}
	}
	if r, ok := deadletter.ReasonOf("no_such_code"); ok || r.Cause.Kept() {
		t.Errorf("%+v, %v", r, ok)
	}
}
