package driver

import (
	"cmp"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
)

// send sends one login with a version if p allows it. err says why the login was rejected or failed.
// If the outcome is unusable, Connect returns err unchanged.
func (a *call) send(ctx context.Context, c candidate, p permission) (conn sqldriver.Conn, o outcome, err error) {
	a.used, a.blamed = c, false
	lg, err := a.prepare(c, a.fileStates())
	if err != nil {
		a.blamed = true
		return nil, unusable, a.fail("connect with secret", err)
	}
	tk, ok, err := a.gate.enter(ctx, c.key(), p)
	switch {
	case err != nil:
		return nil, abandoned, err
	case !ok:
		return nil, heldBack, nil
	}
	info := LoginInfo{SecretID: a.reader.id, Stage: c.stage, Version: c.version(), Address: c.target.address}
	before := a.logins
	conn, o, changed, err := a.logInWith(ctx, tk, lg, c, &info)
	if a.logins > before && !isTokenError(err) {
		a.loginDone(ctx, &info)
	}
	switch o {
	case accepted:
		a.outage.over()
		if changed && p != always {
			a.resolver.accepted(nil, c)
		}
	case rejected:
		a.own = rejectedAttempt(c, verdict{err: err, at: time.Now()})
		level := slog.LevelDebug
		if changed { // one INFO record for all logins that were in flight together
			level = slog.LevelInfo
			a.resolver.rejected(c)
		}
		a.reader.log.Log(ctx, level, msgRejected, "stage", info.Stage, "version", info.Version,
			"address", info.Address, "duration", info.Duration, "error", err)
	default:
		a.noteFailure(err)
	}
	return conn, o, err
}

// noteFailure decides whether the secret is to blame for a failed login, or whether an outage begins.
// If there was no token to send, neither is the case.
func (a *call) noteFailure(err error) {
	if isTokenError(err) {
		return
	}
	if a.blamed = a.misdirected(err) || a.locked(err); !a.blamed && !errors.Is(err, context.Canceled) {
		a.outage.note()
	}
}

// logInWith sends one login, or two if a token has to be replaced. It gives the ticket back to the
// gate with the outcome; changed reports whether that changed the verdict. info describes the last
// login.
func (a *call) logInWith(ctx context.Context, tk ticket, lg Login, use candidate, info *LoginInfo) (conn sqldriver.Conn, o outcome, changed bool, err error) {
	base := pauseBase
	defer func() { changed = a.gate.leave(tk, o, base, err) }() // o is failed if the login panics
	c := Credentials{User: use.target.user, Password: use.target.password, Keys: use.target.keys}
	if a.o.CloseSuperseded {
		c.Superseded = a.superseder.check(*info, use.id)
	}
	if a.tokens == nil {
		conn, o, err = a.logInOnce(ctx, lg, c, tk.sent, info)
	} else {
		conn, o, err = a.logInByToken(ctx, lg, c, use, info)
	}
	if o == rejected {
		base = a.pauseAfter(err)
	}
	return conn, o, false, err
}

// logInByToken sends a token in place of the password. If the server rejects a token that was reused,
// logInByToken gets a new one and sends the login once more, because that rejection says nothing
// about the version.
func (a *call) logInByToken(ctx context.Context, lg Login, c Credentials, use candidate, info *LoginInfo) (conn sqldriver.Conn, o outcome, err error) {
	t := use.target
	r := TokenRequest{Host: t.host, Port: t.port, User: t.user, Location: a.source.location, SecretID: cmp.Or(use.secret.ARN(), a.reader.id)}
	for {
		token, reused, failure := a.tokens.get(ctx, r)
		if failure != nil {
			if err = (&tokenError{info.Address, failure, err}); deadline.Err(ctx) != nil {
				return nil, abandoned, err
			}
			return nil, failed, err
		}
		again := err != nil
		c.User, c.Password = token.User, token.Password
		conn, o, err = a.logInOnce(ctx, lg, c, time.Now(), info)
		if o != rejected {
			return conn, o, err
		}
		a.tokens.drop(r, token)
		if again || !reused {
			return nil, o, err
		}
		a.loginDone(ctx, info)
		level := slog.LevelDebug
		if a.reader.due(&a.tokens.replacedDue, replacedEvery) {
			level = slog.LevelInfo
		}
		a.reader.log.Log(ctx, level, msgTokenReplaced,
			"version", info.Version, "address", info.Address, "error", err)
	}
}

// loginDone calls the trace when a login has ended.
func (a *call) loginDone(ctx context.Context, info *LoginInfo) {
	if a.reader.trace.LoginDone != nil {
		a.reader.trace.LoginDone(ctx, *info)
	}
}

// logInOnce sends one login and sets the result in info. start is the begin of the login, about now.
func (a *call) logInOnce(ctx context.Context, lg Login, c Credentials, start time.Time, info *LoginInfo) (conn sqldriver.Conn, o outcome, err error) {
	a.logins++
	info.Duration, info.Rejected, info.Err = 0, false, nil
	if a.reader.trace.LoginStart != nil {
		a.reader.trace.LoginStart(ctx, *info)
	}
	conn, err = lg.Connect(ctx, c)
	if conn == nil && err == nil {
		err = errors.New("the engine returned neither a connection nor an error")
	}
	if o = outcomeOf(ctx, a.engine, err); o != accepted {
		conn = nil // some vendors' drivers return a typed nil
	}
	if o == abandoned {
		if end := deadline.Err(ctx); end != nil && !errors.Is(err, end) {
			err = fmt.Errorf("%w: %w", end, err)
		}
	}
	info.Duration, info.Rejected, info.Err = time.Since(start), o == rejected, err
	return conn, o, err
}

// pauseAfter returns the first pause after a rejection. It is never the long one with IAM, which locks
// no account.
func (a *call) pauseAfter(err error) time.Duration {
	if e, ok := a.engine.(CheckedElsewhere); ok && a.source.auth != authIAM && e.CheckedElsewhere(err) {
		return pauseBaseElsewhere
	}
	return pauseBase
}

// locked reports whether a login's error says that the server has locked the account.
func (a *call) locked(err error) bool {
	e, ok := a.engine.(AccountLocked)
	return ok && err != nil && e.AccountLocked(err)
}

// misdirected reports whether a login's error says that the secret names something that does not
// exist: its host has no address, or the server has no database of that name.
func (a *call) misdirected(err error) bool {
	dns := (*net.DNSError)(nil)
	return errors.As(err, &dns) && dns.IsNotFound || a.engine.NoDatabase(err)
}
