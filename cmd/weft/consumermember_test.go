package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/consumers/postgrestest"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// testGroup: two processes share the events; one of them is killed, and the other one does all.
func (r *consumerRig) testGroup(t *testing.T) {
	r.t = t
	url := postgrestest.Database(t)
	r.configure("share", "  kind: postgres\n  postgres: {url_file: share.url, schema: acme_share}\ngroup: {width: 4, url_file: share.url, ttl: 2s}", map[string]string{"share.url": url + "\n"})
	other := *r
	other.metrics = fmt.Sprintf("127.0.0.1:%d", streamtest.Ports(t).Port(1))
	dies, stays := r.run("share"), other.run("share", "--listen-metrics", other.metrics)
	dies.awaitReady()
	stays.awaitReady()
	r.wantMembers(url, 2, 2)
	r.send(71, 100)
	dies.kill()
	r.send(72, 100)
	r.wantMembers(url, 4)
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		var rows, ids int
		err := db.QueryRow(t.Context(), "SELECT count(*), count(DISTINCT event_id) FROM acme_share.event_log").Scan(&rows, &ids)
		return err == nil && rows == r.events && ids == rows, fmt.Sprintf("%d rows of %d events, %d wanted: %v", rows, ids, r.events, err)
	})
	if out := runWeft(t, r.dir, "consumer", "status", "share", "--data", "mesh"); strings.Count(out, " read ") != 4 {
		t.Errorf("status:\n%s", out)
	}
	if err := stays.terminate(); err != nil {
		t.Error(err)
	}
	if out := runWeft(t, r.dir, "consumer", "position", "share", "--store", url); !strings.Contains(out, "share-03  eu_1    g") {
		t.Errorf("position:\n%s", out)
	}
}

// wantMembers waits until the living members have these numbers of durables.
func (r *consumerRig) wantMembers(url string, durables ...int) {
	r.t.Helper()
	want := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(durables), "["), "]")
	streamtest.Eventually(r.t, 30*time.Second, func() (bool, string) {
		out := runWeft(r.t, r.dir, "consumer", "members", "share", "--store", url)
		var have []string
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 3 && f[2] == "active" {
				have = append(have, f[3])
			}
		}
		return strings.Join(have, " ") == want, out
	})
}
