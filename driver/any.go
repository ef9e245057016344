package driver

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An AnyDriver is a [database/sql/driver.Driver] for several engines, with one set of options.
// [NewAnyDriver] makes one.
type AnyDriver struct {
	name    string
	engines []Engine
	opts    Options
}

var (
	_ sqldriver.Driver        = (*AnyDriver)(nil)
	_ sqldriver.DriverContext = (*AnyDriver)(nil)
)

// NewAnyDriver returns a driver for several engines. Register it with [database/sql.Register] under
// the same name.
//
// The data source name tells the engine, by the scheme of a JDBC URL or by its key "engine".
// Otherwise the secret's key "engine" tells it. The engine is then not known before the first Connect
// call, so that call checks the engine's parameters, not sql.Open. If a later version of the secret
// names another engine, Connect uses that one.
//
// opts must have Secrets or SecretsAt, otherwise NewConnector returns an error.
// [github.com/sqlsecrets/sqlsecrets/engines.Options] returns options with the process's default
// caches.
func NewAnyDriver(name string, engines []Engine, opts *Options) *AnyDriver {
	return &AnyDriver{name, slices.Clone(engines), opts.clone()}
}

// OpenConnector calls NewConnector. [database/sql.Open] needs it.
func (d *AnyDriver) OpenConnector(dsn string) (sqldriver.Connector, error) {
	c, err := d.NewConnector(dsn)
	if err != nil {
		return nil, err // not a nil *AnyConnector in an interface
	}
	return c, nil
}

// Open opens one connection. [database/sql] does not call it. It calls OpenConnector once for each DB.
func (d *AnyDriver) Open(dsn string) (sqldriver.Conn, error) {
	c, err := d.OpenConnector(dsn)
	if err != nil {
		return nil, err
	}
	return c.Connect(context.Background())
}

// String returns the driver's name.
func (d *AnyDriver) String() string { return d.name }

// Format writes the result of String for every verb.
func (d *AnyDriver) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, d.String()) }

// names calls of for each engine and returns all results.
func (d *AnyDriver) names(of func(Info) []string) (names []string) {
	for _, e := range d.engines {
		names = append(names, of(e.Info())...)
	}
	return names
}

// find calls is for each engine and returns the index of the first true result, or -1.
func (d *AnyDriver) find(is func(Info) bool) int {
	return slices.IndexFunc(d.engines, func(e Engine) bool { return is(e.Info()) })
}

// An AnyConnector opens connections to the database that a secret describes, whose engine is one of
// several. Pass it to [database/sql.OpenDB]. Several goroutines may use it at once.
type AnyConnector struct {
	driver  *AnyDriver
	dsn     string
	source  *dataSource // empty for a JDBC URL
	o       Options
	fixed   int // index of the engine that the data source name tells; -1 if the secret tells it
	id      string
	secrets *openedSecrets
	read    atomic.Pointer[engineOf]  // the version of the secret that was read last
	used    atomic.Pointer[Connector] // the one that the last Connect call used, or the only one; or nil

	mu         sync.Mutex         // guards connectors; not held during a call of the network
	connectors map[int]*Connector // by index in driver.engines
}

var _ sqldriver.Connector = (*AnyConnector)(nil)

// An engineOf is the engine that one version of the secret names.
type engineOf struct {
	secret *secretcache.Secret
	name   string
	err    error
}

// NewConnector returns a connector for a data source name. It neither reads the secret nor dials. If
// the data source name tells the engine, the errors are those of the function [NewConnector].
// Otherwise Connect checks the engine's parameters. ErrEngineMismatch says that the driver does not
// have the engine.
func (d *AnyDriver) NewConnector(dsn string) (*AnyConnector, error) {
	c := &AnyConnector{driver: d, dsn: dsn, source: newDataSource(), o: d.opts.clone(), fixed: -1, connectors: map[int]*Connector{}}
	c.secrets = &openedSecrets{options: &c.o, source: c.source}
	if err := c.o.checkSecrets(); err != nil {
		return nil, err
	}
	if dsn == "" {
		return c, nil // Connect returns the error
	}
	if err := c.parse(); err != nil {
		return nil, err
	}
	c.id = c.source.secretID
	if c.fixed >= 0 {
		one, err := c.connector(c.fixed)
		if err != nil {
			return nil, err
		}
		c.id = one.source.secretID
		c.used.Store(one)
	}
	return c, nil
}

// parse parses the part of a data source name that is the same for all engines.
func (c *AnyConnector) parse() error {
	if rest, ok := strings.CutPrefix(c.dsn, jdbcPrefix); ok {
		scheme, _, ok := strings.Cut(rest, ":")
		if !ok || !isKey(scheme) || scheme == "" {
			return badDSN(fmt.Errorf("a database's name and a colon must follow %q", jdbcPrefix))
		}
		if c.fixed = c.driver.find(func(e Info) bool { return slices.Contains(e.Schemes, scheme) }); c.fixed < 0 {
			return badDSN(fmt.Errorf("the word after %q is not one of %q", jdbcPrefix, c.driver.names(func(e Info) []string { return e.Schemes })))
		}
		return nil
	}
	if err := c.source.parseBare(c.dsn); err != nil {
		return badDSN(err)
	}
	c.source.moveToRegion()
	if err := c.o.checkLocation(c.source.location); err != nil {
		return err
	}
	if c.source.engine == "" {
		return nil
	}
	if c.fixed = c.driver.named(strings.ToLower(c.source.engine)); c.fixed < 0 {
		return badDSN(mismatch(`parameter "engine" is not one of %q`, c.driver.engineNames()))
	}
	return nil
}

