package driver

import (
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
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	// How long a fall-back stage that the caller may not read is left alone.
	deniedPause = 10 * time.Minute
	// Looks at a fall-back stage that helped nobody: from the first to the second,
	// doubling. A search waits for the next look if it is due within lookWait.
	lookBase, lookMax, lookWait = time.Second, 30 * time.Second, time.Second
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

	secrets  atomic.Pointer[Secrets]  // of SecretsAt
	parsed   atomic.Pointer[target]   // of the secret that was used last
	prepared atomic.Pointer[prepared] // for the endpoint that was used last

	mu     sync.Mutex
	search *search           // of the fall-back stages, under way, or nil
	idle   map[string]idling // by fall-back stage
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
	if o.Secrets == nil && o.SecretsAt == nil {
		return nil, &Error{Op: "make connector", Err: errors.New("options have neither Secrets nor SecretsAt; use the package engines/<db>, which sets them")}
	}
	c := &Connector{
		engine: engine, info: engine.Info(), driver: &Driver{engine: engine, opts: o},
		idle: map[string]idling{},
	}
	if dsn == "" {
		c.source = &dataSource{}
		c.empty = badDSN(errors.New("it is empty"))
	} else {
		source, err := parseDSN(engine, &c.info, dsn)
		if err != nil {
			return nil, err
		}
		if o.Secrets != nil && source.location != (Location{}) {
			return nil, badDSN(errors.New(`parameters "region", "endpoint" and "source" have no effect on Options.Secrets: leave them out, or use Options.SecretsAt`))
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
	start := time.Now()
	a := attempt{Connector: c}
	conn, err := a.run(ctx, start)
	if c.o.Trace.ConnectDone != nil {
		c.o.Trace.ConnectDone(ctx, ConnectInfo{
			SecretID: c.source.secretID, Version: a.version, Logins: a.logins, Duration: time.Since(start), Err: err})
	}
	return conn, err
}

// An attempt is one Connect.
type attempt struct {
	*Connector
	version  string // used last
	logins   int
	rejects  int       // of these logins, and of those of a search that it waited for
	refusals []refusal // of the versions tried
}

// A refusal is what the server said to one version.
type refusal struct {
	stage, version string
	err            error
	former         bool // of an earlier attempt: the version may be tried yet
}

// run tries once, and again until the rotation window is over if every
// credential is rejected.
func (a *attempt) run(ctx context.Context, start time.Time) (sqldriver.Conn, error) {
	conn, err := a.bounded(ctx)
	end := start.Add(a.o.RotationWindow)
	for err != nil && a.o.RotationWindow > 0 && errors.Is(err, ErrAuthFailed) {
		// Callers that wait share the looks at the secret, since the cache spaces them.
		pause := min(backoff.Jitter(time.Second), time.Until(end))
		if pause <= 0 {
			break
		}
		if ctxErr := sleep(ctx, pause); ctxErr != nil {
			return nil, a.rejected(fmt.Errorf("wait for the rotation to finish: %w", ctxErr))
		}
		a.refusals = nil
		conn, err = a.bounded(ctx)
	}
	return conn, err
}

// bounded is try within ConnectTimeout.
func (a *attempt) bounded(ctx context.Context) (sqldriver.Conn, error) {
	if a.o.ConnectTimeout < 0 {
		return a.try(ctx)
	}
	ours, cancel := context.WithTimeout(ctx, a.o.ConnectTimeout)
	defer cancel()
	conn, err := a.try(ours)
	if err != nil && ours.Err() != nil && ctx.Err() == nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			e.Err = fmt.Errorf("not connected within %v: %w", a.o.ConnectTimeout, e.Err)
		}
	}
	return conn, err
}

// maxRounds bounds how often one attempt follows a secret that changes while it
// is being tried.
const maxRounds = 4

