package pgxv5

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// NewPool returns a pgxpool whose connections a [driver.Connector] opens. The engine is an
// [Engine] or embeds one. The data source name also takes pgxpool's pool_* keys. configure may
// change the configuration before the pool is made, and may be nil. NewPool dials nothing,
// unless the pool has MinConns.
//
// These fields of config.ConnConfig apply to the login itself: DialFunc, LookupFunc,
// AfterNetConnect, RuntimeParams, OnNotice, OnPgError, ConnectTimeout for one host, and those
// for Kerberos, OAuth and the protocol's version. Host, Port, Database, User, Password and TLS
// come from the data source name, the secret and opts: it is an error if configure changes
// them. Config of a connection returns them, without the password. What BeforeConnect changes
// of all these has no effect, except that a TLSConfig is an error. A ConnectTracer sees one
// connect for each connection; it includes reading the secret and all logins, which
// [driver.Trace] shows one by one.
//
// Errors are those of [driver.NewConnector] and of configure. Those of Acquire begin with
// pgx's "failed to connect to" and have the Connector's *driver.Error in their tree.
func NewPool(ctx context.Context, engine driver.Engine, dsn string, opts *driver.Options, configure func(*pgxpool.Config) error) (*pgxpool.Pool, error) {
	dsn, settings, err := cutPoolSettings(dsn)
	if err != nil {
		return nil, err
	}
	o, err := newOpener(engine, dsn, opts)
	if err != nil {
		return nil, err
	}
	config, err := parsePool(settings)
	if err != nil {
		return nil, err
	}
	config.ConnConfig = o.base.Copy()
	if configure != nil {
		if err := configure(config); err != nil {
			return nil, fmt.Errorf("configure the pool: %w", err)
		}
	}
	if err := checkConfigured(config.ConnConfig, o.base); err != nil {
		return nil, fmt.Errorf("configure the pool: %w", err)
	}
	o.usePool(config)
	return pgxpool.NewWithConfig(ctx, config)
}

// ConfigurePool has a pgxpool that is made of config open its connections as [NewPool] does.
// pgx's parameters and settings of the server that the data source name has take precedence
// over config's. Host, port, database, user, password and TLS of config have no effect: the data
// source name, the secret and opts say all that. A config that requires TLS is an error, unless
// the data source name has sslmode=verify-full or opts.TLS verifies the server. Configure of the
// engine changes config.
func ConfigurePool(config *pgxpool.Config, engine driver.Engine, dsn string, opts *driver.Options) error {
	o, err := openerFor(config.ConnConfig, engine, dsn, opts)
	if err != nil {
		return err
	}
	o.usePool(config)
	return nil
}

// ConfigureConn has [pgx.ConnectConfig] open a connection with config as [NewPool] does, for
// example one that is kept for LISTEN. See [ConfigurePool].
func ConfigureConn(config *pgx.ConnConfig, engine driver.Engine, dsn string, opts *driver.Options) error {
	o, err := openerFor(config, engine, dsn, opts)
	if err != nil {
		return err
	}
	o.use(config)
	return nil
}

// openerFor returns an opener for a configuration that pgx has parsed for the caller.
func openerFor(config *pgx.ConnConfig, engine driver.Engine, dsn string, opts *driver.Options) (*opener, error) {
	dsn, settings, err := cutPoolSettings(dsn)
	if err == nil && len(settings) > 0 {
		err = badDSN("parameter %q: set it in the configuration of the pool", slices.Sorted(maps.Keys(settings))[0])
	}
	if err != nil {
		return nil, err
	}
	if config.Host == bySecret {
		return nil, errors.New("the configuration is a pool's already: call ConfigurePool or ConfigureConn once")
	}
	o, err := newOpener(engine, dsn, opts)
	if err != nil {
		return nil, err
	}
	if requiresTLS(config) && !o.verifies {
		return nil, errTLSConfig
	}
	if config.RuntimeParams == nil {
		config.RuntimeParams = map[string]string{}
	}
	if err := o.configure(config); err != nil {
		return nil, &configureError{clean(err)}
	}
	maps.Copy(config.RuntimeParams, o.base.RuntimeParams)
	defaults, err := parse(nil, pgx.ParseConfig)
	if err != nil {
		return nil, parseError(err)
	}
	override(&config.DefaultQueryExecMode, o.base.DefaultQueryExecMode, defaults.DefaultQueryExecMode)
	override(&config.StatementCacheCapacity, o.base.StatementCacheCapacity, defaults.StatementCacheCapacity)
	override(&config.DescriptionCacheCapacity, o.base.DescriptionCacheCapacity, defaults.DescriptionCacheCapacity)
	override(&config.ConnectTimeout, o.base.ConnectTimeout, defaults.ConnectTimeout)
	return o, nil
}

