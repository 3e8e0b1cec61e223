package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/streams/fault"
)

// Each file is a version, in the order of their names; one that was released is never changed.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema to the newest version that this package knows. Many may call it at once.
func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", s.lockKey("migrate")); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`CREATE SCHEMA IF NOT EXISTS %[1]s;
			CREATE TABLE IF NOT EXISTS %[1]s.schema_version (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`, s.schema)); err != nil {
			return err
		}
		var have int
		if err := tx.QueryRow(ctx, fmt.Sprintf("SELECT coalesce(max(version), 0) FROM %s.schema_version", s.schema)).Scan(&have); err != nil {
			return err
		}
		if have > len(files) {
			return fault.New(opOpen, fault.Conflict, "newer_schema", "schema %s has version %d, this program knows %d: use a newer one", s.schema, have, len(files))
		}
		for i := have; i < len(files); i++ {
			if err := s.step(ctx, tx, i+1, files[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) step(ctx context.Context, tx pgx.Tx, version int, file string) error {
	text, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL search_path TO %s; %s", s.schema, text)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	_, err = tx.Exec(ctx, fmt.Sprintf("INSERT INTO %s.schema_version (version) VALUES ($1)", s.schema), version)
	return err
}
