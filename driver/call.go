package driver

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
)

// A call is one call of Connector.Connect.
type call struct {
	*Connector
	start    time.Time
	began    time.Time   // when this round began; with RotationWindow there are several
	logins   int         // how many this call has sent
	used     candidate   // the version of the last login
	own      attempt     // the last login of this call that was rejected, or zero
	failures int         // in this round: resolutions that found nothing, and offers that were rejected
	blamed   bool        // the last login failed because the secret is malformed or wrong, or the account is locked
	told     attemptLog  // the attempt log of the last error
	states   []fileState // of the files; nil until they are read
}

// maxFailures bounds how often one Connect call begins again because the secret has changed during
// the call. Failures of other calls do not count: with slow logins and quick rotations, they are
// rejected often.
const maxFailures = 4

// run makes rounds until one connects. After ErrAuthFailed it waits for the next resolution, until
// window is over.
func (a *call) run(ctx context.Context, window time.Duration) (conn sqldriver.Conn, err error) {
	for window > 0 {
		news := a.resolver.nextNews()
		conn, err = a.round(ctx)
		left := window - time.Since(a.start)
		if err == nil || left <= 0 || !errors.Is(err, ErrAuthFailed) {
			return conn, err
		}
		if err := sleep(ctx, min(a.resolver.nextDue(), left), news); err != nil {
			return nil, a.tell(a.told.add(attempt{text: "wait for the rotation to finish", err: err}), a.used)
		}
	}
	return a.round(ctx)
}

// afterConnect calls the caller's func with a new connection. It closes the connection if the func
// fails, panics or ends its goroutine.
func (a *call) afterConnect(ctx context.Context, hook func(context.Context, sqldriver.Conn) error, conn sqldriver.Conn) (err error) {
	if a.o.ConnectTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.o.ConnectTimeout)
		defer cancel()
	}
	err = errors.New("it did not return")
	defer func() {
		if p := recover(); p != nil {
			a.reader.log.ErrorContext(ctx, msgPanic, "func", "AfterConnect", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %T", p)
		}
		if err != nil {
			_ = conn.Close()
			// The func may use another connector. Its ErrAuthFailed says nothing about these credentials.
			err = newError("run AfterConnect for", a.reader.id, a.used.version(), &maskedError{notBadConn(err), ErrAuthFailed})
		}
	}()
	return hook(ctx, conn)
}

// sleep waits for d, until wake is closed, or until ctx ends. It returns ctx.Err().
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
	if a.failures = 0; a.began.IsZero() {
		a.began = a.start
	} else {
		a.began = time.Now()
	}
	if a.o.ConnectTimeout < 0 {
		return a.readAndLogIn(ctx)
	}
	ours, cancel := context.WithDeadline(ctx, a.began.Add(a.o.ConnectTimeout))
	defer cancel()
	conn, err := a.readAndLogIn(ours)
	if err == nil || ours.Err() == nil || ctx.Err() != nil {
		return conn, err
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		timedOut := *e // a copy, because other calls may have the same error
		timedOut.Err = fmt.Errorf("not connected within %v: %w", a.o.ConnectTimeout, e.Err)
		err = &timedOut
	}
	return nil, err
}

// readAndLogIn reads the secret and logs in. If the login fails and the secret is to blame, it asks
// the cache for a newer version. If there is one, it logs in once more.
func (a *call) readAndLogIn(ctx context.Context) (sqldriver.Conn, error) {
	if err := a.read(ctx); err != nil {
		return nil, err
	}
	if a.outage.recheckDue() {
		use, _ := a.resolver.use()
		a.reader.recheck(ctx, use, a.resolver)
	}
	conn, err := a.logIn(ctx)
	if err == nil || !a.blamed {
		return conn, err
	}
	if a.reader.recheck(ctx, a.used, a.resolver) {
		conn, err = a.logIn(ctx)
	}
	if e := (*Error)(nil); a.locked(err) && errors.As(err, &e) {
		told := *e
		told.Err = fmt.Errorf("%w; the server has locked the account, and no newer version of the secret is known", e.Err)
		return nil, &told
	}
	return conn, err
}

// read reads the stage and tells the resolver which version it names.
func (a *call) read(ctx context.Context) error {
	secrets, err := a.reader.secrets.open(ctx)
	if err != nil {
		return a.fail("open secrets for", err)
	}
	a.gateOnce.Do(func() { a.enterGate(secrets) })
	var start time.Time
	if a.reader.trace.SecretDone != nil {
		start = time.Now()
	}
	// If another call sees the stage move during the reading, the result may be out of date. The
	// reading is then repeated, at most twice.
	for tries := 1; ; tries++ {
		moves := a.resolver.moves.Load()
		c, reading, err := a.reader.get(ctx)
		ok := false
		if err == nil {
			_, ok = a.resolver.observe(moves, c)
		}
		if ok || err != nil || tries == 3 {
			a.reader.got(ctx, reading, start, err)
			return a.fail("get secret", err)
		}
	}
}

// errAgain says that the call is not over: it logs in again, or goes on waiting.
var errAgain = errors.New("the call goes on")

