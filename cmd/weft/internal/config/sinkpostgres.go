package config

import (
	"time"

	"github.com/weft-mesh/weft/consumers/sink/postgres"
)

// Postgres is the database that events are kept in.
type Postgres struct {
	URLFile   string        `mapstructure:"url_file" usage:"file with the database's URL, postgres://user:password@host/database?sslmode=verify-full"`
	Schema    string        `mapstructure:"schema" usage:"schema of the table event_log, one for each tenant and purpose; made when it is not there"`
	Horizon   time.Duration `mapstructure:"horizon" usage:"how long copies of an event are recognised at least"`
	Retention time.Duration `mapstructure:"retention" usage:"how long rows are kept at least; 0: for ever"`
	Batch     int           `mapstructure:"batch" usage:"rows of a transaction at most"`
	Linger    time.Duration `mapstructure:"linger" usage:"how long a batch waits to be full"`
	Workers   int           `mapstructure:"workers" usage:"transactions at a time"`
	Timeout   time.Duration `mapstructure:"timeout" usage:"time for one transaction"`
}

func defaultPostgres() Postgres {
	o := postgres.DefaultOptions()
	return Postgres{Horizon: o.Horizon, Retention: o.Retention, Batch: o.Batch, Linger: o.Linger, Workers: o.Workers, Timeout: o.Timeout}
}

func (p *Problems) postgres(d *Postgres) {
	p.required("sink.postgres.url_file", d.URLFile)
	p.required("sink.postgres.schema", d.Schema)
	p.between("sink.postgres.horizon", d.Horizon, time.Hour, 400*24*time.Hour)
	if d.Retention != 0 {
		p.between("sink.postgres.retention", d.Retention, d.Horizon, 100*365*24*time.Hour)
	}
	p.count("sink.postgres.batch", d.Batch, 1, 10_000)
	p.between("sink.postgres.linger", d.Linger, 0, time.Hour)
	p.count("sink.postgres.workers", d.Workers, 1, 64)
	p.between("sink.postgres.timeout", d.Timeout, time.Second, time.Hour)
}
