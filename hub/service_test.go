package hub

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/subject"
)

const wholeEvent = `{"event_id":"e1","event_type":"a.b","schema_version":"1.0.0","occurred_at":"2026-01-01T00:00:00Z","key":{"user_id":"u"},"payload":{"n":1}}`

// A relay in one region asks the other region's hub, over the link, what an original says.
func TestDigestsOfOriginalsAcrossRegions(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	relay := m.publisher("eu-0", "acme")
	us := m.hubs["us-0"].Origin()
	ack, err := relay.js.PublishMsg(t.Context(), &nats.Msg{Subject: eventSubject(us, subject.Regional, 1), Data: []byte(wholeEvent), Header: nats.Header{nats.MsgIdHdr: {"e1"}}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(original.Request{Seqs: []uint64{ack.Sequence, ack.Sequence + 1000}})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := relay.conn.Request(subject.Digest("us"), raw, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var resp original.Response
	if err := json.Unmarshal(answer.Data, &resp); err != nil {
		t.Fatal(err)
	}
	want, err := event.Digest([]byte(wholeEvent))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Digests) != 2 || resp.Digests[0].EventID != "e1" || resp.Digests[0].Digest != hex.EncodeToString(want[:]) {
		t.Errorf("the original is described as %+v", resp.Digests)
	}
	if len(resp.Digests) == 2 && resp.Digests[1].Error != original.NotFound {
		t.Errorf("a sequence that was never stored: %+v", resp.Digests[1])
	}
}

// A relay asks whether an id is stored by a message that no stream takes: one that stands alone, one of three servers
// and one behind a link all say so of an id that they know, and keep nothing of one that they do not.
func TestAQuestionIsStoredNowhere(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), cluster("us"))
	m.start()
	m.settled("acme")
	eu, us := m.publisher("eu-0", "acme"), m.publisher("us-1", "acme")
	eu1, us1 := m.hubs["eu-0"].Origin(), m.hubs["us-0"].Origin()
	ask := func(s *session, o subject.Origin, id string) *jetstream.PubAck {
		t.Helper()
		ack, err := s.js.PublishMsg(t.Context(), &nats.Msg{Subject: eventSubject(o, subject.Global, 1), Header: nats.Header{header.MsgID: {id}, header.Rollup: {header.NoRollup}}})
		if err == nil {
			return ack
		}
		if refused := (&jetstream.APIError{}); !errors.As(err, &refused) || refused.ErrorCode != 10111 {
			t.Fatalf("%s in %s: %v", id, o, err)
		}
		return nil
	}
	type way struct {
		name string
		from *session
		to   subject.Origin
	}
	ways := []way{{"alone", eu, eu1}, {"of three", us, us1}, {"over the link", eu, us1}}
	for i, w := range ways {
		id := fmt.Sprintf("asked-%d", i)
		for range 3 {
			if ack := ask(w.from, w.to, id); ack != nil {
				t.Errorf("%s: what was never stored is at %+v", w.name, ack)
			}
		}
		stored := store(t, w.from, eventSubject(w.to, subject.Global, 1), id) // the question leaves nothing behind
		if stored.Duplicate || stored.Sequence == 0 {
			t.Fatalf("%s: %+v", w.name, stored)
		}
		if ack := ask(w.from, w.to, id); ack == nil || !ack.Duplicate || ack.Sequence != stored.Sequence || ack.Domain != w.to.Region {
			t.Errorf("%s: stored at %d, and told as %+v", w.name, stored.Sequence, ack)
		}
	}
	m.converged("acme", len(ways), 20*time.Second, "eu-0", "us-0")
	for i := range ways { // what came from the other region is known as well
		id := fmt.Sprintf("asked-%d", i)
		for name, ack := range map[string]*jetstream.PubAck{"eu": ask(eu, eu1, id), "us": ask(us, us1, id)} {
			if ack == nil || !ack.Duplicate {
				t.Errorf("%s in %s: %+v", id, name, ack)
			}
		}
	}
	m.once("acme", "eu-0", "us-0")
}

func TestRelayUsersAreMintedForTenantsAlone(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	h := m.hubs["eu-0"]
	kp, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := h.mintRelay(accounts.CredentialRequest{Tenant: "acme", RelayID: "r1", UserPublic: public}); err != nil || resp.JWT == "" {
		t.Errorf("acme: %+v, %v", resp, err)
	}
	for name, req := range map[string]accounts.CredentialRequest{
		"unknown tenant":         {Tenant: "globex", RelayID: "r1", UserPublic: public},
		"no tenant":              {RelayID: "r1", UserPublic: public},
		"relay id of tokens":     {Tenant: "acme", RelayID: "r1.>", UserPublic: public},
		"relay id of a wildcard": {Tenant: "acme", RelayID: "*", UserPublic: public},
		"a key that is none":     {Tenant: "acme", RelayID: "r1", UserPublic: "UXYZ"},
	} {
		if resp, err := h.mintRelay(req); err == nil || resp.JWT != "" {
			t.Errorf("%s: a user was minted", name)
		}
	}
}

func TestTenantsThatDoNotFitAreRefusedBefore(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1})
	m.start()
	h := m.hubs["eu-0"]
	for name, c := range map[string]struct {
		spec TenantSpec
		code string
	}{
		"too much disk":    {TenantSpec{Name: "big", Limits: accounts.Limits{DiskBytes: 100 << 40}}, "capacity"},
		"no name":          {TenantSpec{}, "invalid_name"},
		"a name of tokens": {TenantSpec{Name: "a.b"}, "invalid_name"},
		"unknown region":   {TenantSpec{Name: "acme", Regions: []string{"mars"}}, "unknown_region"},
	} {
		if _, err := h.AddTenant(t.Context(), c.spec, "test"); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want code %s", name, err, c.code)
		}
	}
	if n := len(h.State().Tenants); n != 0 {
		t.Errorf("%d tenants were made all the same", n)
	}
}