// try logs in with what the secret offers, each version at most once.
func (a *attempt) try(ctx context.Context) (sqldriver.Conn, error) {
	secrets, err := a.secretsAt()
	if err != nil {
		return nil, a.fail("open secrets for", err)
	}
	current, err := a.read(ctx, secrets)
	if err != nil {
		return nil, a.fail("get secret", err)
	}
	begin := a.guard.first(choice{current, a.source.stage})
	conn, err := a.login(ctx, begin, unlessRejected)
	if err == nil || !isRefusal(err) {
		return conn, err
	}
	if begin.secret != current {
		a.guard.unprefer(begin)
	}

	rejected := begin.secret
	for range maxRounds {
		found := a.guard.found()
		if ch := a.guard.first(choice{current, a.source.stage}); ch.secret != current && !a.tried(ch.secret) {
			conn, err = a.login(ctx, ch, ifDue)
			if err == nil || !isRefusal(err) {
				return conn, err
			}
			a.guard.unprefer(ch)
		}
		newest, lookErr := a.lookUnless(ctx, found, secrets, rejected)
		if errors.Is(lookErr, errFound) {
			continue
		}
		if lookErr != nil {
			lookErr = fmt.Errorf("look for a newer version: %w", lookErr)
			newest = current // which is still to be tried if another went first
		}
		before := a.rejects
		if !a.tried(newest) {
			conn, err = a.login(ctx, choice{newest, a.source.stage}, ifDue)
			if err == nil || !isRefusal(err) {
				return conn, err
			}
		}
		if lookErr != nil {
			return nil, a.rejected(lookErr)
		}
		if newest.VersionID() == rejected.VersionID() {
			before = a.rejects // a probe brings no news
		}
		if len(a.o.FallbackStages) > 0 {
			if conn, err := a.fallBack(ctx, secrets, newest); conn != nil || err != nil {
				return conn, err
			}
		}
		if a.rejects == before {
			break
		}
		// A version that was new was rejected: the secret may have changed once more.
		rejected = newest
	}
	return nil, a.rejected(nil)
}

// secretsAt returns the cache of the data source name's location.
func (c *Connector) secretsAt() (Secrets, error) {
	if c.o.Secrets != nil {
		return c.o.Secrets, nil
	}
	if s := c.secrets.Load(); s != nil {
		return *s, nil
	}
	s, err := c.o.SecretsAt(c.source.location)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, errors.New("options' SecretsAt returned neither secrets nor an error")
	}
	c.secrets.CompareAndSwap(nil, &s)
	return *c.secrets.Load(), nil
}

// read returns the version that the stage names, from the cache if it is there.
func (a *attempt) read(ctx context.Context, secrets Secrets) (s *secretcache.Secret, err error) {
	start := time.Now()
	// What was read while the version changed may be older; once more is enough
	// unless the secret changes again.
	for range 3 {
		generation := a.guard.generation()
		s, err = secrets.Get(ctx, a.source.secretID, a.source.stage)
		if err != nil || a.guard.observe(generation, s.VersionID()) {
			break
		}
	}
	if a.o.Trace.SecretDone != nil {
		info := SecretInfo{SecretID: a.source.secretID, Stage: a.source.stage, Duration: time.Since(start), Err: err}
		if err == nil {
			info.Version = s.VersionID()
		}
		a.o.Trace.SecretDone(ctx, info)
	}
	return s, err
}

// errFound is the error of a look that ended because another connect has found a
// version that the server accepts.
var errFound = errors.New("found by another connect")

// lookUnless is refresh of the stage itself, or errFound. The look may have to wait
// until it is due, for which nobody should who can log in meanwhile.
func (a *attempt) lookUnless(ctx context.Context, found <-chan struct{}, secrets Secrets, rejected *secretcache.Secret) (*secretcache.Secret, error) {
	look, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-found:
			cancel()
		case <-look.Done():
		}
	}()
	s, err := a.refresh(look, secrets, a.source.stage, rejected)
	if err != nil && look.Err() != nil && ctx.Err() == nil {
		return nil, errFound
	}
	return s, err
}