// logIn logs in with the active version. If the server rejects it, or has not accepted it yet, the
// call joins the resolution.
func (a *call) logIn(ctx context.Context) (sqldriver.Conn, error) {
	for free := ""; ; {
		use, _ := a.resolver.use()
		p := ifAccepted
		if use.id == free {
			p = unlessRejected
		}
		conn, o, err := a.send(ctx, use, p)
		if o != rejected && o != heldBack {
			return conn, a.fail("connect with secret", err)
		}
		conn, free, err = a.resolve(ctx)
		if err != errAgain {
			return conn, err
		}
	}
}

// resolve joins the resolution and waits until this call is connected or has failed. If the error is
// errAgain, the call begins again with the active version. free is the id of a version with which it
// may log in although the verdict is unknown, or empty.
func (a *call) resolve(ctx context.Context) (conn sqldriver.Conn, free string, err error) {
	m := a.resolver.join(ctx, a.began, a.used)
	s := m.resolution
	if s == nil {
		return nil, "", a.waitForNext(ctx, m)
	}
	defer a.resolver.leave(s)
	for {
		select {
		case o := <-s.offers:
			if conn, err := a.accept(ctx, s, o); err != errAgain {
				return conn, "", err
			}
		case <-s.done:
			switch s.result {
			case setFree:
				return nil, s.current.id, errAgain
			case foundNothing:
				return nil, "", a.afterFailure(s.failure, m.number)
			}
			return nil, "", errAgain
		case <-ctx.Done():
			return nil, "", a.gaveUp(s, candidate{}, ctx.Err())
		}
	}
}

// waitForNext waits until the next resolution is due, if that is soon. Otherwise it returns the
// failure of the last resolution.
func (a *call) waitForNext(ctx context.Context, m membership) error {
	f := m.failure
	if f == nil {
		return errAgain
	}
	if !canWait(ctx, m.wait) {
		return a.tell(f.log, f.current)
	}
	if err := sleep(ctx, m.wait, m.news); err != nil {
		return a.tell(f.log.add(attempt{text: "wait for the next refresh", err: err}), f.current)
	}
	return errAgain
}

// accept logs in with the version that the resolution offers, and reports the outcome to the
// resolution. If the error is errAgain, the call goes on waiting.
func (a *call) accept(ctx context.Context, s *resolution, o offer) (sqldriver.Conn, error) {
	login, cancel := context.WithCancel(ctx)
	defer cancel()
	resolver := a.resolver // the call itself stays on the stack
	defer context.AfterFunc(s.ctx, func() {
		if better, _ := resolver.use(); better.id != o.id {
			cancel() // the resolution ended with another version
		}
	})()
	r := report{outcome: abandoned} // if the engine panics
	defer func() { o.report <- r }()

	conn, outcome, err := a.send(login, o.candidate, always)
	r = report{outcome, err}
	switch {
	case outcome == accepted:
		if a.gate.verdict(o.key()).state == verdictAccepted {
			s.accept(o.candidate)
		} else {
			r.outcome = abandoned // the acceptance came too late to count
		}
		return conn, nil
	case outcome == abandoned && deadline.Err(ctx) != nil:
		return nil, a.gaveUp(s, o.candidate, err)
	case outcome == rejected:
		a.failures++
		return nil, errAgain
	case outcome == abandoned, outcome == heldBack, !s.isOwn(o.candidate): // the resolution adds it to the attempt log
		a.blamed = false
		return nil, errAgain
	}
	return nil, a.fail("connect with secret", err)
}

// afterFailure decides whether the failure of a resolution is final for this call. It is not if the
// call joined after the last reading began, because the secret may have changed since. number is the
// number under which the call joined.
func (a *call) afterFailure(f *findings, number uint64) error {
	if !f.moving {
		a.failures++
	}
	if a.failures < maxFailures && (f.moving || number > f.answered) {
		return errAgain
	}
	return a.tell(f.log, f.current)
}

// gaveUp returns the error of a call whose context has ended. mine is the version of a login of this
// call that was under way, or zero. If the outcome of a login is unknown, the error is not
// ErrAuthFailed.
func (a *call) gaveUp(s *resolution, mine candidate, err error) error {
	log, reading, trying, current := s.progress()
	if mine.secret != nil {
		trying = mine
	}
	end := attempt{text: "wait for a version that the server accepts", err: err}
	switch {
	case trying.secret != nil:
		end = attempt{text: "wait for the login with " + trying.name(), err: err, version: trying.version()}
		v := a.gate.verdict(trying.key())
		if end.open = v.state != verdictRejected; !end.open {
			log = log.add(rejectedAttempt(trying, v))
		}
	case reading != "":
		end = a.reader.interrupted(reading, err)
	}
	return a.tell(log.add(end), current)
}

// tell returns an error that lists what was tried. current is the version that the stage names.
func (a *call) tell(log attemptLog, current candidate) error {
	if a.own.rejected && !log.has(a.own.key) {
		log = append(attemptLog{a.own}, log...)
	}
	a.used, a.told = current, log
	now := time.Now()
	open, kind := log.verdict()
	return &Error{Op: "connect with secret", SecretID: a.reader.id, Version: cmp.Or(open, current.version()), Kind: kind,
		Err: notBadConn(&triedError{log, a.began, now, a.logins, now.Sub(a.start), a.tokens.toCheck()})}
}

// fail returns the error of a call that failed for one reason, or nil.
func (a *call) fail(op string, err error) error {
	if err == nil {
		return nil // without an allocation
	}
	if e := (*Error)(nil); errors.As(err, &e) && e.Op != "" {
		return err
	}
	return newError(op, a.reader.id, a.used.version(), err)
}
