// Package all opens a database of any engine by the name of a secret in AWS Secrets Manager. The
// secret, or the data source name, says which engine it is. A program gives [database/sql.Open] the
// secret's name instead of a password, and keeps working while the password rotates.
//
// Importing the package registers the driver "secretsmanager" with database/sql:
//
//	import "github.com/sqlsecrets/sqlsecrets/engines/all"
//
//	db, err := sql.Open(all.DriverName, "prod/app/db")
//
// The second argument is the data source name: the name or the ARN of the secret and, after "?",
// parameters. It can also be a URL of AWS's JDBC library. sql.Open checks it, but reads no secret
// and makes no connection. The first query does.
//
// # The engine
//
// The engine is the one that the data source name gives, by the scheme of a JDBC URL or by the key
// "engine". Its values are postgres, redshift, mysql, mariadb, sqlserver, oracle and db2, and the
// names that Amazon RDS uses, such as aurora-postgresql and oracle-se2. If it gives none, the
// engine is the one in the key "engine" of the secret's JSON. The package then knows the engine
// only when it has read the secret, so the first connection also checks the engine's own
// parameters. If a later version of the secret names another engine, new connections use that
// engine. A secret that Amazon RDS manages has no engine: give "engine" in the data source name.
//
// # TLS
//
// The parameters for TLS differ between engines. TLS in [driver.Options] does not: TLS is then
// required, and verified as that configuration says, whichever engine the secret names. Db2 is the
// exception: Connect then fails. CloseSuperseded is an error with Oracle, SQL Server and Db2: of
// [NewConnector] if the data source name gives the engine, and of Connect otherwise.
//
// # All vendors' drivers
//
// A program that imports this package links the drivers of all vendors, except IBM's driver for
// Db2: import that in the program, or the first connection to a Db2 database is an error. The
// package also imports the packages of all engines, which register their own drivers. If you know
// the engine, import only the engine's package, such as engines/postgres: its documentation covers
// the secret, options, the pool and errors.
package all

import (
	"database/sql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// DriverName is the name of the driver that importing this package registers with database/sql.
const DriverName = "secretsmanager"

func init() { Register(DriverName, nil) }

// A Driver is the driver that [Register] registers. It opens data source names of any engine.
type Driver = driver.AnyDriver

// A Connector opens connections with the engine that the data source name or the secret names. It
// is for [database/sql.OpenDB].
type Connector = driver.AnyConnector

// Register registers a driver with database/sql under another name and with options of its own.
// It is for tools that take only the name of a driver. A nil opts means all defaults. Register
// panics if the name is taken.
func Register(name string, opts *driver.Options) {
	sql.Register(name, newDriver(opts))
}

// NewConnector returns a connector for [database/sql.OpenDB]. It reads no secret and makes no
// connection. A nil opts means all defaults. The errors are those of
// [driver.AnyDriver.NewConnector].
func NewConnector(dsn string, opts *driver.Options) (*Connector, error) {
	return newDriver(opts).NewConnector(dsn)
}

func newDriver(opts *driver.Options) *Driver {
	return driver.NewAnyDriver(DriverName, known, engines.Options(opts))
}
