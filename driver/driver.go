package driver

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
)

// A Driver is a [database/sql/driver.Driver] for one engine, with one set of options. [Register]
// makes one.
type Driver struct {
	engine Engine
	opts   Options
}

var (
	_ sqldriver.Driver        = (*Driver)(nil)
	_ sqldriver.DriverContext = (*Driver)(nil)
)

// Register registers a driver for engine with [database/sql.Register], so that [database/sql.Open]
// finds it by name. It panics if the name is taken. If opts is nil, or has neither Secrets nor
// SecretsAt, [database/sql.Open] returns an error;
// [github.com/sqlsecrets/sqlsecrets/engines.Options](nil) returns options with the process's default
// caches.
func Register(name string, engine Engine, opts *Options) {
	sql.Register(name, &Driver{engine: engine, opts: opts.clone()})
}

// OpenConnector calls [NewConnector] with the driver's engine and options.
func (d *Driver) OpenConnector(dsn string) (sqldriver.Connector, error) {
	c, err := NewConnector(d.engine, dsn, &d.opts)
	if err != nil {
		return nil, err // not a nil *Connector in an interface
	}
	return c, nil
}

// Open opens one connection. [database/sql] does not call it. It calls OpenConnector once for each
// DB, so that all connections of a DB share one [Connector].
func (d *Driver) Open(dsn string) (sqldriver.Conn, error) {
	c, err := d.OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

// String returns the driver's default name, such as "secretsmanager-postgres".
func (d *Driver) String() string { return defaultName(d.engine.Info()) }

func defaultName(info Info) string { return "secretsmanager-" + info.Name }

// Format writes the result of String for every verb.
func (d *Driver) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }
