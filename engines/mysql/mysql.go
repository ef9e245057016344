// Package mysql registers the driver "secretsmanager-mysql", which opens a MySQL
// database by the name or ARN of a secret:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/mysql"
//
//	db, err := sql.Open(mysql.DriverName, "prod/app/db?tls=true")
//
// The connections are go-sql-driver/mysql's own. Secrets come from the process's
// default cache, see package engines, unless [driver.Options] say otherwise.
package mysql

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager-mysql"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. A nil opts means
// all defaults. Errors are as [driver.NewConnector]'s.
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(gosqldriver.Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken.
func Register(name string, opts *driver.Options) {
	driver.Register(name, gosqldriver.Engine{}, engines.Options(opts))
}
