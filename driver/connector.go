package driver

import (
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A Connector opens connections to the database that a secret describes. It is
// for [database/sql.OpenDB], and may be used from several goroutines at once.
type Connector struct {
	engine Engine
	info   Info
	source *dataSource
	empty  error // what Connect returns if the data source name is empty
	o      Options
	driver *Driver
	guard  *guard

	secrets  openedSecrets
	parsed   atomic.Pointer[target]   // of the secret that was used last
	prepared atomic.Pointer[prepared] // for the endpoint that was used last

	trouble trouble
	peeked  atomic.Int64 // when superseded last looked into the cache: nanoseconds of the wall clock

	mu     sync.Mutex
	search *search           // of the fall-back stages, under way, or nil
	idle   map[string]idling // by fall-back stage
	proof  proof             // of superseded
	closed time.Time         // when superseded last had a connection closed
	passed int               // connections that it has let pass since
}

var _ sqldriver.Connector = (*Connector)(nil)

// prepared is an engine's configuration for an endpoint.
type prepared struct {
	host     string
	port     int
	database string
	login    Login
}

// NewConnector returns a connector of engine for a data source name; nothing is
// fetched or dialled yet. Errors are ErrBadDSN and ErrEngineMismatch, and one if
// opts has neither Secrets nor SecretsAt. Only the empty data source name waits
// for Connect to be refused, since tools open a driver with it to get at it.
func NewConnector(engine Engine, dsn string, opts *Options) (*Connector, error) {
	o := opts.clone()
	if err := o.checkSecrets(); err != nil {
		return nil, err
	}
	c := &Connector{
		engine: engine, info: engine.Info(), driver: &Driver{engine: engine, opts: o},
		idle: map[string]idling{},
	}
	if dsn == "" {
		c.source = &dataSource{}
		c.empty = badDSN(errEmpty)
	} else {
		source, err := parseDSN(engine, &c.info, dsn)
		if err != nil {
			return nil, err
		}
		if err := o.checkLocation(source.location); err != nil {
			return nil, err
		}
		c.source = source
	}

	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if c.source.fallback != nil {
		o.FallbackStages = c.source.fallback
	} else if o.FallbackStages == nil {
		o.FallbackStages = []string{"AWSPENDING"}
	}
	if c.source.rotationWindow >= 0 {
		o.RotationWindow = c.source.rotationWindow
	}
	switch {
	case o.MaxLogins == 0:
		o.MaxLogins = c.info.MaxLogins
	case o.MaxLogins < 0:
		o.MaxLogins = 0
	}
	if c.source.closeSuperseded != nil {
		o.CloseSuperseded = *c.source.closeSuperseded
	}
	if o.CloseSuperseded && !c.info.ClosesSuperseded {
		e := &Error{Op: "make connector", SecretID: c.source.secretID, Err: fmt.Errorf(
			"connections of the engine %s cannot be closed when their version is superseded: use DB.SetConnMaxLifetime instead of CloseSuperseded", c.info.Name)}
		if c.source.closeSuperseded != nil { // and not the options
			e.Kind = ErrBadDSN
		}
		return nil, e
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Trace == nil {
		o.Trace = &Trace{}
	}
	c.o = o
	c.guard = newGuard(o.MaxLogins)
	return c, nil
}

// Driver returns a driver that opens other data source names with the same
// engine and options.
func (c *Connector) Driver() sqldriver.Driver { return c.driver }

// String returns the driver and the secret's id, as "secretsmanager-postgres prod/app".
func (c *Connector) String() string {
	return strings.TrimSpace(defaultName(c.info) + " " + c.source.secretID)
}

// Format writes what String returns, whatever the verb.
func (c *Connector) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns what String does.
func (c *Connector) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Connect reads the secret and logs in. If the server rejects the credentials, it
// looks for a newer version of the secret, once, and logs in with that, or with
// one of the fall-back stages; each version at most once. It returns the vendor's
// own connection.
//
// Errors are *Error. One for which the server rejected everything is
// ErrAuthFailed and has the server's error in its tree; none matches
// [sqldriver.ErrBadConn].
func (c *Connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	if c.empty != nil {
		return nil, c.empty
	}
	return c.connect(ctx, c.o.RotationWindow)
}

// connect is Connect with a window of its own.
func (c *Connector) connect(ctx context.Context, window time.Duration) (sqldriver.Conn, error) {
	a := attempt{Connector: c, start: time.Now()}
	conn, err := a.run(ctx, window)
	info := ConnectInfo{
		SecretID: c.source.secretID, Version: a.version, Logins: a.logins, Duration: time.Since(a.start), Err: err}
	if c.o.Trace.ConnectDone != nil {
		c.o.Trace.ConnectDone(ctx, info)
	}
	if len(a.story) > 0 {
		log := c.o.Logger.With("secret", info.SecretID, "version", info.Version, "logins", info.Logins, "duration", info.Duration)
		if err == nil {
			log.InfoContext(ctx, "connected after credentials were rejected")
		} else {
			log.WarnContext(ctx, "not connected after credentials were rejected", "error", err)
		}
	}
	return conn, err
}

// secretsAt returns the cache of the data source name's location.
func (c *Connector) secretsAt() (Secrets, error) { return c.secrets.open(&c.o, c.source.location) }

// target returns what a version says, parsed once.
func (c *Connector) target(s *secretcache.Secret) (*target, error) {
	if t := c.parsed.Load(); t != nil && t.secret == s {
		return t, nil
	}
	t, err := parseSecret(s, c.source, &c.info)
	if err == nil {
		c.parsed.Store(t)
	}
	return t, err
}

// prepare returns the engine's configuration for t, made once.
func (c *Connector) prepare(t *target) (Login, error) {
	if p := c.prepared.Load(); p != nil && p.host == t.host && p.port == t.port && p.database == t.database {
		return p.login, nil
	}
	lg, err := c.engine.Prepare(Endpoint{
		Host: t.host, Port: t.port, Database: t.database, Params: c.source.params, TLS: c.o.TLS})
	if err != nil {
		return nil, err
	}
	c.prepared.Store(&prepared{t.host, t.port, t.database, lg})
	return lg, nil
}
