package driver

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/clock"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A Connector opens connections to the database that a secret describes. Pass it to
// [database/sql.OpenDB]. Several goroutines may use it at once. It has no Close, because it
// holds no connections and its goroutines end on their own. The Close of [database/sql.DB] closes
// the connections. The caller closes a cache that it has put into Options.Secrets; the process's
// default caches need no Close.
type Connector struct {
	engine Engine
	info   Info
	source *dataSource
	empty  error // the error of Connect if the data source name is empty, else nil
	o      Options
	driver *Driver

	parsed   atomic.Pointer[target]   // of the version that was used last
	prepared atomic.Pointer[prepared] // for the endpoint that was used last
	files    []string                 // names of the files in the parameters
	filesDue atomic.Int64             // when the next log record about the files is due, by reader.clock
	tlsOff   sync.Once                // writes the log record that TLS is off although the secret asks for it

	reader     *reader
	resolver   *resolver
	observe    sync.Once // the first Connect call sets log and trace
	gate       *gate     // the first Connect call sets it, after it has opened the secrets
	gateOnce   sync.Once
	tokens     *tokens // nil if the secret's password is sent
	outage     outage
	superseder *superseder
}

var _ sqldriver.Connector = (*Connector)(nil)

// prepared is the result of Engine.Prepare, with the states of the files before the engine read them.
type prepared struct {
	place
	files []fileState
	login Login
}

// NewConnector returns a connector for a data source name. It neither reads the secret nor dials.
// opts must have Secrets or SecretsAt. The packages engines/<db> have a NewConnector that sets the
// engine and SecretsAt.
//
// The error is an *[Error]. It matches ErrBadDSN or ErrEngineMismatch if the data source name is
// wrong. Errors about opts have no Kind. For an empty data source name NewConnector returns a
// connector whose Connect always returns ErrBadDSN, because tools open an empty one to get the
// driver.
func NewConnector(engine Engine, dsn string, opts *Options) (*Connector, error) {
	c := &Connector{engine: engine, info: engine.Info(), o: opts.clone()}
	if err := c.o.checkSecrets(); err != nil {
		return nil, err
	}
	c.driver = &Driver{engine: engine, opts: c.o}
	if dsn == "" {
		c.source, c.empty = &dataSource{}, badDSN(errEmpty)
	} else {
		source, err := parseDSN(engine, &c.info, dsn)
		if err != nil {
			return nil, err
		}
		if err := c.o.checkLocation(source.location); err != nil {
			return nil, err
		}
		c.source = source
	}
	c.source.override(&c.o)
	c.o.setDefaults(&c.info)
	if err := c.checkSuperseded(); err != nil {
		return nil, err
	}
	var err error
	if c.tokens, err = newTokens(c.source, &c.o); err != nil {
		return nil, err
	}
	c.build()
	return c, nil
}

// override sets the options that the data source name has keys for.
func (d *dataSource) override(o *Options) {
	if d.fallback != nil {
		o.FallbackStages = d.fallback
	}
	if d.rotationWindow >= 0 {
		o.RotationWindow = d.rotationWindow
	}
	if d.closeSuperseded != nil {
		o.CloseSuperseded = *d.closeSuperseded
	}
	o.MaxLogins = cmp.Or(d.maxLogins, o.MaxLogins)
}

// checkSuperseded returns an error for CloseSuperseded if the engine cannot close connections.
func (c *Connector) checkSuperseded() error {
	if !c.o.CloseSuperseded || c.info.ClosesSuperseded {
		return nil
	}
	e := &Error{Op: "make connector", SecretID: c.source.secretID, Err: fmt.Errorf(
		"connections of the engine %s cannot be closed when their version is superseded: use DB.SetConnMaxLifetime instead of CloseSuperseded", c.info.Name)}
	if c.source.closeSuperseded != nil { // the data source name asks for it, not the options
		e.Kind = ErrBadDSN
	}
	return e
}

// build makes the parts of the connector that Connect uses.
func (c *Connector) build() {
	c.reader = &reader{id: c.source.secretID, stage: c.source.stage, secrets: &openedSecrets{options: &c.o, source: c.source}, parse: c.target,
		trace: &Trace{}, log: slog.New(slog.DiscardHandler), clock: clock.New()}
	c.outage.clock = c.reader.clock
	c.resolver = &resolver{
		reader: c.reader, timeout: c.o.ConnectTimeout,
		fallbacks: slices.DeleteFunc(slices.Clone(c.o.FallbackStages), func(stage string) bool { return stage == c.source.stage }),
		denied:    map[string]attempt{}, news: make(chan struct{}),
	}
	c.superseder = &superseder{resolver: c.resolver, connect: func(ctx context.Context) (sqldriver.Conn, error) {
		return c.connect(ctx, 0, nil)
	}}
	if c.info.Files != nil {
		c.files = c.info.Files(c.source.params)
	}
}

// setObservers sets the log and the trace of the reader.
func (c *Connector) setObservers() {
	log, trace := c.o.Logger, c.o.Trace
	if c.o.Defaults != nil && (log == nil || trace == nil) {
		l, t := c.o.Defaults()
		log, trace = cmp.Or(log, l), cmp.Or(trace, t)
	}
	if log != nil {
		c.reader.log = log.With("secret", c.source.secretID)
	}
	if trace != nil {
		c.reader.trace = trace
	}
}

