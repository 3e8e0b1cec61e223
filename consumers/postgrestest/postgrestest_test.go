package postgrestest_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/consumers/postgrestest"
)

// TestDatabase looks for what is promised: each database is empty and its own, and none is left behind.
func TestDatabase(t *testing.T) {
	var name string
	t.Run("inner", func(t *testing.T) {
		a, b := open(t, postgrestest.Database(t)), open(t, postgrestest.Database(t))
		if _, err := a.Exec(t.Context(), "CREATE TABLE mine (id int)"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Exec(t.Context(), "SELECT * FROM mine"); err == nil {
			t.Error("a second database shows the first one's table")
		}
		if err := a.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
			t.Fatal(err)
		}
	})
	if name == "" {
		t.Skip(postgrestest.Variable + " is not set: there is no server to look at")
	}
	var left int
	err := open(t, postgrestest.Database(t)).QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname = $1", name).Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("%d databases %s left, %v", left, name, err)
	}
}

func open(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	return conn
}
