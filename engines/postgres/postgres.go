// Package postgres registers the driver "secretsmanager-postgres", which opens a PostgreSQL
// database by the name or ARN of a secret:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/postgres"
//
//	db, err := sql.Open(postgres.DriverName, "prod/app/db?sslmode=verify-full")
//
// The connections are jackc/pgx's own. Secrets come from the process's
// default cache, see package engines, unless [driver.Options] say otherwise.
package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager-postgres"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. A nil opts means
// all defaults. Errors are as [driver.NewConnector]'s.
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(pgxv5.Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, pgxv5.Engine{}, engines.Options(opts))
}

// NewPool returns a pgxpool whose connections are opened by a Connector: one login each, with
// the refresh, the fallback stages and the protection against lock-outs that database/sql users
// have. The data source name takes pgxpool's pool_* keys, too. configure may change the pool's
// configuration, and may be nil; see [pgxv5.NewPool].
func NewPool(ctx context.Context, dsn string, opts *driver.Options, configure func(*pgxpool.Config) error) (*pgxpool.Pool, error) {
	return pgxv5.NewPool(ctx, pgxv5.Engine{}, dsn, engines.Options(opts), configure)
}

// ConfigurePool has a pgxpool that is made of config open its connections as NewPool does. See
// [pgxv5.ConfigurePool] for what config may have.
func ConfigurePool(config *pgxpool.Config, dsn string, opts *driver.Options) error {
	return pgxv5.ConfigurePool(config, pgxv5.Engine{}, dsn, engines.Options(opts))
}

// ConfigureConn has [pgx.ConnectConfig] open a connection with config as NewPool does, for
// example one that is kept for LISTEN. See [pgxv5.ConfigurePool] for what config may have.
func ConfigureConn(config *pgx.ConnConfig, dsn string, opts *driver.Options) error {
	return pgxv5.ConfigureConn(config, pgxv5.Engine{}, dsn, engines.Options(opts))
}
