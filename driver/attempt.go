package driver

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An attempt is one Connect.
type attempt struct {
	*Connector
	start   time.Time
	version string // used last
	logins  int
	rejects int // of these logins, and of those of a search that it waited for

	// Of the round, of which RotationWindow may allow several:
	began  time.Time
	story  []step // what came of it
	moved  bool   // a search saw the stage on another version than it had been
	blamed bool   // the last failure says that the secret itself is of no use
}

// A step of an attempt is a version that was refused, or a look at a stage that
// brought nothing.
type step struct {
	text    string
	err     error    // what the server said, or nil
	version string   // that was refused, or empty
	former  bool     // it was rejected earlier: it may be tried yet
	unsent  loginKey // of a login that the guard was against, else zero
}

// run tries once, and again until the window is over if every credential is
// rejected.
func (a *attempt) run(ctx context.Context, window time.Duration) (sqldriver.Conn, error) {
	end := a.start.Add(window)
	for {
		news := a.guard.news()
		conn, err := a.bounded(ctx)
		// Callers that wait share the looks at the secret, since the cache spaces
		// them, and what one of them finds wakes the others.
		pause := min(backoff.Jitter(time.Second), time.Until(end))
		if err == nil || window <= 0 || pause <= 0 || !errors.Is(err, ErrAuthFailed) {
			return conn, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-news:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, a.rejected(fmt.Errorf("wait for the rotation to finish: %w", ctx.Err()))
		}
		timer.Stop()
	}
}