// refresh looks for another version than rejected, which the server did not
// accept. A fall-back stage is always fetched.
func (a *attempt) refresh(ctx context.Context, secrets Secrets, stage string, rejected *secretcache.Secret) (*secretcache.Secret, error) {
	start := time.Now()
	generation := a.guard.generation()
	info := RefreshInfo{SecretID: a.source.secretID, Stage: stage, Rejected: rejected.VersionID()}
	if stage != a.source.stage {
		rejected = nil
	}
	s, err := secrets.Refresh(ctx, a.source.secretID, stage, rejected)
	info.Err = err
	if err == nil {
		info.Version = s.VersionID()
		if stage == a.source.stage {
			a.guard.observe(generation, info.Version)
		}
	}
	info.Duration = time.Since(start)
	if a.o.Trace.RefreshDone != nil {
		a.o.Trace.RefreshDone(ctx, info)
	}
	log := a.o.Logger.With("secret", a.source.secretID, "stage", stage, "rejected", info.Rejected, "duration", info.Duration)
	switch {
	case ctx.Err() != nil:
		log.DebugContext(ctx, "gave up looking for another version of the secret", "error", err)
	case errors.Is(err, secretcache.ErrNoVersion):
		log.InfoContext(ctx, "no version of the secret has the stage")
	case err != nil:
		log.WarnContext(ctx, "looking for another version of the secret failed", "error", err)
	case info.Version == info.Rejected:
		log.WarnContext(ctx, "the secret has no other version than the rejected one", "version", info.Version)
	default:
		log.InfoContext(ctx, "the secret has another version than the rejected one", "version", info.Version)
	}
	return s, err
}

// A mode says what login does with a version that was rejected before.
type mode bool

const (
	unlessRejected mode = false // leave it: a look for a newer version comes first
	ifDue          mode = true  // send it again if the pause is over
)

// login sends one login with a version, unless the guard is against it. A
// rejection, of now or then, is errRefused.
func (a *attempt) login(ctx context.Context, ch choice, m mode) (sqldriver.Conn, error) {
	a.version = ch.secret.VersionID()
	t, err := a.target(ch.secret)
	if err != nil {
		return nil, a.fail("read secret", err)
	}
	lg, err := a.prepare(t)
	if err != nil {
		return nil, a.fail("connect with secret", err)
	}
	k := loginKey{t.address, a.version}
	if m == unlessRejected {
		if rejection := a.guard.rejection(k); rejection != nil {
			a.refusals = append(a.refusals, refusal{ch.stage, a.version, rejection, true})
			return nil, errRefused
		}
	}
	tk, rejection, err := a.guard.enter(ctx, k)
	if err != nil {
		err = fmt.Errorf("wait to log in: %w", err)
		if len(a.refusals) > 0 {
			return nil, a.rejected(err)
		}
		return nil, a.fail("connect with secret", err)
	}
	if rejection != nil {
		return nil, a.refuse(ch, rejection)
	}

	a.logins++
	info := LoginInfo{SecretID: a.source.secretID, Stage: ch.stage, Version: a.version, Address: t.address}
	start := time.Now()
	conn, o, err := a.send(ctx, tk, lg, t, info)
	info.Duration, info.Rejected, info.Err = time.Since(start), o == rejected, err
	if a.o.Trace.LoginDone != nil {
		a.o.Trace.LoginDone(ctx, info)
	}
	switch o {
	case accepted:
		return conn, nil
	case rejected:
		a.rejects++
		a.o.Logger.WarnContext(ctx, "the server rejected the credentials", "secret", info.SecretID, "stage", info.Stage,
			"version", info.Version, "address", info.Address, "duration", info.Duration, "error", err)
		return nil, a.refuse(ch, err)
	}
	if o == abandoned && len(a.refusals) > 0 {
		return nil, a.rejected(err) // which is why the caller ran out of time
	}
	return nil, a.fail("connect with secret", err)
}

