// Package sqlserver registers the driver "secretsmanager-sqlserver", which opens a SQL
// Server database by the name or ARN of a secret:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
//
//	db, err := sql.Open(sqlserver.DriverName, "prod/app/db?encrypt=true")
//
// The connections are go-mssqldb's own. Secrets come from the process's
// default cache, see package engines, unless [driver.Options] say otherwise.
package sqlserver

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager-sqlserver"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. A nil opts means
// all defaults. Errors are as [driver.NewConnector]'s.
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(mssqldb.Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, mssqldb.Engine{}, engines.Options(opts))
}