// bounded is a round: try within ConnectTimeout.
func (a *attempt) bounded(ctx context.Context) (sqldriver.Conn, error) {
	a.began, a.story, a.moved = time.Now(), nil, false
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

// try reads the secret and logs in with what it offers.
func (a *attempt) try(ctx context.Context) (sqldriver.Conn, error) {
	secrets, err := a.secretsAt()
	if err != nil {
		return nil, a.fail("open secrets for", err)
	}
	current, err := a.read(ctx, secrets)
	if err != nil {
		return nil, a.fail("get secret", err)
	}
	if a.trouble.lookDue(a.began) {
		if newer := a.recheck(ctx, secrets, current); newer != nil {
			current = newer
		}
	}
	conn, err := a.offer(ctx, secrets, current)
	if err != nil && a.blamed && !errors.Is(err, ErrAuthFailed) {
		if newer := a.recheck(ctx, secrets, current); newer != nil {
			return a.offer(ctx, secrets, newer)
		}
	}
	return conn, err
}

// maxRounds bounds how often one attempt follows a secret that changes while it
// is being tried.
const maxRounds = 4

// offer logs in with current and, if the server rejects that, with what else the
// secret offers, each version at most once.
func (a *attempt) offer(ctx context.Context, secrets Secrets, current *secretcache.Secret) (sqldriver.Conn, error) {
	begin := a.guard.first(choice{current, a.source.stage})
	conn, err := a.login(ctx, begin, unlessRejected)
	if err == nil || !isRefusal(err) {
		return conn, err
	}
	if begin.secret != current {
		a.guard.unprefer(begin)
	}

	rejected := begin.secret
	for rounds := 0; rounds < maxRounds; {
		news := a.guard.news()
		ch := a.guard.first(choice{current, a.source.stage})
		if ch.secret != current && !a.tried(ch.secret) || a.redeemed(ch.secret) {
			conn, err = a.login(ctx, ch, ifDue)
			if err == nil || !isRefusal(err) {
				return conn, err
			}
			a.guard.unprefer(ch)
		}
		newest, lookErr := a.lookUnless(ctx, news, secrets, rejected)
		if errors.Is(lookErr, errNews) {
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
		if len(a.o.FallbackStages) > 0 && !a.overtaken(newest) {
			if conn, err := a.fallBack(ctx, secrets, newest); conn != nil || err != nil {
				return conn, err
			}
		}
		rejected = newest
		if a.rejects == before && !a.moved && !a.overtaken(newest) {
			break
		}
		// A version that was new was rejected: the secret may have changed once
		// more. Or it has changed between the looks at its stages.
		a.moved = false
		rounds++
	}
	if a.redeemed(rejected) {
		conn, err = a.login(ctx, choice{rejected, a.source.stage}, ifDue)
		if err == nil || !isRefusal(err) {
			return conn, err
		}
	}
	return nil, a.rejected(nil)
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

// errNews is the error of a look that ended because another connect has found a
// version that the server accepts, also again, or a newer one.
var errNews = errors.New("found by another connect")

// lookUnless is refresh of the stage itself, or errNews. The look may have to wait
// until it is due, for which nobody should who can log in meanwhile.
func (a *attempt) lookUnless(ctx context.Context, news <-chan struct{}, secrets Secrets, rejected *secretcache.Secret) (*secretcache.Secret, error) {
	look, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-news:
			cancel()
		case <-look.Done():
		}
	}()
	s, err := a.refresh(look, secrets, a.source.stage, rejected, false)
	if err != nil && look.Err() != nil && ctx.Err() == nil {
		return nil, errNews
	}
	return s, err
}

// refresh looks for another version than rejected, which the server did not
// accept; afresh means that nothing fetched before will do.
func (a *attempt) refresh(ctx context.Context, secrets Secrets, stage string, rejected *secretcache.Secret, afresh bool) (*secretcache.Secret, error) {
	start := time.Now()
	generation := a.guard.generation()
	info := RefreshInfo{SecretID: a.source.secretID, Stage: stage, Rejected: rejected.VersionID()}
	if afresh {
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
	case err != nil && ctx.Err() != nil:
		log.DebugContext(ctx, "gave up looking for another version of the secret", "error", err)
	case errors.Is(err, secretcache.ErrNoVersion):
		a.note("%s names no version", stage)
		log.InfoContext(ctx, "no version of the secret has the stage")
	case err != nil:
		if stage != a.source.stage { // else it is the error's own
			a.note("%s could not be read: %v", stage, err)
		}
		log.WarnContext(ctx, "looking for another version of the secret failed", "error", err)
	case info.Version == info.Rejected:
		a.note("%s names no other version", stage)
		log.WarnContext(ctx, "the secret has no other version than the rejected one", "version", info.Version)
	default:
		log.InfoContext(ctx, "the secret has another version than the rejected one", "version", info.Version)
	}
	return s, err
}

// A rechecker is Secrets with the method that *secretcache.Cache has besides.
type rechecker interface {
	Recheck(ctx context.Context, id, stage string, used *secretcache.Secret) (*secretcache.Secret, error)
}

// recheck returns another version than used, which failed for another reason than
// its credentials, or nil if there is none or it is not the time to ask.
func (a *attempt) recheck(ctx context.Context, secrets Secrets, used *secretcache.Secret) *secretcache.Secret {
	r, ok := secrets.(rechecker)
	if !ok {
		return nil
	}
	start := time.Now()
	generation := a.guard.generation()
	s, err := r.Recheck(ctx, a.source.secretID, a.source.stage, used)
	if err == nil && s.VersionID() == used.VersionID() {
		return nil
	}
	info := RefreshInfo{SecretID: a.source.secretID, Stage: a.source.stage, Duration: time.Since(start), Err: err}
	if err == nil {
		info.Version = s.VersionID()
		a.guard.observe(generation, info.Version)
	}
	if a.o.Trace.RefreshDone != nil {
		a.o.Trace.RefreshDone(ctx, info)
	}
	log := a.o.Logger.With("secret", info.SecretID, "stage", info.Stage, "used", used.VersionID(), "duration", info.Duration)
	if err != nil {
		log.WarnContext(ctx, "looking whether the secret has changed failed", "error", err)
		return nil
	}
	log.InfoContext(ctx, "the secret has changed since it was cached", "version", info.Version)
	return s
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
		a.blamed = true
		return nil, a.fail("read secret", err)
	}
	lg, err := a.prepare(t)
	if err != nil {
		a.blamed = true
		return nil, a.fail("connect with secret", err)
	}
	k := loginKey{t.address, a.version}
	if m == unlessRejected {
		if r := a.guard.rejection(k); r != nil {
			return nil, a.refuse(ch, k, r, true)
		}
	}
	tk, r, err := a.guard.enter(ctx, k, a.began)
	if err != nil {
		err = fmt.Errorf("wait to log in: %w", err)
		if a.refused() {
			return nil, a.rejected(err)
		}
		return nil, a.fail("connect with secret", err)
	}
	if r != nil {
		return nil, a.refuse(ch, k, r, false)
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
		a.trouble.over()
		return conn, nil
	case rejected:
		a.rejects++
		a.o.Logger.WarnContext(ctx, "the server rejected the credentials", "secret", info.SecretID, "stage", info.Stage,
			"version", info.Version, "address", info.Address, "duration", info.Duration, "error", err)
		return nil, a.refuse(ch, k, &rejection{err: err}, false)
	}
	if a.blamed = a.misdirected(err); !a.blamed && !errors.Is(err, context.Canceled) {
		a.trouble.note(time.Now())
	}
	if o == abandoned && a.refused() {
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
	c := Credentials{User: t.user, Password: t.password}
	if a.o.CloseSuperseded {
		c.Superseded = func() bool { return a.superseded(info) }
	}
	conn, err = lg.Connect(ctx, c)
	if conn == nil && err == nil {
		err = errors.New("the engine returned neither a connection nor an error")
	}
	o = outcomeOf(ctx, a.engine, err)
	if end := deadline.Err(ctx); o == abandoned && end != nil && !errors.Is(err, end) {
		err = fmt.Errorf("%w: %w", end, err)
	}
	return conn, o, err
}

// misdirected reports whether a login's error says that the secret leads nowhere:
// its host has no address, or the server no database of that name.
func (a *attempt) misdirected(err error) bool {
	dns := (*net.DNSError)(nil)
	return errors.As(err, &dns) && dns.IsNotFound || a.engine.NoDatabase(err)
}

// tried reports whether the server, or the guard, refused s in this round.
func (a *attempt) tried(s *secretcache.Secret) bool {
	return !a.redeemed(s) && slices.ContainsFunc(a.story, func(p step) bool { return p.version == s.VersionID() && !p.former })
}

// redeemed reports whether the guard refused s in this round and would not now: the
// server has accepted it from another connect.
func (a *attempt) redeemed(s *secretcache.Secret) bool {
	return slices.ContainsFunc(a.story, func(p step) bool {
		return p.version == s.VersionID() && p.unsent != loginKey{} && a.guard.rejection(p.unsent) == nil
	})
}

// overtaken reports whether another connect has seen the stage on a version that is
// neither s nor refused in this round.
func (a *attempt) overtaken(s *secretcache.Secret) bool {
	current := a.guard.stageVersion()
	return current != s.VersionID() && !slices.ContainsFunc(a.story, func(p step) bool { return p.version == current })
}

// refused reports whether any version was.
func (a *attempt) refused() bool {
	return slices.ContainsFunc(a.story, func(p step) bool { return p.version != "" })
}

// errRefused is the error of login for a version that was rejected.
var errRefused = errors.New("rejected")

func isRefusal(err error) bool { return err == errRefused }

// refuse notes that a version was rejected and returns errRefused. The rejection
// has a time if it is one that the guard remembers; former means that the version
// may be tried yet.
func (a *attempt) refuse(ch choice, k loginKey, r *rejection, former bool) error {
	p := step{text: ch.stage + " version " + k.version + " at " + k.address, err: r.err, version: k.version, former: former}
	if !r.at.IsZero() {
		p.unsent = k
		p.text += fmt.Sprintf(", rejected %v ago and not tried again yet", round(time.Since(r.at)))
	}
	if i := slices.IndexFunc(a.story, func(p step) bool { return p.version == k.version && (p.former || p.unsent == k) }); i >= 0 {
		a.story[i] = p
	} else {
		a.story = append(a.story, p)
	}
	return errRefused
}

// note adds to the story what a look at a stage brought, if that was nothing.
func (a *attempt) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.ContainsFunc(a.story, func(p step) bool { return p.text == text }) {
		a.story = append(a.story, step{text: text})
	}
}