// named returns the index of the engine for a name in lower case, or -1. An engine's own name takes
// precedence over the names that it accepts: MySQL and MariaDB accept each other's names.
func (d *AnyDriver) named(name string) int {
	if i := d.find(func(e Info) bool { return e.Name == name }); i >= 0 {
		return i
	}
	return d.find(func(e Info) bool { return e.Accepts(name) })
}

func (d *AnyDriver) engineNames() []string {
	return d.names(func(e Info) []string { return []string{e.Name} })
}

// Connect finds the engine and then does the same as [Connector.Connect]. To find the engine it may
// have to read the secret, which takes at most one Options.ConnectTimeout more. Errors are of type
// *[Error].
func (c *AnyConnector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	one, err := c.choose(ctx)
	if err != nil {
		return nil, err
	}
	c.used.Store(one)
	conn, err := one.Connect(ctx)
	if err == nil || !errors.Is(err, ErrEngineMismatch) {
		return conn, err
	}
	// The secret may have changed since the engine was chosen.
	if other, otherErr := c.choose(ctx); otherErr == nil && other != one {
		c.used.Store(other)
		return other.Connect(ctx)
	}
	return nil, err
}

// choose finds the engine and returns its connector.
func (c *AnyConnector) choose(ctx context.Context) (*Connector, error) {
	switch {
	case c.dsn == "":
		return nil, badDSN(errEmpty)
	case c.fixed >= 0:
		return c.connector(c.fixed)
	}
	timeout := cmp.Or(c.o.ConnectTimeout, DefaultConnectTimeout)
	ours := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ours, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	name, err := c.engine(ours)
	if err != nil {
		if e := (*Error)(nil); ours.Err() != nil && ctx.Err() == nil && errors.As(err, &e) {
			late := *e
			late.Err = fmt.Errorf("not connected within %v: %w", timeout, e.Err)
			return nil, &late
		}
		return nil, err
	}
	return c.called(name)
}

// called returns the connector of the engine that the secret calls name, in lower case.
func (c *AnyConnector) called(name string) (*Connector, error) {
	i := c.driver.named(name)
	if i < 0 {
		what := `key "engine" is not one of`
		if known := engineNamed(name); known != "" {
			what = "the secret is for " + known + ", and the driver is for"
		}
		return nil, &Error{Op: "choose engine", SecretID: c.id, Kind: ErrEngineMismatch,
			Err: fmt.Errorf(`%s %q; "engine" in the data source name takes precedence over the secret's`, what, c.driver.engineNames())}
	}
	return c.connector(i)
}

// connector returns the connector of an engine. It makes one for each engine. They share the opened
// secrets, unless the data source name is a JDBC URL: there only the engine can find the location.
func (c *AnyConnector) connector(i int) (*Connector, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.connectors[i]; one != nil {
		return one, nil
	}
	one, err := NewConnector(c.driver.engines[i], c.dsn, &c.o)
	if err != nil {
		return nil, err
	}
	if c.source.secretID != "" {
		one.reader.secrets = c.secrets
	}
	c.connectors[i] = one
	return one, nil
}

// engine returns the name of the engine from the secret, in lower case. If the secret is to blame for
// an error, engine asks the cache for a newer version.
func (c *AnyConnector) engine(ctx context.Context) (string, error) {
	secrets, err := c.secrets.open(ctx)
	if err != nil {
		return "", newError("open secrets for", c.id, "", err)
	}
	current, err := secrets.Get(ctx, c.id, c.source.stage)
	if err != nil {
		return "", newError("get secret", c.id, "", err)
	}
	name, err := c.engineOf(current)
	if r, ok := secrets.(rechecker); ok && err != nil {
		if newer, failed := r.Recheck(ctx, c.id, c.source.stage, current); failed == nil && newer != nil && newer != current {
			return c.engineOf(newer)
		}
	}
	return name, err
}

// engineOf parses a version. It parses the same version only once.
func (c *AnyConnector) engineOf(secret *secretcache.Secret) (string, error) {
	if e := c.read.Load(); e != nil && e.secret == secret {
		return e.name, e.err
	}
	e := &engineOf{secret: secret}
	j := decodeSecret(secret)
	if e.name = strings.ToLower(j.text("engine")); e.name == "" {
		j.fail(`key "engine" is missing; secrets that RDS or Redshift manages have none: give "engine" in the data source name`)
	}
	if j.err != nil {
		e.err = newError("read secret", c.id, secret.VersionID(), malformed(j.err))
	}
	c.read.Store(e)
	return e.name, e.err
}

// Driver returns the [AnyDriver] that made the connector.
func (c *AnyConnector) Driver() sqldriver.Driver { return c.driver }

// String returns the driver's name and the secret's id, such as "secretsmanager prod/app".
func (c *AnyConnector) String() string { return strings.TrimSpace(c.driver.name + " " + c.id) }

// Format writes the result of String for every verb.
func (c *AnyConnector) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns the result of String.
func (c *AnyConnector) LogValue() slog.Value { return slog.StringValue(c.String()) }
