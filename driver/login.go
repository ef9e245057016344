package driver

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
)

// send sends one login with a version if p allows it. err says why the login was rejected or
// failed. For an unusable version, Connect returns it as it is.
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
	a.logins++
	info := LoginInfo{SecretID: a.reader.id, Stage: c.stage, Version: c.version(), Address: c.target.address}
	start := time.Now()
	conn, o, changed, err := a.logInWith(ctx, tk, lg, c, info)
	info.Duration, info.Rejected, info.Err = time.Since(start), o == rejected, err
	if a.o.Trace.LoginDone != nil {
		a.o.Trace.LoginDone(ctx, info)
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
		if changed { // one record for those that were in flight together
			level = slog.LevelInfo
			a.resolver.rejected(c)
		}
		a.reader.log.Log(ctx, level, "the server rejected the credentials", "stage", info.Stage, "version", info.Version,
			"address", info.Address, "duration", info.Duration, "error", err)
	default:
		if a.blamed = a.misdirected(err) || a.locked(err); !a.blamed && !errors.Is(err, context.Canceled) {
			a.outage.note()
		}
	}
	return conn, o, err
}

// logInWith sends one login and gives the ticket back to the gate with the outcome. changed
// reports whether that changed the verdict.
func (a *call) logInWith(ctx context.Context, tk ticket, lg Login, use candidate, info LoginInfo) (conn sqldriver.Conn, o outcome, changed bool, err error) {
	defer func() { changed = a.gate.leave(tk, o, a.pauseAfter(o, err), err) }() // o is failed if the engine panics
	if a.o.Trace.LoginStart != nil {
		a.o.Trace.LoginStart(ctx, info)
	}
	c := Credentials{User: use.target.user, Password: use.target.password, Keys: use.target.keys}
	if a.o.CloseSuperseded {
		c.Superseded = a.superseder.check(info, use.id)
	}
	conn, err = lg.Connect(ctx, c)
	if conn == nil && err == nil {
		err = errors.New("the engine returned neither a connection nor an error")
	}
	if o = outcomeOf(ctx, a.engine, err); o != accepted {
		conn = nil // some vendors return a typed nil
	}
	if end := deadline.Err(ctx); o == abandoned && end != nil && !errors.Is(err, end) {
		err = fmt.Errorf("%w: %w", end, err)
	}
	return conn, o, false, err
}

// pauseAfter returns the least pause before a rejected version is sent again.
func (a *call) pauseAfter(o outcome, err error) time.Duration {
	if e, ok := a.engine.(CheckedElsewhere); ok && o == rejected && e.CheckedElsewhere(err) {
		return pauseBaseElsewhere
	}
	return pauseBase
}

// locked reports whether a login's error says that the server has locked the account.
func (a *call) locked(err error) bool {
	e, ok := a.engine.(AccountLocked)
	return ok && err != nil && e.AccountLocked(err)
}

// misdirected reports whether a login's error says that the secret leads nowhere: its
// host has no address, or the server has no database of that name.
func (a *call) misdirected(err error) bool {
	dns := (*net.DNSError)(nil)
	return errors.As(err, &dns) && dns.IsNotFound || a.engine.NoDatabase(err)
}
