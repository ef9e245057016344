// Package mysql opens MySQL and Aurora MySQL databases by the name of a secret in AWS Secrets
// Manager. A program gives [database/sql.Open] that name instead of a password, and keeps working
// while the password rotates.
//
// Importing the package registers the driver "secretsmanager-mysql" with database/sql:
//
//	import "github.com/sqlsecrets/sqlsecrets/engines/mysql"
//
//	db, err := sql.Open(mysql.DriverName, "prod/app/db?tls=true")
//
// The second argument is the data source name: the name or the ARN of the secret and, after "?",
// parameters. sql.Open checks it, but reads no secret and makes no connection. The first query
// does. Parameters of the vendor's driver are written into the same string, for example
// parseTime=true. The connections are those of go-sql-driver/mysql, so the program keeps every
// feature of that driver: see package [gosqldriver].
//
// # The secret
//
// The secret's value is a JSON object, as AWS's rotation functions keep it:
//
//	{"engine": "mysql", "host": "db.example.com", "port": 3306, "dbname": "app",
//	 "username": "app", "password": "…"}
//
// If "port" is missing, the port is 3306. If "dbname" is missing, a connection has no default
// database. A secret that Amazon RDS manages has only "username" and "password". Give the rest in
// the data source name, which takes precedence over the secret:
// "rds!db-1234?host=db.example.com&dbname=app".
//
// With auth=iam the secret needs no password: a login sends a token of AWS IAM. The program then
// needs the permission rds-db:connect, and the database user must be one for IAM: see
// [docs/iam.md].
//
// # TLS
//
// Ask for verified TLS in production, with tls=true. The operating system does not know the
// certificate authorities of Amazon RDS and Aurora: name AWS's file of them, with
// ssl-ca=/etc/rds/global-bundle.pem, which includes tls=true. Without these parameters, TLS is used
// if the server offers it, and the server is not verified.
//
// # Options
//
// [NewConnector] takes [driver.Options], such as a TLS configuration, a logger, or a func that sets
// new connections up. Its result is for [database/sql.OpenDB]. [Register] is for tools that take
// only the name of a driver. Without options, secrets come from the process's default cache: see
// package [engines], which also sets defaults for programs that only call sql.Open. To change what
// is special to the vendor's driver, such as a dialer or connection attributes, give a
// [gosqldriver.Engine] and the result of [engines.Options] to [driver.NewConnector].
//
// # The pool
//
// The pool is that of [database/sql.DB]; set its limits as for any other driver. A rotation ends no
// open connection, and new connections log in with the new password. To close connections that
// logged in with the old one, set CloseSuperseded in [driver.Options] (not on Windows and AIX).
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
// [errors.As] finds the error of the server, a *mysql.MySQLError. No error has a password in it.
//
// [docs/mysql.md] has every parameter and what else is special to MySQL.
//
// [docs/iam.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/iam.md
// [docs/mysql.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/mysql.md
package mysql

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
)

// DriverName is the name of the driver that importing this package registers with database/sql.
const DriverName = "secretsmanager-mysql"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. It reads no secret and makes no
// connection. A nil opts means all defaults. The errors are those of [driver.NewConnector].
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(gosqldriver.Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with database/sql under another name and with options of its own.
// It is for tools that take only the name of a driver. A nil opts means all defaults. Register
// panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, gosqldriver.Engine{}, engines.Options(opts))
}
