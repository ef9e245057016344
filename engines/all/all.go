// Package all registers the driver "secretsmanager", which opens a database of any
// engine by the name or ARN of a secret, and imports the packages of all engines, which
// register theirs:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/all"
//
//	db, err := sql.Open(all.DriverName, "prod/app/db")
//
// The engine is the one that the data source name says, by the scheme of a JDBC URL or by
// the key "engine", or else the secret's "engine". In the last case it is known at the
// first connect, which also checks the parameters that are the engine's; if a later
// version of the secret names another engine, connects follow it.
//
// A program that imports this package links the drivers of all vendors but IBM's for
// Db2, which the program imports itself. One that knows its engine better imports that
// engine's package alone.
//
// How to ask for TLS differs between engines; [driver.Options] TLS asks for it whichever the
// secret names, but for Db2.
package all

import (
	"database/sql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager"

func init() { Register(DriverName, nil) }

// A Driver opens data source names of any engine.
type Driver = driver.AnyDriver

// A Connector opens connections of the engine that the data source name or the secret says.
type Connector = driver.AnyConnector

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken.
func Register(name string, opts *driver.Options) {
	sql.Register(name, newDriver(opts))
}

// NewConnector returns a connector; nothing is fetched or dialled yet. A nil opts means
// all defaults, with the process's default caches. Errors are as
// [driver.AnyDriver.NewConnector]'s.
func NewConnector(dsn string, opts *driver.Options) (*Connector, error) {
	return newDriver(opts).NewConnector(dsn)
}

func newDriver(opts *driver.Options) *Driver {
	return driver.NewAnyDriver(DriverName, known, engines.Options(opts))
}
