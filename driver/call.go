package driver

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
)

// A call is one call of Connector.Connect.
type call struct {
	*Connector
	start  time.Time
	began  time.Time // of the round: RotationWindow may allow several
	logins int       // sent
	used   candidate // the last one
	own    attempt   // the last rejection that this call met, or zero

	failures int        // resolutions of the round that found nothing, and rejected offers
	blamed   bool       // the last failure says that the secret itself is of no use
	told     attemptLog // in the last error
}

// maxFailures bounds how often one Connect call follows a secret that changes while it is
// being tried. Only what the call itself has met counts: the logins of other calls are
// rejected as well where logins are slow and rotations quick.
const maxFailures = 4

// run connects. A call whose every credential was rejected waits for the next resolution
// while the window lasts.
func (a *call) run(ctx context.Context, window time.Duration) (sqldriver.Conn, error) {
	end := a.start.Add(window)
	for {
		news := a.resolver.newsChannel()
		conn, err := a.round(ctx)
		left := time.Until(end)
		if err == nil || window <= 0 || left <= 0 || !errors.Is(err, ErrAuthFailed) {
			return conn, err
		}
		if waitErr := sleep(ctx, min(a.resolver.nextDue(), left), news); waitErr != nil {
			return nil, a.tell(ErrAuthFailed, a.used, a.told, fmt.Errorf("wait for the rotation to finish: %w", waitErr))
		}
	}
}

// sleep waits for d, or until wake is closed. Its error is ctx's.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// round reads the secret and logs in, within ConnectTimeout.
func (a *call) round(ctx context.Context) (sqldriver.Conn, error) {
	a.began, a.failures = time.Now(), 0
	if a.o.ConnectTimeout < 0 {
		return a.readAndLogIn(ctx)
	}
	ours, cancel := context.WithTimeout(ctx, a.o.ConnectTimeout)
	defer cancel()
	conn, err := a.readAndLogIn(ours)
	if err != nil && ours.Err() != nil && ctx.Err() == nil {
		if e := (*Error)(nil); errors.As(err, &e) {
			e.Err = fmt.Errorf("not connected within %v: %w", a.o.ConnectTimeout, e.Err)
		}
	}
	return conn, err
}

// readAndLogIn reads the secret and logs in with what it says. If that is to blame for a
// failure, it asks whether the secret has changed, and logs in once more if so.
func (a *call) readAndLogIn(ctx context.Context) (sqldriver.Conn, error) {
	use, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	if a.outage.recheckDue() {
		use, _ = a.recheck(ctx, use)
	}
	conn, err := a.logIn(ctx, use)
	if err != nil && a.blamed && !errors.Is(err, ErrAuthFailed) {
		if newer, ok := a.recheck(ctx, a.used); ok {
			return a.logIn(ctx, newer)
		}
	}
	return conn, err
}

// read returns the active version, after reading the one that the stage names.
func (a *call) read(ctx context.Context) (candidate, error) {
	secrets, err := a.reader.open(ctx)
	if err != nil {
		return candidate{}, a.fail("open secrets for", err)
	}
	start := time.Now()
	// What was read while the stage moved may be older. Once more is enough unless it
	// moves again.
	for tries := 1; ; tries++ {
		moves := a.resolver.moves.Load()
		reading, err := a.reader.get(ctx, secrets)
		if err != nil {
			a.reader.done(ctx, reading, start, err)
			return candidate{}, a.fail("get secret", err)
		}
		active, ok := a.resolver.observe(moves, a.reader.candidate(reading.Secret, a.reader.stage))
		if ok || tries == 3 {
			a.reader.done(ctx, reading, start, nil)
			return active, nil
		}
	}
}

// recheck returns the active version after asking whether the secret has changed since it
// was cached. ok is false if it has not, or it is too early to ask.
func (a *call) recheck(ctx context.Context, used candidate) (use candidate, ok bool) {
	moves := a.resolver.moves.Load()
	if _, ok = a.reader.recheck(ctx, used, func(c candidate) bool { return a.resolver.observed(moves, c) }); !ok {
		return used, false
	}
	return a.resolver.use(), true
}

// errAgain says that a call is not at its end: it may log in with the active version now,
// or has to wait on.
var errAgain = errors.New("not at its end")

// logIn logs in with the active version. If the server rejects that, or has not accepted
// it yet, the call takes part in the resolution.
func (a *call) logIn(ctx context.Context, use candidate) (sqldriver.Conn, error) {
	for p := ifAccepted; ; use = a.resolver.use() {
		conn, o, err := a.send(ctx, use, p)
		switch o {
		case accepted:
			return conn, nil
		case unusable:
			return nil, err
		case failed, abandoned:
			if a.own.rejected && o == abandoned {
				return nil, a.tell(nil, use, nil, err)
			}
			return nil, a.fail("connect with secret", err)
		}
		conn, p, err = a.resolve(ctx)
		if err != errAgain {
			return conn, err
		}
	}
}

// resolve takes part in the resolution until this call is connected or has failed. If the
// error is errAgain, the call may log in with the active version as p permits.
func (a *call) resolve(ctx context.Context) (conn sqldriver.Conn, p permission, err error) {
	s, number, f, wait := a.resolver.join(ctx, a.began, a.used)
	if f != nil {
		return nil, ifAccepted, a.waitForNext(ctx, f, wait)
	}
	defer a.resolver.leave(s)
	for {
		select {
		case o := <-s.offers:
			if conn, err := a.accept(ctx, s, o); err != errAgain {
				return conn, ifAccepted, err
			}
		case <-s.done:
			switch s.result.kind {
			case setFree:
				return nil, unlessRejected, errAgain
			case foundNothing:
				return nil, ifAccepted, a.judge(s.result.failure, number)
			}
			return nil, ifAccepted, errAgain
		case <-ctx.Done():
			return nil, ifAccepted, a.gaveUp(s, ctx.Err())
		}
	}
}

