package all

import (
	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// Known are the engines that the driver chooses from.
var Known = known

// NewWith is NewConnector with the engines of a test.
func NewWith(known []driver.Engine, dsn string, opts *driver.Options) (*Connector, error) {
	return driver.NewAnyDriver(DriverName, known, engines.Options(opts)).NewConnector(dsn)
}
