// Package redshift opens Amazon Redshift databases by the name of a secret in AWS Secrets Manager.
// A program gives [database/sql.Open] that name instead of a password, and keeps working while the
// password rotates.
//
// Importing the package registers the driver "secretsmanager-redshift" with database/sql:
//
//	import "github.com/sqlsecrets/sqlsecrets/engines/redshift"
//
//	db, err := sql.Open(redshift.DriverName, "prod/app/db?sslmode=verify-full")
//
// The second argument is the data source name: the name or the ARN of the secret and, after "?",
// parameters. sql.Open checks it, but reads no secret and makes no connection. The first query
// does. Parameters of the vendor's driver are written into the same string, for example
// query_group=reports. The connections are those of jackc/pgx v5, so the program keeps every
// feature of that driver. Its query mode is another by default: see [Engine].
//
// # The secret
//
// The secret's value is a JSON object, as AWS's rotation functions keep it:
//
//	{"engine": "redshift", "host": "db.example.com", "port": 5439, "dbname": "dev",
//	 "username": "app", "password": "…"}
//
// If "port" is missing, the port is 5439. "dbname" is required. A secret that Redshift manages has
// only "username" and "password". Give the rest in the data source name, which takes precedence
// over the secret: "redshift!my-cluster-awsuser?host=my-cluster.example.com&dbname=dev".
//
// auth=iam is an error for this engine. Tokens such as those of GetClusterCredentials come from
// Token in [driver.Options].
//
// # TLS
//
// Ask for verified TLS in production, with sslmode=verify-full. The operating system usually knows
// the certificate authorities of Redshift. Without sslmode, TLS is used if the server offers it,
// and the server is not verified.
//
// # Options
//
// [NewConnector] takes [driver.Options], such as a TLS configuration, a logger, or a func that sets
// new connections up. Its result is for [database/sql.OpenDB]. [Register] is for tools that take
// only the name of a driver. Without options, secrets come from the process's default cache: see
// package [engines], which also sets defaults for programs that only call sql.Open. To change what
// is special to the vendor's driver, such as a dialer or a tracer, give an [Engine] and the result
// of [engines.Options] to [driver.NewConnector].
//
// # The pool
//
// The pool is that of [database/sql.DB]; set its limits as for any other driver. A rotation ends no
// open connection, and new connections log in with the new password. To close connections that
// logged in with the old one, set CloseSuperseded in [driver.Options]. For pgx's own pool there is
// [NewPool].
//
// # Errors
//
// A wrong data source name is an error of sql.Open and of NewConnector. It matches
// [driver.ErrBadDSN], or [driver.ErrEngineMismatch] if it is for another database. All other errors
// come from the first use of a connection. [errors.Is] finds in them
//
//   - [driver.ErrAuthFailed] if the server rejected every version of the secret that may be tried,
//   - [driver.ErrMalformedSecret] if the JSON of the secret cannot be used,
//   - driver.ErrEngineMismatch if the secret is for another database,
//   - secretcache.ErrNotFound, ErrNoVersion, ErrAccessDenied or ErrThrottled if the secret cannot
//     be read.
//
// [errors.As] finds the error of the server, a *pgconn.PgError. No error has a password in it.
//
// [docs/redshift.md] has every parameter and what else is special to Redshift.
//
// [docs/redshift.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/redshift.md
package redshift

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
)

// DriverName is the name of the driver that importing this package registers with database/sql.
const DriverName = "secretsmanager-redshift"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. It reads no secret and makes no
// connection. A nil opts means all defaults. The errors are those of [driver.NewConnector].
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with database/sql under another name and with options of its own.
// It is for tools that take only the name of a driver. A nil opts means all defaults. Register
// panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, Engine{}, engines.Options(opts))
}

// NewPool returns a pgxpool that opens its connections by a Connector. Each connection costs one
// login. Rotations, rejected logins and locked accounts are handled as with database/sql: see
// [driver.Connector.Connect], and FallbackStages and MaxLogins in [driver.Options]. The data source
// name also takes pgxpool's pool_* parameters, such as pool_max_conns=10, which only NewPool does.
// configure changes the pool's configuration before the pool is made; nil changes nothing. A nil
// opts means all defaults. [pgxv5.NewPool] says which fields configure may change, which options
// differ in a pgxpool, and which errors there are. Close the pool when it is no longer needed.
func NewPool(ctx context.Context, dsn string, opts *driver.Options, configure func(*pgxpool.Config) error) (*pgxpool.Pool, error) {
	return pgxv5.NewPool(ctx, Engine{}, dsn, engines.Options(opts), configure)
}

// ConfigurePool prepares a pool configuration that the program already has: a pgxpool made of
// config then opens its connections as one of NewPool does. [pgxv5.ConfigurePool] says what config
// may contain. A nil opts means all defaults.
func ConfigurePool(config *pgxpool.Config, dsn string, opts *driver.Options) error {
	return pgxv5.ConfigurePool(config, Engine{}, dsn, engines.Options(opts))
}

// ConfigureConn prepares the configuration of one connection: [pgx.ConnectConfig] then opens it as
// a pool of NewPool does. It is for a connection outside a pool. [pgxv5.ConfigurePool] says what
// config may contain. A nil opts means all defaults.
func ConfigureConn(config *pgx.ConnConfig, dsn string, opts *driver.Options) error {
	return pgxv5.ConfigureConn(config, Engine{}, dsn, engines.Options(opts))
}