// rejected returns the error of an attempt in which every version was refused;
// also is why no other could be looked for, or nil.
func (a *attempt) rejected(also error) error {
	return a.wrap("connect with secret", ErrAuthFailed,
		&rejectedError{slices.Clone(a.story), also, a.logins, round(time.Since(a.start))})
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

// A rejectedError tells what an attempt tried, and what the server said to it.
type rejectedError struct {
	story  []step
	also   error
	logins int
	took   time.Duration
}

func (e *rejectedError) Error() string {
	var parts []string
	for _, p := range e.story {
		if p.err != nil {
			p.text += ": " + p.err.Error()
		}
		parts = append(parts, p.text)
	}
	if e.also != nil {
		parts = append(parts, e.also.Error())
	}
	logins := "1 login"
	if e.logins != 1 {
		logins = fmt.Sprintf("%d logins", e.logins)
	}
	return fmt.Sprintf("%s (%s in %v)", strings.Join(parts, "; "), logins, e.took)
}

func (e *rejectedError) Unwrap() []error {
	var errs []error
	for _, p := range e.story {
		if p.err != nil {
			errs = append(errs, p.err)
		}
	}
	if e.also != nil {
		errs = append(errs, e.also)
	}
	return errs
}

// round returns d as a text should have it.
func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(10 * time.Microsecond)
}
