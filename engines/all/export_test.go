package all

import "github.com/sqlsecrets/sqlsecrets/driver"

// NewWith is NewConnector with engines of a test's own.
func NewWith(known []driver.Engine, dsn string, opts *driver.Options) (*Connector, error) {
	return newDriver(known, opts).connector(dsn)
}
