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
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
)

// DriverName is the name that importing this package registers with database/sql.
const DriverName = "secretsmanager"

func init() { Register(DriverName, nil) }

// Register registers a driver with options of its own under another name, for
// tools that take the name of a driver only. It panics if the name is taken.
func Register(name string, opts *driver.Options) {
	sql.Register(name, newDriver(known, opts))
}

// A Driver opens data source names of any engine with one set of options.
type Driver struct {
	engines []driver.Engine
	opts    driver.Options
}

var (
	_ sqldriver.Driver        = (*Driver)(nil)
	_ sqldriver.DriverContext = (*Driver)(nil)
)

func newDriver(known []driver.Engine, opts *driver.Options) *Driver {
	return &Driver{known, *engines.Options(opts)}
}

// OpenConnector is [NewConnector] with the driver's options.
func (d *Driver) OpenConnector(dsn string) (sqldriver.Connector, error) {
	c, err := d.connector(dsn)
	if err != nil {
		return nil, err // not a nil *Connector in an interface
	}
	return c, nil
}

// Open opens one connection. database/sql calls OpenConnector instead, once for each DB.
func (d *Driver) Open(dsn string) (sqldriver.Conn, error) {
	c, err := d.OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

// String returns the driver's default name.
func (d *Driver) String() string { return DriverName }

// Format writes what String returns, whatever the verb.
func (d *Driver) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// A Connector opens connections to the database that a secret describes, of whatever
// engine. It is for [database/sql.OpenDB], and may be used from several goroutines at
// once.
type Connector struct {
	driver   *Driver
	selector *driver.Selector
	secretID string

	mu         sync.Mutex                // never held over a call of the network
	connectors map[int]*driver.Connector // by index in driver.engines
}

var _ sqldriver.Connector = (*Connector)(nil)

// NewConnector returns a connector; nothing is fetched or dialled yet. A nil opts means
// all defaults, with the process's default caches. Errors are as [driver.NewConnector]'s
// where the data source name says the engine; an engine's parameters of one that does
// not are checked by Connect.
func NewConnector(dsn string, opts *driver.Options) (*Connector, error) {
	return newDriver(known, opts).connector(dsn)
}

func (d *Driver) connector(dsn string) (*Connector, error) {
	s, err := driver.NewSelector(dsn, &d.opts)
	if err != nil {
		return nil, err
	}
	c := &Connector{driver: d, selector: s, secretID: s.SecretID(), connectors: map[int]*driver.Connector{}}
	if !s.Fixed() {
		return c, nil
	}
	one, err := c.choose(context.Background()) // which asks nobody
	if err != nil {
		return nil, err
	}
	_, c.secretID, _ = strings.Cut(one.String(), " ")
	return c, nil
}

// Connect finds the engine and connects as [driver.Connector.Connect] does. Reading a
// secret that is not cached takes Options.ConnectTimeout at most, like the rest.
// Errors are *driver.Error; driver.ErrEngineMismatch says that there is no such engine.
func (c *Connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	one, err := c.choose(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := one.Connect(ctx)
	if err == nil || !errors.Is(err, driver.ErrEngineMismatch) {
		return conn, err
	}
	// The secret has changed under the connect, or one saw it do so.
	if other, otherErr := c.choose(ctx); otherErr == nil && other != one {
		return other.Connect(ctx)
	}
	return nil, err
}

// choose returns the connector of the engine, which is made once for each.
func (c *Connector) choose(ctx context.Context) (*driver.Connector, error) {
	i, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.connectors[i]; one != nil {
		return one, nil
	}
	one, err := c.selector.Connector(c.driver.engines[i])
	if err != nil {
		return nil, err
	}
	c.connectors[i] = one
	return one, nil
}

// find returns the index of the engine.
func (c *Connector) find(ctx context.Context) (int, error) {
	scheme := c.selector.Scheme()
	if scheme != "" {
		if i := c.index(func(e driver.Info) bool { return slices.Contains(e.Schemes, scheme) }); i >= 0 {
			return i, nil
		}
		return 0, &driver.Error{Op: "parse data source name", Kind: driver.ErrBadDSN,
			Err: fmt.Errorf("what follows %q is none of %q", "jdbc-secretsmanager:", c.names(func(e driver.Info) []string { return e.Schemes }))}
	}
	timeout := c.driver.opts.ConnectTimeout
	if timeout == 0 {
		timeout = driver.DefaultConnectTimeout
	}
	ours := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ours, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	name, err := c.selector.Engine(ours)
	if err != nil {
		if e := (*driver.Error)(nil); ours.Err() != nil && ctx.Err() == nil && errors.As(err, &e) {
			late := *e
			late.Err = fmt.Errorf("not connected within %v: %w", timeout, e.Err)
			return 0, &late
		}
		return 0, err
	}
	// By name first: the engines of MySQL and MariaDB accept each other's.
	if i := c.index(func(e driver.Info) bool { return e.Name == name }); i >= 0 {
		return i, nil
	}
	if i := c.index(func(e driver.Info) bool { return e.Accepts(name) }); i >= 0 {
		return i, nil
	}
	names := c.names(func(e driver.Info) []string { return []string{e.Name} })
	if c.selector.Fixed() {
		return 0, &driver.Error{Op: "parse data source name", Kind: driver.ErrEngineMismatch,
			Err: fmt.Errorf(`parameter "engine" names none of %q`, names)}
	}
	return 0, &driver.Error{Op: "choose engine", SecretID: c.secretID, Kind: driver.ErrEngineMismatch,
		Err: fmt.Errorf(`key "engine" names none of %q; "engine" in the data source name goes before the secret's`, names)}
}

func (c *Connector) index(is func(driver.Info) bool) int {
	return slices.IndexFunc(c.driver.engines, func(e driver.Engine) bool { return is(e.Info()) })
}

func (c *Connector) names(of func(driver.Info) []string) []string {
	var names []string
	for _, e := range c.driver.engines {
		names = append(names, of(e.Info())...)
	}
	return names
}

// Driver returns a driver that opens other data source names with the same options.
func (c *Connector) Driver() sqldriver.Driver { return c.driver }

// String returns the driver and the secret's id, as "secretsmanager prod/app".
func (c *Connector) String() string { return strings.TrimSpace(DriverName + " " + c.secretID) }

// Format writes what String returns, whatever the verb.
func (c *Connector) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns what String does.
func (c *Connector) LogValue() slog.Value { return slog.StringValue(c.String()) }
