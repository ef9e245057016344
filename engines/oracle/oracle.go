// Package oracle registers the driver "secretsmanager-oracle", which opens an Oracle
// database by the name or ARN of a secret:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/oracle"
//
//	db, err := sql.Open(oracle.DriverName, "prod/app/db?SSL=true&port=2484")
//
// The connections are go-ora's own. Secrets come from the process's default cache,
// see package engines, unless [driver.Options] say otherwise.
package oracle

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager-oracle"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. A nil opts means
// all defaults. Errors are as [driver.NewConnector]'s.
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(goora.Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, goora.Engine{}, engines.Options(opts))
}
