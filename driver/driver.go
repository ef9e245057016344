package driver

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
)

// A Driver opens data source names with one engine and one set of options.
type Driver struct {
	engine Engine
	opts   Options
}

var (
	_ sqldriver.Driver        = (*Driver)(nil)
	_ sqldriver.DriverContext = (*Driver)(nil)
)

// Register makes engine available to [database/sql.Open] under a name. Like
// [database/sql.Register] it panics if the name is taken.
func Register(name string, engine Engine, opts *Options) {
	sql.Register(name, &Driver{engine: engine, opts: opts.clone()})
}

// OpenConnector is [NewConnector] with the driver's engine and options.
func (d *Driver) OpenConnector(dsn string) (sqldriver.Connector, error) {
	c, err := NewConnector(d.engine, dsn, &d.opts)
	if err != nil {
		return nil, err // not a nil *Connector in an interface
	}
	return c, nil
}

// Open opens one connection. database/sql calls OpenConnector instead, once for
// each DB, so that all connections of a DB share what is known of the secret.
func (d *Driver) Open(dsn string) (sqldriver.Conn, error) {
	c, err := d.OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

// String returns the driver's default name, as "secretsmanager-postgres".
func (d *Driver) String() string { return defaultName(d.engine.Info()) }

func defaultName(info Info) string { return "secretsmanager-" + info.Name }

// Format writes what String returns, whatever the verb.
func (d *Driver) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }
