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

// NewPool returns a pgxpool that opens its connections by a [driver.Connector]. The engine is an
// [Engine], or a struct that embeds one. opts must have Secrets or SecretsAt: engines.Options(nil)
// has the defaults. The data source name also takes pgxpool's pool_* parameters, such as
// pool_max_conns=10. NewPool makes no connection, unless the pool has MinConns.
//
// configure changes the configuration before the pool is made. Nil changes nothing. In the
// ConnConfig of the configuration:
//
//   - These fields apply to the login: DialFunc, LookupFunc, AfterNetConnect, RuntimeParams,
//     OnNotice, OnPgError, ConnectTimeout (for one host), and the fields for Kerberos, OAuth and
//     the version of the protocol.
//   - Host, Port, Database, User, Password and TLS come from the data source name, the secret and
//     opts. It is an error if configure changes them. The Config of a connection returns the host,
//     the port, the database and the user of the login, and no password.
//   - A ConnectTracer is called once for each connection. The time that it sees includes reading
//     the secret and all logins. [driver.Trace] shows these one by one.
//
// BeforeConnect of the configuration cannot change any of these fields: a change has no effect,
// except that a TLSConfig is an error.
//
// Two fields of opts are special in a pool. CloseSuperseded makes the pool close a superseded
// connection when it would hand it out. AfterConnect is called before the pool's own AfterConnect:
// settings of the session stay, but registered types and prepared statements do not reach the pool.
// Use the pool's own AfterConnect for these.
//
// The errors of NewPool are those of [driver.NewConnector] and of configure. The errors of Acquire
// begin with pgx's "failed to connect to" and have the *driver.Error of the Connector in their
// tree.
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

// ConfigurePool prepares a pool configuration that the program already has: a pgxpool made of
// config then opens its connections as one of [NewPool] does. Call it once for each config.
//
// Parameters of the data source name take precedence over config. The host, the port, the database,
// the user, the password and the TLS of config have no effect, because they come from the data
// source name, the secret and opts. A config that requires TLS is an error, because it would be
// dropped silently, unless the data source name has sslmode=verify-full or opts.TLS verifies the
// server. ConfigurePool calls the Configure func of the engine once with config. The func is also
// called for each connection, as [Engine] says; the fields of config that apply to the login (see
// NewPool) are set after that.
func ConfigurePool(config *pgxpool.Config, engine driver.Engine, dsn string, opts *driver.Options) error {
	o, err := openerFor(config.ConnConfig, engine, dsn, opts)
	if err != nil {
		return err
	}
	o.usePool(config)
	return nil
}

// ConfigureConn prepares the configuration of one connection: [pgx.ConnectConfig] then opens it as
// a pool of [NewPool] does. It is for a connection outside a pool, for example one that waits for
// LISTEN. The rules for config are those of [ConfigurePool].
func ConfigureConn(config *pgx.ConnConfig, engine driver.Engine, dsn string, opts *driver.Options) error {
	o, err := openerFor(config, engine, dsn, opts)
	if err != nil {
		return err
	}
	o.use(config)
	return nil
}

// openerFor returns an opener for a configuration that the caller has from pgx.
func openerFor(config *pgx.ConnConfig, engine driver.Engine, dsn string, opts *driver.Options) (*opener, error) {
	dsn, settings, err := cutPoolSettings(dsn)
	if err == nil && len(settings) > 0 {
		err = badDSN("parameter %q has no effect here: set it in the configuration of the pool", slices.Sorted(maps.Keys(settings))[0])
	}
	if err != nil {
		return nil, err
	}
	if config.Host == bySecret {
		return nil, errors.New("the configuration is prepared already: call ConfigurePool or ConfigureConn once for each configuration")
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

// requiresTLS reports whether a configuration never logs in in plaintext, or verifies the server.
// sslmode=prefer, pgx's default, does neither.
func requiresTLS(c *pgx.ConnConfig) bool {
	plaintext := func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil }
	return c.TLSConfig != nil && (!c.TLSConfig.InsecureSkipVerify || !slices.ContainsFunc(c.Fallbacks, plaintext))
}

// override sets a field to the value of the data source name, if that is not the default.
func override[T comparable](field *T, said, byDefault T) {
	if said != byDefault {
		*field = said
	}
}

var errTLSConfig = errors.New("TLSConfig has no effect: ask for TLS in the data source name, such as sslmode=verify-full, or by driver.Options.TLS")

// checkConfigured returns an error if configure has changed a field that it must not change.
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
	return errors.New(field + " must not be changed: give it in the data source name or in the secret")
}

