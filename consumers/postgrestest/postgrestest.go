// Package postgrestest gives tests a PostgreSQL database of their own, on the real server that
// WEFT_POSTGRES names (.ci/postgres starts one).
//
// Tests of stores and sinks use it. Databases are independent of each other, so tests that each ask for one
// may run in parallel.
package postgrestest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable is the environment variable that holds the URL of the server, as a user who may create databases.
const Variable = "WEFT_POSTGRES"

// required is set where a missing server is a failure and not a reason to skip: in CI.
const required = "WEFT_REQUIRE_POSTGRES"

// Database makes a database that is dropped at the test's end, and returns its URL. Without a server
// the test is skipped, in CI it fails.
func Database(t testing.TB) string {
	t.Helper()
	server := os.Getenv(Variable)
	if server == "" {
		if os.Getenv(required) != "" {
			t.Fatalf("%s is not set, and here it must be", Variable)
		}
		t.Skipf("%s is not set: .ci/postgres start DIR prints what to set it to", Variable)
	}
	at, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not a URL", Variable) // its error would show the password
	}
	name := "weft_" + strings.ToLower(rand.Text())
	run(t, server, "CREATE DATABASE "+name)
	t.Cleanup(func() { run(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	at.Path = "/" + name
	return at.String()
}

func run(t testing.TB, server, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // the test's own has ended in a cleanup
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}