// enterGate sets the gate, which connectors that send the same credentials share.
func (c *Connector) enterGate(secrets Secrets) {
	g := newGate(c.o.MaxLogins)
	if c.tokens == nil { // with tokens, each connector has its own gate
		d := c.source
		g = gateFor(secrets, gateKey{id: d.secretID, stage: d.stage, host: d.host, port: d.port, fields: d.fields,
			plaintext: c.info.TurnsTLSOff != nil && c.info.TurnsTLSOff(d.params), maxLogins: c.o.MaxLogins})
	}
	c.gate, c.resolver.gate = g, g
}

// Driver returns a [Driver] with the connector's engine and options.
func (c *Connector) Driver() sqldriver.Driver { return c.driver }

// String returns the name of the driver and the secret's id, such as
// "secretsmanager-postgres prod/app".
func (c *Connector) String() string {
	return strings.TrimSpace(defaultName(c.info) + " " + c.source.secretID)
}

// Format writes the result of String for every verb.
func (c *Connector) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue returns the result of String.
func (c *Connector) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Connect reads the secret, logs in and returns the vendor's own connection. If the server rejects
// the credentials, Connect refreshes the secret and logs in with the newer version, or with the
// version of a fallback stage. Connect calls that are rejected together share one refresh.
//
// A version that the server has rejected is not sent again until its pause is over. The pause is
// 1 s after the first rejection and doubles up to 5 minutes, less a random part of up to a quarter.
// If no version works, the next refresh is due after 1 s, doubling to 55 s. Until then, Connect
// waits for the refresh if it is due within a second, and otherwise returns the last failure at
// once, without a login. Connectors whose logins count together (see Options.MaxLogins) share the
// pauses. A program may call Connect as often as it likes: the pauses limit the logins, and Connect
// works again, without a restart, within minutes after the secret and the database match.
//
// Connect does not repeat a login that failed for another reason than its credentials. The
// exception is a secret that is itself to blame: it is malformed or for another engine, its host has
// no address, the server has no such database, or the account is locked. Connect then refreshes the
// secret, and logs in once more if the refresh finds another version. If the server cannot be
// reached, it may have moved: the first Connect call that begins a random 1 to 5 minutes after the
// first failure refreshes the secret before its login. For each secret and stage, such a refresh
// happens at most once in 5 minutes, and only if the cached copy is more than a minute old.
//
// Errors are of type *[Error]. An error matches [ErrAuthFailed] if the server rejected every
// credential that was due; [errors.As] then finds the server's error. If the secret could not be
// read, the error matches that of the source, such as secretcache.ErrNotFound. If ctx ends, the error also
// says what kept the secret or the login from arriving in time. No error matches
// [sqldriver.ErrBadConn], which would make database/sql repeat the call.
func (c *Connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	if c.empty != nil {
		return nil, c.empty
	}
	return c.connect(ctx, c.o.RotationWindow, c.o.AfterConnect)
}

// connect is Connect with the given RotationWindow and AfterConnect.
func (c *Connector) connect(ctx context.Context, window time.Duration, hook func(context.Context, sqldriver.Conn) error) (sqldriver.Conn, error) {
	c.observe.Do(c.setObservers)
	a := call{Connector: c, start: time.Now()}
	if start := c.reader.trace.ConnectStart; start != nil {
		if traced := start(ctx, ConnectInfo{SecretID: c.source.secretID}); traced != nil {
			ctx = traced
		}
	}
	conn, err := a.run(ctx, window)
	if err == nil && hook != nil {
		if err = a.afterConnect(ctx, hook, conn); err != nil {
			conn = nil
		}
	}
	if c.reader.trace.ConnectDone != nil {
		c.reader.trace.ConnectDone(ctx, ConnectInfo{SecretID: c.source.secretID, Version: a.used.version(), Logins: a.logins,
			Duration: time.Since(a.start), Err: err})
	}
	return conn, err
}

// target parses a version. It parses the same version only once.
func (c *Connector) target(s *secretcache.Secret) (*target, error) {
	if t := c.parsed.Load(); t != nil && t.secret == s {
		return t, nil
	}
	t, err := parseSecret(s, c.source, &c.info, c.tokens != nil)
	if err != nil {
		return nil, newError("read secret", c.source.secretID, s.VersionID(), err)
	}
	c.parsed.Store(t)
	return t, nil
}

// prepare returns the engine's Login for a version. It calls Engine.Prepare again only if the place
// or the files have changed.
func (c *Connector) prepare(v candidate, files []fileState) (Login, error) {
	if v.err != nil {
		return nil, v.err
	}
	t := v.target
	before := c.prepared.Load()
	samePlace := before != nil && before.place == t.place
	if samePlace && sameFiles(before.files, files) {
		return before.login, nil
	}
	lg, err := c.engine.Prepare(Endpoint{Host: t.host, Port: t.port, Database: t.database,
		Params: c.source.params, IAM: c.source.auth == authIAM, Encrypt: t.ssl && !c.turnsTLSOff(), TLS: c.o.TLS})
	switch {
	case err == nil:
		c.prepared.Store(&prepared{t.place, files, lg})
	case samePlace:
		if c.reader.due(&c.filesDue, filesEvery) {
			c.reader.log.Warn(msgFiles, "error", err)
		}
		return before.login, nil
	}
	return lg, err
}

// turnsTLSOff reports whether the data source name turns TLS off. It is called for a secret that asks
// for TLS, and logs the contradiction once.
func (c *Connector) turnsTLSOff() bool {
	off := c.info.TurnsTLSOff(c.source.params) // not nil: parseSecret returns an error for such a secret
	if off {
		c.tlsOff.Do(func() {
			c.reader.log.Warn(msgPlaintext)
		})
	}
	return off
}