// cutPoolSettings takes pgxpool's parameters out of a data source name. It changes nothing else
// there.
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

// parsePool returns pgxpool's configuration for settings. Its ConnConfig is not used.
func parsePool(settings map[string]string) (*pgxpool.Config, error) {
	for name, value := range settings {
		config, err := parse(map[string]string{name: value}, pgxpool.ParseConfig)
		if err != nil {
			return nil, badDSN("parameter %q has a value that pgxpool does not accept", name)
		}
		if _, unknown := config.ConnConfig.RuntimeParams[name]; unknown {
			return nil, badDSN("pgxpool has no parameter %q: see pgxpool.ParseConfig for those that it has", name)
		}
	}
	return parse(settings, pgxpool.ParseConfig)
}

func badDSN(format string, args ...any) error {
	return &driver.Error{Op: "parse data source name", Kind: driver.ErrBadDSN, Err: fmt.Errorf(format, args...)}
}

// A hookedEngine is an engine whose logins use the hooks of a pgx configuration.
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

// loginOf returns the login of this package, which another package's login may wrap.
func loginOf(lg driver.Login) (*login, error) {
	for {
		switch l := lg.(type) {
		case *login:
			return l, nil
		case interface{ Unwrap() driver.Login }:
			lg = l.Unwrap()
		default:
			return nil, fmt.Errorf("logins of type %T are not those of pgxv5.Engine: give the type a method Unwrap() driver.Login that returns one of them", lg)
		}
	}
}

// copyHooks copies the fields that apply to a login. It copies them one by one, because a
// configuration also has private fields of pgx that belong to its TLS.
func copyHooks(to, from *pgx.ConnConfig) {
	to.DialFunc, to.LookupFunc, to.AfterNetConnect = from.DialFunc, from.LookupFunc, from.AfterNetConnect
	to.RuntimeParams = maps.Clone(from.RuntimeParams)
	to.ConnectTimeout = from.ConnectTimeout
	to.OnNotice, to.OnPgError = from.OnNotice, from.OnPgError
	to.KerberosSrvName, to.KerberosSpn, to.OAuthTokenProvider = from.KerberosSrvName, from.KerberosSpn, from.OAuthTokenProvider
	to.MinProtocolVersion, to.MaxProtocolVersion = from.MinProtocolVersion, from.MaxProtocolVersion
	to.MaxProtocolMessageBodyLen = from.MaxProtocolMessageBodyLen
	to.Tracer, to.OnNotification = nil, nil // the connection of the pool has them
}

// usePool changes a configuration so that o opens the connections of its pool.
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

// use changes a configuration so that o opens its connections.
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

// replace sets the fields that belong to the opener, and clears those that the real login has used
// already.
func (o *opener) replace(c *pgx.ConnConfig) {
	c.Host, c.Port, c.Database, c.User, c.Password = o.base.Host, o.base.Port, o.base.Database, o.base.User, ""
	c.TLSConfig, c.Fallbacks, c.SSLNegotiation, c.SSLCertMode = nil, nil, "", ""
	c.RequireAuth, c.ChannelBinding = "", ""
	c.ConnectTimeout = math.MaxInt64 // the Connector has a timeout; a pool would turn zero into two minutes
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{bySecret}, nil }
	c.DialFunc = o.dial
	c.AfterNetConnect = tellEndpoint
}