// requiresTLS reports whether a configuration has no login in plaintext, or verifies the server.
// sslmode=prefer, pgx's default, does neither.
func requiresTLS(c *pgx.ConnConfig) bool {
	plaintext := func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil }
	return c.TLSConfig != nil && (!c.TLSConfig.InsecureSkipVerify || !slices.ContainsFunc(c.Fallbacks, plaintext))
}

// override sets a field to what the data source name says, if that is not the default.
func override[T comparable](field *T, said, byDefault T) {
	if said != byDefault {
		*field = said
	}
}

var errTLSConfig = errors.New("TLSConfig has no effect: ask for TLS in the data source name, as sslmode=verify-full, or by driver.Options.TLS")

// checkConfigured returns an error if configure has changed what is not the configuration's.
func checkConfigured(got, base *pgx.ConnConfig) error {
	field := ""
	switch {
	case got.TLSConfig != nil || len(got.Fallbacks) > 0:
		return errTLSConfig
	case got.Host != base.Host:
		field = "Host"
	case got.Port != base.Port:
		field = "Port"
	case got.Database != base.Database:
		field = "Database"
	case got.User != base.User:
		field = "User"
	case got.Password != "":
		field = "Password"
	default:
		return nil
	}
	return errors.New(field + " is not to be changed: the data source name or the secret says it")
}

// cutPoolSettings takes the keys of pgxpool out of a data source name, which is left as it is
// otherwise.
func cutPoolSettings(dsn string) (rest string, settings map[string]string, err error) {
	before, query, ok := strings.Cut(dsn, "?")
	if !ok {
		return dsn, nil, nil
	}
	var others []string
	settings = map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "pool_") {
			others = append(others, pair)
			continue
		}
		value, err := url.PathUnescape(value)
		if err != nil {
			return "", nil, badDSN("parameter %q: its value is not well-formed percent-encoding", name)
		}
		if _, twice := settings[name]; twice {
			return "", nil, badDSN("parameter %q is given twice", name)
		}
		settings[name] = value
	}
	if len(others) == 0 {
		return before, settings, nil
	}
	return before + "?" + strings.Join(others, "&"), settings, nil
}

// parsePool returns pgxpool's configuration for settings, without a ConnConfig of use.
func parsePool(settings map[string]string) (*pgxpool.Config, error) {
	for name, value := range settings {
		config, err := parse(map[string]string{name: value}, pgxpool.ParseConfig)
		if err != nil {
			return nil, badDSN("parameter %q has a value that pgxpool does not take", name)
		}
		if _, unknown := config.ConnConfig.RuntimeParams[name]; unknown {
			return nil, badDSN("pgxpool has no parameter %q; pgxpool.ParseConfig lists those that it has", name)
		}
	}
	return parse(settings, pgxpool.ParseConfig)
}

func badDSN(format string, args ...any) error {
	return &driver.Error{Op: "parse data source name", Kind: driver.ErrBadDSN, Err: fmt.Errorf(format, args...)}
}

// A hookedEngine has an engine's logins heed the hooks of a pgx configuration.
type hookedEngine struct {
	driver.Engine
	params map[string]string // of the data source name
	hooks  *pgx.ConnConfig   // set before the first login
}

func (e *hookedEngine) CheckParams(params map[string]string) error {
	e.params = params
	return e.Engine.CheckParams(params)
}

func (e *hookedEngine) CheckedElsewhere(err error) bool {
	engine, ok := e.Engine.(driver.CheckedElsewhere)
	return ok && engine.CheckedElsewhere(err)
}