// send sends one login and gives the ticket back: when it returns, all know how
// the login ended.
func (a *attempt) send(ctx context.Context, tk ticket, lg Login, t *target, info LoginInfo) (conn sqldriver.Conn, o outcome, err error) {
	defer func() { a.guard.leave(tk, o, err) }() // o is failed if the engine panics
	if a.o.Trace.LoginStart != nil {
		a.o.Trace.LoginStart(ctx, info)
	}
	conn, err = lg.Connect(ctx, Credentials{User: t.user, Password: t.password})
	if conn == nil && err == nil {
		err = errors.New("the engine returned neither a connection nor an error")
	}
	return conn, outcomeOf(ctx, a.engine, err), err
}

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

// A search is one look through the fall-back stages, for all who need it.
type search struct {
	version string // which the stage names; the server rejected it
	done    chan struct{}
	// Set before done is closed:
	found     *choice // what the server accepted, or nil
	refusals  []refusal
	rejects   int  // how many of them the server sent now
	abandoned bool // its caller gave up: somebody else has to search
}

// fallBack tries the versions of the fall-back stages; current is the stage's
// version, which was rejected. It returns no connection and a nil error if none
// was accepted, whatever the reason: the rejection is what matters.
func (a *attempt) fallBack(ctx context.Context, secrets Secrets, current *secretcache.Secret) (sqldriver.Conn, error) {
	ch := a.guard.first(choice{current, a.source.stage})
	for {
		if !a.tried(ch.secret) {
			conn, err := a.login(ctx, ch, ifDue)
			if err == nil || !isRefusal(err) {
				return conn, err
			}
			a.guard.unprefer(ch)
		}
		a.mu.Lock()
		s := a.search
		if s == nil {
			s = &search{version: current.VersionID(), done: make(chan struct{})}
			a.search = s
			a.mu.Unlock()
			return a.lead(ctx, s, secrets, current), nil
		}
		a.mu.Unlock()
		select {
		case <-s.done:
		case <-ctx.Done():
			return nil, a.rejected(fmt.Errorf("wait for a look at the fall-back stages: %w", ctx.Err()))
		}
		switch {
		case s.found != nil:
			ch = *s.found
		case !s.abandoned && s.version == current.VersionID():
			a.refusals = append(a.refusals, s.refusals...)
			a.rejects += s.rejects
			return nil, nil
		}
	}
}

// lead does the search s for those who wait for it.
func (a *attempt) lead(ctx context.Context, s *search, secrets Secrets, current *secretcache.Secret) (conn sqldriver.Conn) {
	version, before, rejects := a.version, len(a.refusals), a.rejects
	defer func() {
		if conn == nil {
			a.version = version // the error names the stage's version
		}
		s.refusals, s.rejects = slices.Clone(a.refusals[before:]), a.rejects-rejects
		s.abandoned = ctx.Err() != nil
		a.mu.Lock()
		a.search = nil
		a.mu.Unlock()
		close(s.done)
	}()
	for _, stage := range a.o.FallbackStages {
		if stage == a.source.stage || !a.lookDue(ctx, stage, s.version) {
			continue
		}
		secret, err := a.refresh(ctx, secrets, stage, current)
		// A rotation that failed can leave a stage on a version without a value.
		if err == nil && secret.Reveal() != "" && !a.tried(secret) {
			ch := choice{secret, stage}
			if conn, err = a.login(ctx, ch, ifDue); err == nil {
				s.found = &ch
				a.guard.prefer(s.version, ch)
				a.rest(stage, idling{})
				a.o.Logger.InfoContext(ctx, "the server accepted a fall-back version", "secret", a.source.secretID, "stage", stage, "version", a.version)
				return conn
			}
			if e := (*Error)(nil); errors.As(err, &e) {
				// Its kind is not what is wrong with the stage's version.
				a.refusals = append(a.refusals, refusal{stage: stage, version: a.version, err: e.plain()})
			}
		}
		if ctx.Err() == nil {
			a.lookedInVain(stage, s.version, errors.Is(err, secretcache.ErrAccessDenied))
		}
	}
	return nil
}