// accept logs in with what the resolution offers, and reports how that went. The error is
// errAgain if the call has to wait on.
func (a *call) accept(ctx context.Context, s *resolution, o offer) (sqldriver.Conn, error) {
	login, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.ctx, func() {
		if a.resolver.use().id != o.id {
			cancel() // the resolution ended: there is a better version
		}
	})
	defer stop()
	r := report{outcome: failed, err: errors.New("the engine panicked")}
	defer func() { o.report <- r }()

	conn, outcome, err := a.send(login, o.candidate, always)
	r = report{outcome, err}
	switch fallback := o.stage != a.reader.stage; {
	case outcome == accepted:
		s.accept(o.candidate)
		return conn, nil
	case outcome == abandoned && deadline.Err(ctx) != nil:
		return nil, a.ranOut(s, o.candidate, err)
	case outcome == rejected, outcome == abandoned, fallback:
		if outcome == rejected {
			a.failures++
		}
		a.blamed = false
		return nil, errAgain // the attempt log has it
	case outcome == unusable:
		return nil, err
	}
	return nil, a.fail("connect with secret", err)
}

// judge decides whether a failure answers this call, which joined the resolution under a
// number. One that read the secret before the call joined does not: the secret may have
// changed since.
func (a *call) judge(f *failure, number uint64) error {
	if !f.moving {
		a.failures++
	}
	if a.failures < maxFailures && (f.moving || number > f.answered) {
		return errAgain
	}
	return a.foundNothing(f, f.also)
}

// waitForNext waits until the next resolution is due, if that is soon. Otherwise it
// returns what the last one said.
func (a *call) waitForNext(ctx context.Context, f *failure, wait time.Duration) error {
	if !canWait(ctx, wait) {
		return a.foundNothing(f, f.also)
	}
	if err := sleep(ctx, wait, a.resolver.newsChannel()); err != nil {
		return a.foundNothing(f, fmt.Errorf("wait for the next refresh: %w", err))
	}
	return errAgain
}

// foundNothing returns the error of a call for which no version was found; also says why
// it ended.
func (a *call) foundNothing(f *failure, also error) error {
	if f.other != nil {
		return a.tell(nil, f.culprit, f.log, also)
	}
	return a.tell(ErrAuthFailed, f.current, f.log, also)
}

// gaveUp returns the error of a call that leaves the resolution because of err, its
// context's.
func (a *call) gaveUp(s *resolution, err error) error {
	log, reading, trying, current := a.resolver.progress(s)
	if trying.secret != nil {
		waitErr := fmt.Errorf("wait for the login with %s: %w", trying.name(), err)
		k, r, isRejected := a.verdict(trying)
		if !isRejected {
			return a.tell(nil, trying, log, waitErr)
		}
		return a.tell(ErrAuthFailed, current, log.add(rejectedAttempt(trying, k, r)), waitErr)
	}
	switch {
	case reading != "":
		return a.tell(ErrAuthFailed, current, log, a.reader.interrupted(reading, err))
	}
	return a.tell(ErrAuthFailed, current, log, fmt.Errorf("wait for a version that the server accepts: %w", err))
}

// ranOut returns the error of a call whose time was over while it logged in with what the
// resolution offered.
func (a *call) ranOut(s *resolution, c candidate, err error) error {
	log, _, _, _ := a.resolver.progress(s)
	if len(log) == 0 && !a.own.rejected {
		return a.fail("connect with secret", err)
	}
	kind := error(nil)
	if _, _, isRejected := a.verdict(c); isRejected {
		kind = ErrAuthFailed // a retry
	}
	return a.tell(kind, c, log.add(attempt{text: c.name(), err: err, at: time.Now()}), nil)
}

// verdict returns the rejection if the server has rejected c. If it has not answered yet,
// the credentials are not to blame.
func (a *call) verdict(c candidate) (k loginKey, r rejection, isRejected bool) {
	k, err := a.resolver.locate(c)
	if err != nil {
		return k, r, false
	}
	state, r := a.gate.state(k)
	return k, r, state == verdictRejected
}

// tell returns an error that tells what was tried for this call. c is the version that it
// names, and also says why the call ended.
func (a *call) tell(kind error, c candidate, log attemptLog, also error) error {
	if a.own.rejected && !log.has(a.own.key) {
		log = append(attemptLog{a.own}, log...)
	}
	a.used, a.told = c, log
	if len(log) == 0 {
		return a.fail("connect with secret", also)
	}
	now := time.Now()
	return a.wrap("connect with secret", kind, &triedError{
		log: log, also: also, began: a.began, ended: now, logins: a.logins, took: now.Sub(a.start)})
}

// fail returns the error of a call that failed for one reason.
func (a *call) fail(op string, err error) error {
	// Errors of this package come without operation and secret.
	if e := (*Error)(nil); errors.As(err, &e) && e.Op == "" {
		return a.wrap(op, e.Kind, e.Err)
	}
	return a.wrap(op, nil, err)
}

func (a *call) wrap(op string, kind, err error) error {
	e := &Error{Op: op, SecretID: a.reader.id, Kind: kind, Err: notBadConn(err)}
	if a.used.secret != nil {
		e.Version = a.used.secret.VersionID()
	}
	return e
}
