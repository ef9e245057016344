// Package db2 registers the driver "secretsmanager-db2", which opens a Db2 database by the
// name or ARN of a secret. There is no Db2 driver in pure Go, so the program imports the
// one that makes the connections, IBM's go_ibm_db, which needs cgo and IBM's CLI driver:
//
//	import (
//		_ "github.com/ibmdb/go_ibm_db"
//		_ "github.com/sqlsecrets/sqlsecrets/engines/db2"
//	)
//
//	db, err := sql.Open(db2.DriverName, "prod/app/db?Security=SSL&SSLServerCertificate=/etc/rds.pem")
//
// The connections are that driver's own. Secrets come from the process's default
// cache, see package engines, unless [driver.Options] say otherwise.
package db2

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager-db2"

func init() { Register(DriverName, nil) }

// NewConnector returns a connector for [database/sql.OpenDB]. A nil opts means
// all defaults. Errors are as [driver.NewConnector]'s.
func NewConnector(dsn string, opts *driver.Options) (*driver.Connector, error) {
	return driver.NewConnector(Engine{}, dsn, engines.Options(opts))
}

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken. For a
// Db2 driver other than go_ibm_db use [driver.Register] with an [Engine] that names it.
func Register(name string, opts *driver.Options) {
	driver.Register(name, Engine{}, engines.Options(opts))
}