func (e *hookedEngine) AccountLocked(err error) bool {
	engine, ok := e.Engine.(driver.AccountLocked)
	return ok && engine.AccountLocked(err)
}

func (e *hookedEngine) Prepare(ep driver.Endpoint) (driver.Login, error) {
	lg, err := e.Engine.Prepare(ep)
	if err != nil {
		return nil, err
	}
	l, err := loginOf(lg)
	if err != nil {
		return nil, err
	}
	configure := l.engine.Configure
	l.engine.Configure = func(c *pgx.ConnConfig) error {
		if configure != nil {
			if err := configure(c); err != nil {
				return err
			}
		}
		if e.hooks != nil {
			copyHooks(c, e.hooks)
		}
		return nil
	}
	return lg, nil
}

// loginOf returns the login of this package that another one may have around it.
func loginOf(lg driver.Login) (*login, error) {
	for {
		switch l := lg.(type) {
		case *login:
			return l, nil
		case interface{ Unwrap() driver.Login }:
			lg = l.Unwrap()
		default:
			return nil, fmt.Errorf("logins of type %T are not pgx's: they need a method Unwrap() driver.Login that returns those of pgxv5.Engine", lg)
		}
	}
}

// copyHooks copies what applies to a login. It goes by field, since there are fields of pgx's
// own in a configuration that belong to its TLS.
func copyHooks(to, from *pgx.ConnConfig) {
	to.DialFunc, to.LookupFunc, to.AfterNetConnect = from.DialFunc, from.LookupFunc, from.AfterNetConnect
	to.RuntimeParams = maps.Clone(from.RuntimeParams)
	to.ConnectTimeout = from.ConnectTimeout
	to.OnNotice, to.OnPgError = from.OnNotice, from.OnPgError
	to.KerberosSrvName, to.KerberosSpn, to.OAuthTokenProvider = from.KerberosSrvName, from.KerberosSpn, from.OAuthTokenProvider
	to.MinProtocolVersion, to.MaxProtocolVersion = from.MinProtocolVersion, from.MaxProtocolVersion
	to.MaxProtocolMessageBodyLen = from.MaxProtocolMessageBodyLen
	to.Tracer, to.OnNotification = nil, nil // the pool's connection has them
}

// usePool has a pool's connections opened by o.
func (o *opener) usePool(config *pgxpool.Config) {
	o.use(config.ConnConfig)
	if hook := config.BeforeConnect; hook != nil {
		config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
			err := hook(ctx, c)
			if err == nil && c.TLSConfig != nil {
				err = errTLSConfig
			}
			o.replace(c)
			return err
		}
	}
	//lint:ignore SA1019 programs may still set it
	next, before := config.PrepareConn, config.BeforeAcquire
	if next == nil && before != nil {
		next = func(ctx context.Context, conn *pgx.Conn) (bool, error) { return before(ctx, conn), nil }
	}
	config.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
		switch r, ok := conn.PgConn().Conn().(*replayed); {
		case ok && r.superseded != nil && r.superseded():
			return false, nil
		case next != nil:
			return next(ctx, conn)
		}
		return true, nil
	}
}

// use has the connections of a configuration opened by o.
func (o *opener) use(c *pgx.ConnConfig) {
	o.engine.hooks = c.Copy()
	o.replace(c)
	if validate := c.ValidateConnect; validate != nil {
		c.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
			ctx, cancel := o.within(ctx)
			defer cancel()
			return validate(ctx, conn)
		}
	}
}

// replace sets what is the opener's, and clears what the real login has done already.
func (o *opener) replace(c *pgx.ConnConfig) {
	c.Host, c.Port, c.Database, c.User, c.Password = o.base.Host, o.base.Port, o.base.Database, o.base.User, ""
	c.TLSConfig, c.Fallbacks, c.SSLNegotiation, c.SSLCertMode = nil, nil, "", ""
	c.RequireAuth, c.ChannelBinding = "", ""
	c.ConnectTimeout = math.MaxInt64 // the Connector has one; a pool would make two minutes of none
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{bySecret}, nil }
	c.DialFunc = o.dial
	c.AfterNetConnect = tellEndpoint
}
