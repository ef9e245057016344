// Package redshift registers the driver "secretsmanager-redshift", which opens an
// Amazon Redshift database by the name or ARN of a secret:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/redshift"
//
//	db, err := sql.Open(redshift.DriverName, "prod/app/db?sslmode=verify-full")
//
// The connections are jackc/pgx's own. Secrets come from the process's
// default cache, see package engines, unless [driver.Options] say otherwise.
package redshift

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager-redshift"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. A nil opts means
// all defaults. Errors are as [driver.NewConnector]'s.
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, Engine{}, engines.Options(opts))
}