// idling says for how long a fall-back stage that helped nobody is left alone.
type idling struct {
	version string // of the stage that was rejected: a look for another one is due at once
	looks   *backoff.Backoff
	denied  time.Time // the caller may not read the stage: until then it is left alone
}

// lookDue reports whether a fall-back stage is to be looked at. It waits if that
// is so within lookWait and ctx allows.
func (a *attempt) lookDue(ctx context.Context, stage, version string) bool {
	a.mu.Lock()
	i := a.idle[stage]
	a.mu.Unlock()
	now := time.Now()
	if now.Before(i.denied) {
		return false
	}
	wait := i.looks.Wait(now)
	if wait == 0 || i.version != version {
		return true
	}
	if deadline, ok := ctx.Deadline(); wait > lookWait || ok && deadline.Before(now.Add(wait)) {
		return false
	}
	return sleep(ctx, wait) == nil
}

// lookedInVain notes that a look at a fall-back stage brought nothing that the
// server accepts.
func (a *attempt) lookedInVain(stage, version string, denied bool) {
	a.mu.Lock()
	i := a.idle[stage]
	a.mu.Unlock()
	now := time.Now()
	if i.version != version {
		i = idling{version: version}
	}
	i.looks = i.looks.Next(now, lookBase, lookMax)
	if denied {
		i.denied = now.Add(deniedPause)
	}
	a.rest(stage, i)
}

func (a *attempt) rest(stage string, i idling) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle[stage] = i
}

// tried reports whether the server, or the guard, refused s in this attempt.
func (a *attempt) tried(s *secretcache.Secret) bool {
	return slices.ContainsFunc(a.refusals, func(r refusal) bool { return r.version == s.VersionID() && !r.former })
}

// errRefused is the error of login for a version that was rejected.
var errRefused = errors.New("rejected")

func isRefusal(err error) bool { return err == errRefused }

// refuse notes that a version was rejected with err.
func (a *attempt) refuse(ch choice, err error) error {
	version := ch.secret.VersionID()
	a.refusals = slices.DeleteFunc(a.refusals, func(r refusal) bool { return r.version == version && r.former })
	a.refusals = append(a.refusals, refusal{stage: ch.stage, version: version, err: err})
	return errRefused
}

// rejected returns the error of an attempt in which every version was refused;
// also is why no other could be looked for, or nil.
func (a *attempt) rejected(also error) error {
	return a.wrap("connect with secret", ErrAuthFailed, &rejectedError{slices.Clone(a.refusals), also})
}

func (a *attempt) fail(op string, err error) error {
	// Errors of this package come without operation and secret.
	if e := (*Error)(nil); errors.As(err, &e) && e.Op == "" {
		return a.wrap(op, e.Kind, e.Err)
	}
	return a.wrap(op, nil, err)
}

func (a *attempt) wrap(op string, kind, err error) error {
	return &Error{Op: op, SecretID: a.source.secretID, Version: a.version, Kind: kind, Err: notBadConn(err)}
}

// A rejectedError is what the server said to each version.
type rejectedError struct {
	refusals []refusal
	also     error
}

func (e *rejectedError) Error() string {
	text := ""
	for i, r := range e.refusals {
		if i > 0 {
			text += "; "
		}
		if len(e.refusals) > 1 {
			text += r.stage + " version " + r.version + ": "
		}
		text += r.err.Error()
	}
	if e.also != nil {
		text += "; " + e.also.Error()
	}
	return text
}

func (e *rejectedError) Unwrap() []error {
	errs := make([]error, 0, len(e.refusals)+1)
	for _, r := range e.refusals {
		errs = append(errs, r.err)
	}
	if e.also != nil {
		errs = append(errs, e.also)
	}
	return errs
}

// sleep waits for d, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
