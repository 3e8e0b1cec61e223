package deadletter_test

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

func letter() *deadletter.Letter {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	return &deadletter.Letter{
		Cause: "panic", Consumer: "Ledger", Region: "us", ParkedAt: at, Attempts: 3, FirstAt: at, FirstError: "a\r\nNats-Msg-Id: x", LastAt: at, LastError: "b",
		EventID: "e-1", Subject: "evt.eu_1.g.7.bets.bet.placed", Origin: "eu_1", OriginSeq: 42, TraceID: "t",
	}
}

func TestLetterSurvives(t *testing.T) {
	original := nats.Header{header.MsgID: {"e-1"}, "Nats-Stream-Source": {"EVENTS 3"}, "nats-expected-stream": {"EVENTS"}, header.Kid: {"k"}, header.TraceParent: {"00-t"}}
	raw := []byte("{ \"event_id\":\t\"e-1\" }")
	l := letter()
	msg, err := l.Message(original, raw)
	if err != nil {
		t.Fatal(err)
	}
	if msg.Subject != "dlq.us.panic.bets.Ledger" || string(msg.Data) != string(raw) || msg.Header.Get(header.Kid) != "k" || msg.Header.Get(header.TraceParent) != "00-t" {
		t.Errorf("%+v", msg)
	}
	if len(msg.Header) != 4 || msg.Header.Get(header.MsgID) == "e-1" || strings.ContainsAny(msg.Header.Get(header.DeadLetter), "\r\n") {
		t.Errorf("headers %v", msg.Header)
	}
	if got, err := deadletter.LetterOf(msg.Header); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("read as %+v, %v", got, err)
	}
	again, _ := l.Message(original, raw)
	l.FirstAt = l.FirstAt.Add(1)
	later, _ := l.Message(original, raw)
	if again.Header.Get(header.MsgID) != msg.Header.Get(header.MsgID) || later.Header.Get(header.MsgID) == msg.Header.Get(header.MsgID) {
		t.Errorf("ids %s, %s, %s", msg.Header.Get(header.MsgID), again.Header.Get(header.MsgID), later.Header.Get(header.MsgID))
	}
}

func TestLetterIsBounded(t *testing.T) {
	l := letter()
	l.FirstError, l.LastError = strings.Repeat("ü", 10_000), strings.Repeat("x\xff", 10_000)
	msg, err := l.Message(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := msg.Header.Get(header.DeadLetter)
	if got, err := deadletter.LetterOf(msg.Header); err != nil || len(text) > 2000 || !utf8.ValidString(got.FirstError) || len(got.FirstError) < 300 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	l.Subject = "evt.eu.x"
	if _, err := l.Message(nil, nil); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	if _, err := deadletter.LetterOf(nats.Header{}); fault.CodeOf(err) != "invalid_letter" {
		t.Error(err)
	}
}
