package relay_test

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/confirm"
	"github.com/weft-mesh/weft/streams/subject"
)

// playRemote is the hub of a region whose peer has everything while on is set, and nothing otherwise.
func (r *rig) playRemote(region, peer string, on *atomic.Bool) *atomic.Int64 {
	asked := new(atomic.Int64)
	_, err := r.conn.Subscribe(subject.Remote(region), func(m *nats.Msg) {
		var q confirm.Request
		r.must(json.Unmarshal(m.Data, &q))
		asked.Add(1)
		if on.Load() {
			b, _ := json.Marshal(confirm.Response{Seq: q.Seq, Region: peer})
			_ = m.Respond(b)
		}
	})
	r.must(err)
	r.must(r.conn.Flush())
	return asked
}

func remoteRig(t *testing.T) (*rig, *atomic.Bool) {
	r := newRig(t, func(o *relay.Options) { o.Limits.RemoteTimeout = 300 * time.Millisecond })
	r.routes([]accounts.Topic{
		{Name: "plain", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local},
		{Name: "safe", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local, Ack: accounts.AckRemote},
		{Name: "home", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Forward, Ack: accounts.AckRemote},
	}, accounts.Rule{Type: "safe.>", Topic: "safe"}, accounts.Rule{Type: "home.>", Topic: "home"})
	return r, new(atomic.Bool)
}

// An event of a remote topic is answered 2xx once another region has it; a retry waits for that as well.
func TestRemoteTopics(t *testing.T) {
	r, linked := remoteRig(t)
	asked := r.playRemote("eu", "us", linked)
	body := ev("event_id", `"r-1"`, "event_type", `"safe.x"`)
	a := r.send(post{body: body})
	if a.status != 503 || a.Code != "remote_unconfirmed" || a.EventID != "r-1" || !strings.Contains(a.Detail, "same event_id") || a.header.Get("Retry-After") == "" || r.stored() != 1 {
		t.Errorf("cut off: %d %s, %d stored", a.status, a.text, r.stored())
	}
	if a = r.send(post{body: body}); a.status != 503 || a.Code != "remote_unconfirmed" || r.stored() != 1 {
		t.Errorf("a retry while cut off: %d %s, %d stored", a.status, a.text, r.stored())
	}
	linked.Store(true)
	if a = r.send(post{body: body}); a.status != 202 || a.Status != "duplicate" || a.Ack != accounts.AckRemote || a.Seq != 1 {
		t.Errorf("a retry afterwards: %d %s", a.status, a.text)
	}
	if a = r.send(post{body: ev("event_type", `"safe.x"`)}); a.status != 202 || a.Status != "stored" || a.Ack != accounts.AckRemote {
		t.Errorf("linked: %d %s", a.status, a.text)
	}
	before := asked.Load()
	if a = r.send(post{body: ev()}); a.status != 202 || a.Ack != accounts.AckStored || asked.Load() != before {
		t.Errorf("another topic: %d %s", a.status, a.text)
	}
}

func TestRemoteTopicsInBatches(t *testing.T) {
	r, linked := remoteRig(t)
	asked := r.playRemote("eu", "us", linked)
	safe := func() string { return ev("event_type", `"safe.x"`) }
	a := r.send(post{body: "[" + safe() + "," + ev() + "," + safe() + "]"})
	if a.status != 200 || a.Stored != 1 || a.Unavailable != 2 || a.Ack != accounts.AckStored || len(a.Results) != 2 || a.Results[0].Code != "remote_unconfirmed" || asked.Load() != 1 {
		t.Errorf("cut off: %d %s, asked %d times", a.status, a.text, asked.Load())
	}
	linked.Store(true)
	a = r.send(post{body: "[" + safe() + "," + ev() + "," + safe() + "]", query: "?results=all"})
	if a.status != 200 || a.Stored != 3 || a.Ack != accounts.AckStored || a.Results[0].Ack != accounts.AckRemote || a.Results[1].Ack != "" || asked.Load() != 2 {
		t.Errorf("mixed: %d %s", a.status, a.text)
	}
	if a = r.send(post{body: "[" + safe() + "," + safe() + "]"}); a.status != 200 || a.Stored != 2 || a.Ack != accounts.AckRemote {
		t.Errorf("all of them remote: %d %s", a.status, a.text)
	}
	// a region that syncs and another that does not, with a copy elsewhere: all that holds for both is stored
	r.playHome()
	r.playRemote("us", "eu", linked)
	r.control.change(func(s *control.State) {
		s.Regions["eu"] = &accounts.RegionInfo{Name: "eu", Epoch: 1, Weight: 1, Ack: accounts.AckStoredFsync}
	})
	home := ev("event_type", `"home.x"`, "key", `{"user_id":"`+userOf("us")+`"}`)
	if a = r.send(post{body: "[" + ev() + "," + home + "]"}); a.status != 200 || a.Stored != 1 || a.Forwarded != 1 || a.Ack != accounts.AckStored || a.Results[0].Ack != accounts.AckRemote {
		t.Errorf("synced here, remote there: %d %s", a.status, a.text)
	}
	if a = r.send(post{body: "[" + ev() + "," + safe() + "]"}); a.status != 200 || a.Ack != accounts.AckStoredFsync {
		t.Errorf("synced, one of them remote: %d %s", a.status, a.text)
	}
}

func TestForwardedRemoteTopics(t *testing.T) {
	r, linked := remoteRig(t)
	r.playHome()
	asked := r.playRemote("us", "eu", linked)
	home := func() string { return ev("event_type", `"home.x"`, "key", `{"user_id":"`+userOf("us")+`"}`) }
	if a := r.send(post{body: home()}); a.status != 503 || a.Code != "remote_unconfirmed" {
		t.Errorf("cut off: %d %s", a.status, a.text)
	}
	linked.Store(true)
	if a := r.send(post{body: home()}); a.status != 202 || a.Status != "forwarded" || a.Region != "us" || a.Ack != accounts.AckRemote || asked.Load() != 2 {
		t.Errorf("linked: %d %s", a.status, a.text)
	}
}
