// Package db2 opens Db2 databases by the name of a secret in AWS Secrets Manager. A program gives
// [database/sql.Open] that name instead of a password, and keeps working while the password
// rotates.
//
// There is no Db2 driver in pure Go. The program imports the driver that makes the connections
// itself: IBM's go_ibm_db, which needs cgo and IBM's CLI driver. Importing this package registers
// the driver "secretsmanager-db2" with database/sql:
//
//	import (
//		_ "github.com/ibmdb/go_ibm_db"
//		"github.com/sqlsecrets/sqlsecrets/engines/db2"
//	)
//
//	db, err := sql.Open(db2.DriverName, "prod/app/db?Security=SSL&SSLServerCertificate=/etc/rds/global-bundle.pem")
//
// The second argument is the data source name: the name or the ARN of the secret and, after "?",
// parameters. sql.Open checks it, but reads no secret and makes no connection. The first query
// does. Parameters of the vendor's driver are written into the same string, for example
// CurrentSchema=APP. The connections are those of go_ibm_db, or of another driver that [Engine]
// names.
//
// # The secret
//
// The secret's value is a JSON object, as AWS's rotation functions keep it:
//
//	{"engine": "db2", "host": "db.example.com", "port": 50000, "dbname": "SAMPLE",
//	 "username": "app", "password": "…"}
//
// If "port" is missing, the port is 50000. "dbname" is required. A secret that Amazon RDS manages
// has only "username" and "password". Give the rest in the data source name, which takes precedence
// over the secret: "rds!db-1234?host=db.example.com&dbname=SAMPLE".
//
// auth=iam is an error for this engine. Tokens of other kinds come from Token in [driver.Options].
//
// # TLS
//
// Ask for TLS in production, with Security=SSL: the server is then verified. SSLServerCertificate
// names a file with the certificate authorities, on Amazon RDS AWS's global-bundle.pem. Without
// Security=SSL there is no TLS, and the password is sent in plaintext unless
// Authentication=SERVER_ENCRYPT is given. driver.Options.TLS is an error, because a Db2 driver
// cannot take it.
//
// # Options
//
// [NewConnector] takes [driver.Options], such as a logger, or a func that sets new connections up.
// Its result is for [database/sql.OpenDB]. [Register] is for tools that take only the name of a
// driver. Without options, secrets come from the process's default cache: see package [engines],
// which also sets defaults for programs that only call sql.Open. At most three logins are in flight
// with one version of a secret, because the server may lock accounts: see MaxLogins in
// [driver.Options].
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
// [errors.As] finds the error of the server, a *go_ibm_db.Error. No error has a password in it.
//
// [docs/db2.md] has every parameter and what else is special to Db2.
//
// [docs/db2.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/db2.md
package db2

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// DriverName is the name of the driver that importing this package registers with database/sql.
const DriverName = "secretsmanager-db2"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. It reads no secret and makes no
// connection. A nil opts means all defaults. The errors are those of [driver.NewConnector].
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with database/sql under another name and with options of its own.
// It is for tools that take only the name of a driver. A nil opts means all defaults. Register
// panics if the name is taken. For a Db2 driver other than go_ibm_db, call [driver.Register] with
// an [Engine] that names it and with the result of [engines.Options]:
//
//	driver.Register("my-db2", db2.Engine{Driver: "other_db2"}, engines.Options(nil))
func Register(name string, opts *driver.Options) {
	driver.Register(name, Engine{}, engines.Options(opts))
}
