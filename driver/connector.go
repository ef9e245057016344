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

// A Connector opens connections to the database that a secret describes. It is
// for [database/sql.OpenDB], and may be used from several goroutines at once.
type Connector struct {
	engine Engine
	info   Info
	source *dataSource
	empty  error // what Connect returns if the data source name is empty
	o      Options
	driver *Driver

	parsed   atomic.Pointer[target]   // of the secret that was used last
	prepared atomic.Pointer[prepared] // for the endpoint that was used last
	files    []string                 // that the parameters name
	filesDue atomic.Int64             // when the next record about them is due, by reader.clock
	tlsOff   sync.Once                // the record that TLS is off although the secret asks for it

	reader     *reader
	resolver   *resolver
	observe    sync.Once // sets what the first Connect call finds in Options.Defaults
	gate       *gate     // set by the first Connect call, when secrets are open
	gateOnce   sync.Once
	tokens     *tokens // nil: the secret's password is sent
	outage     outage
	superseder *superseder
}

var _ sqldriver.Connector = (*Connector)(nil)

// prepared is an engine's configuration, with the files as they were just before it read them.
type prepared struct {
	place
	files []fileState
	login Login
}

// NewConnector returns a connector of engine for a data source name; nothing is
// fetched or dialled yet. Errors are ErrBadDSN and ErrEngineMismatch, and one if
// opts has neither Secrets nor SecretsAt. Only the empty data source name waits
// for Connect to fail, because tools open a driver with it to get at the driver.
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

// override sets the options that the data source name has as well.
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

// checkSuperseded returns an error if connections are to be closed that cannot be.
func (c *Connector) checkSuperseded() error {
	if !c.o.CloseSuperseded || c.info.ClosesSuperseded {
		return nil
	}
	e := &Error{Op: "make connector", SecretID: c.source.secretID, Err: fmt.Errorf(
		"connections of the engine %s cannot be closed when their version is superseded: use DB.SetConnMaxLifetime instead of CloseSuperseded", c.info.Name)}
	if c.source.closeSuperseded != nil { // and not the options
		e.Kind = ErrBadDSN
	}
	return e
}

// build makes the parts that Connect uses.
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

// setObservers sets the log and the trace.
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

// enterGate takes the gate of the connectors that send the same credentials.
func (c *Connector) enterGate(secrets Secrets) {
	g := newGate(c.o.MaxLogins)
	if c.tokens == nil { // tokens are the connector's own
		d := c.source
		g = gateFor(secrets, gateKey{id: d.secretID, stage: d.stage, host: d.host, port: d.port, fields: d.fields,
			plaintext: c.info.TurnsTLSOff != nil && c.info.TurnsTLSOff(d.params), maxLogins: c.o.MaxLogins})
	}
	c.gate, c.resolver.gate = g, g
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

// Connect reads the secret and logs in. If the server rejects the credentials, the secret
// is refreshed, once for all Connect calls that are rejected together, and Connect logs in
// with the newer version, or with one of the fallback stages'. It sends no version that was
// rejected until its pause is over. It returns the vendor's own connection.
//
// Errors are *Error. One for which the server rejected every credential that was due is
// ErrAuthFailed and has the server's error in its tree. An error that ends with a deadline
// also tells why the secret or the login had not come by then. None matches
// [sqldriver.ErrBadConn].
func (c *Connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	if c.empty != nil {
		return nil, c.empty
	}
	return c.connect(ctx, c.o.RotationWindow, c.o.AfterConnect)
}

// connect is Connect with a RotationWindow and an AfterConnect of its own.
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

// target returns what a version says, parsed once.
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

// prepare returns the engine's configuration for a version, made once for each place and
// state of the files.
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

// turnsTLSOff reports whether the data source name turns TLS off, and logs it once: the
// secret asks for TLS.
func (c *Connector) turnsTLSOff() bool {
	off := c.info.TurnsTLSOff(c.source.params) // parseSecret made sure of it
	if off {
		c.tlsOff.Do(func() {
			c.reader.log.Warn(msgPlaintext)
		})
	}
	return off
}
