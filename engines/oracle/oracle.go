// Package oracle opens Oracle databases by the name of a secret in AWS Secrets Manager. A program
// gives [database/sql.Open] that name instead of a password, and keeps working while the password
// rotates.
//
// Importing the package registers the driver "secretsmanager-oracle" with database/sql:
//
//	import "github.com/sqlsecrets/sqlsecrets/engines/oracle"
//
//	db, err := sql.Open(oracle.DriverName, "prod/app/db?SSL=true&port=2484")
//
// The second argument is the data source name: the name or the ARN of the secret and, after "?",
// parameters. sql.Open checks it, but reads no secret and makes no connection. The first query
// does. Parameters of the vendor's driver are written into the same string, for example
// PREFETCH_ROWS=100. The connections are those of go-ora v2. Its user-defined types are not
// available: see package [goora].
//
// # The secret
//
// The secret's value is a JSON object, as AWS's rotation functions keep it:
//
//	{"engine": "oracle", "host": "db.example.com", "port": 1521, "dbname": "ORCL",
//	 "username": "app", "password": "…"}
//
// If "port" is missing, the port is 1521. "dbname" is required: it is the name of a service, or a
// SID after a colon, such as ":ORCL". A secret that Amazon RDS manages has only "username" and
// "password". Give the rest in the data source name, which takes precedence over the secret:
// "rds!db-1234?host=db.example.com&dbname=ORCL".
//
// auth=iam is an error for this engine. Tokens of other kinds come from Token in [driver.Options].
//
// # TLS
//
// Ask for TLS in production, with SSL=true: the server is then verified. A listener has TLS on a
// port of its own, on Amazon RDS 2484. The operating system does not know the certificate
// authorities of Amazon RDS: put them into a wallet, a file cwallet.sso, and name its folder, with
// SSL=true&port=2484&wallet=/etc/rds/wallet. The port in the data source name takes precedence over
// the port in the secret. Without SSL there is no TLS.
//
// # Options
//
// [NewConnector] takes [driver.Options], such as a TLS configuration, a logger, or a func that sets
// new connections up. Its result is for [database/sql.OpenDB]. [Register] is for tools that take
// only the name of a driver. Without options, secrets come from the process's default cache: see
// package [engines], which also sets defaults for programs that only call sql.Open. To change what
// is special to the vendor's driver, such as a dialer or the name of the program, give a
// [goora.Engine] and the result of [engines.Options] to [driver.NewConnector]. At most three logins
// are in flight with one version of a secret, because the server may lock accounts: see MaxLogins
// in [driver.Options].
//
// # The pool
//
// The pool is that of [database/sql.DB]; set its limits as for any other driver. A rotation ends no
// open connection, and new connections log in with the new password. To close connections that
// logged in with the old one, call [database/sql.DB.SetConnMaxLifetime]. CloseSuperseded in
// driver.Options is an error of NewConnector for this engine.
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
// [errors.As] finds the error of the server, a *network.OracleError. No error has a password in it.
//
// [docs/oracle.md] has every parameter and what else is special to Oracle.
//
// [docs/oracle.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/oracle.md
package oracle

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
)

// DriverName is the name of the driver that importing this package registers with database/sql.
const DriverName = "secretsmanager-oracle"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. It reads no secret and makes no
// connection. A nil opts means all defaults. The errors are those of [driver.NewConnector].
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(goora.Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with database/sql under another name and with options of its own.
// It is for tools that take only the name of a driver. A nil opts means all defaults. Register
// panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, goora.Engine{}, engines.Options(opts))
}
