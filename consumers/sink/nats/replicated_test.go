package nats

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// A target of three replicas, of which the leader ends in the middle.
func TestAReplicatedTarget(t *testing.T) {
	servers := cluster(t)
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.ClientURL())
	}
	nc, err := client.Connect(strings.Join(urls, ","), client.MaxReconnects(-1), client.ReconnectWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	c := jetstream.StreamConfig{Name: "COPY", Subjects: []string{"copy.>"}, Replicas: 3, Duplicates: 100 * time.Millisecond}
	var stream jetstream.Stream
	streamtest.Eventually(t, patience, func() (bool, string) {
		stream, err = js.CreateStream(t.Context(), c)
		return err == nil, fmt.Sprint(err)
	})
	g := &target{t: t, js: js}
	s := g.open(Options{URLs: urls, Stream: "COPY", Prefix: "copy.acme", Timeout: time.Second})
	ended := false
	for first := 0; first < 200; {
		if first == 100 && !ended {
			endLeader(t, servers, stream)
			ended = true
		}
		switch err := s.HandleBatch(t.Context(), messages(first, first+users-1)); {
		case err == nil:
			first += users
		case retry.Classify(err) != retry.Outage:
			t.Fatal(err)
		}
	}
	streamtest.Eventually(t, patience, func() (bool, string) {
		_, err := js.Stream(t.Context(), "COPY")
		return err == nil, fmt.Sprint(err)
	})
	g.wantOnce(199)
}

func endLeader(t *testing.T, servers []*server.Server, stream jetstream.Stream) {
	t.Helper()
	leader := ""
	streamtest.Eventually(t, patience, func() (bool, string) { // a server that has just got its leader may leave a question unanswered
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		info, err := stream.Info(ctx)
		if err == nil {
			leader = info.Cluster.Leader
		}
		return leader != "", fmt.Sprint(err)
	})
	for _, s := range servers {
		if s.Name() == leader {
			s.Shutdown()
			s.WaitForShutdown()
			return
		}
	}
	t.Fatalf("no server is %q", leader)
}

// cluster starts three servers that keep streams together.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	ports := streamtest.Ports(t)
	var servers []*server.Server
	for i := range 3 {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("s-", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "c", Host: "127.0.0.1", Port: ports.Port(i)},
			Routes:  server.RoutesFromStr(fmt.Sprintf("nats://127.0.0.1:%d,nats://127.0.0.1:%d", ports.Port((i+1)%3), ports.Port((i+2)%3))),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers = append(servers, s)
	}
	streamtest.Eventually(t, patience, func() (bool, string) {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				peers := s.JetStreamClusterPeers()
				return len(peers) == len(servers) && s.JetStreamIsCurrent(), fmt.Sprintf("the leader knows %v", peers)
			}
		}
		return false, "no leader"
	})
	return servers
}

// Credentials that may not publish are told apart from a target that does not answer.
func TestPermissions(t *testing.T) {
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "owner", Password: "o"}, {Username: "sink", Password: "s", Permissions: allow("$JS.API.STREAM.INFO.COPY", "$JS.API.STREAM.NAMES")},
			// what deploy/docs/sinks.md asks for
			{Username: "copier", Password: "c", Permissions: allow("copy.evt.>", "$JS.API.STREAM.INFO.COPY", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.MSG.GET.COPY",
				"$JS.API.CONSUMER.CREATE.COPY.>", "$JS.API.CONSUMER.MSG.NEXT.COPY.>", "$JS.API.CONSUMER.DELETE.COPY.>")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("not ready")
	}
	at := func(user string) string { return strings.Replace(s.ClientURL(), "nats://", "nats://"+user+"@", 1) }
	nc, err := client.Connect(at("owner:o"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "COPY", Subjects: []string{"copy.>"}}); err != nil {
		t.Fatal(err)
	}
	o := Options{URLs: []string{at("sink:wrong")}, Stream: "COPY", Prefix: "copy", Timeout: 500 * time.Millisecond}
	if _, err := Open(t.Context(), o); fault.KindOf(err) != fault.Unauthenticated || fault.CodeOf(err) != "credentials_refused" || strings.Contains(err.Error(), "wrong") {
		t.Errorf("wrong password: %v", err)
	}
	o.URLs = []string{at("sink:s")}
	sink, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	if err := sink.HandleBatch(t.Context(), messages(0, 1)); fault.KindOf(err) != fault.Unavailable || fault.CodeOf(err) != "not_permitted" || retry.Classify(err) != retry.Outage {
		t.Errorf("no permission: %v", err)
	}

	o.URLs, o.Timeout = []string{at("copier:c")}, patience
	for range 2 { // the second one reads the end of the target
		s, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		moved := message(0)
		moved.OriginSeq = 1000 // is compared with what is stored
		s.mustWrite(t, append(messages(0, 9), moved))
		if s.seen.Len() != 10 || s.nc.LastError() != nil {
			t.Errorf("%d events are known; %v", s.seen.Len(), s.nc.LastError())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// allow is who may publish to these subjects, and receive answers.
func allow(publish ...string) *server.Permissions {
	return &server.Permissions{Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}}}
}
