package secretcache

import (
	"context"
	"fmt"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
)

const (
	refreshWait = time.Second // a Refresh waits for a pause to end if it ends within this time
	recheckAge  = time.Minute // a Recheck returns a copy that is not older than this
	renewWait   = time.Second // a Get of a secret older than 2*TTL waits so long for the renewal
)

// These are the steps of a Get that finds no fresh secret, of a Refresh and of a Recheck.
// They hold c.mu, but not while they wait.
//
//	            ┌──────────────────── the fetch landed, the pause is over ────┐
//	            ▼                                                             │
//	call ──► look up ──► wait for a fetch under way, or one that it launches ─┤
//	                 ├──► wait for a pause to end ────────────────────────────┘
//	                 └──► return a secret or an error        ctx ends: return an error

// get answers a Get, or a Recheck that must do the same as Get. c.mu is held.
func (c *Cache) get(ctx context.Context, k key, recheck bool) (Reading, error) {
	called, again := c.fetchNo, false
	for !c.closed() {
		e, v, now := c.lookUp(k)
		if v.fresh(now) {
			c.counter().fresh.Add(1)
			return Reading{Secret: c.serve(e, v, now)}, nil
		}
		f := c.renew(ctx, e, k, now, again, recheck)
		if f == nil {
			return c.serveOr(e.err, e, v, now)
		}
		patience := c.patience(ctx, e, v, now)
		switch landed, err := c.wait(ctx, "wait for", k, f, patience); {
		case err != nil:
			return c.miss(nil, err)
		case !landed:
			c.serveWithoutLock(e, v, patience)
			return c.serveStale(e, v, c.clock.Now()), nil
		}
		e, v, now = c.lookUp(k)
		switch earlier := f.number <= called; { // it began before this call
		case earlier && f.outdated:
			// Invalidate came after that, maybe also before this call.
		case f.err == nil:
			c.index.use(e, now)
			return c.miss(f.secret, nil)
		case earlier && f.timedOut && !c.servable(v, now):
			again = true // this caller gets a fetch of its own, which may be answered
		default:
			return c.serveOr(f.err, e, v, now)
		}
	}
	return Reading{}, ErrClosed
}

// refresh answers a Refresh.
func (c *Cache) refresh(ctx context.Context, k key, rejected *Secret) (*Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for called := c.fetchNo; !c.closed(); {
		e, v, now := c.lookUp(k)
		e.noteRejection(v, rejected)
		f, due := e.flight, e.refreshDue(rejected, now)
		switch {
		case v.newerThan(rejected) && e.stillValid(v):
			return c.serve(e, v, now), nil
		case f != nil: // wait for it, even if it began before the call
		case due == 0:
			f = c.launch(ctx, e, k, true)
			f.rejected, f.spare = rejected, true
		case due <= refreshWait && timeLeft(ctx) >= due:
			if err := c.pause(ctx, k, due); err != nil {
				return nil, err
			}
			continue
		default:
			return e.lastAnswer(rejected)
		}
		if _, err := c.wait(ctx, "wait to refresh", k, f, forever); err != nil {
			return nil, err
		}
		if f.number > called {
			return f.secret, f.err
		}
	}
	return nil, ErrClosed
}

// recheck answers a Recheck.
func (c *Cache) recheck(ctx context.Context, k key, used *Secret) (*Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, v, now := c.lookUp(k)
	f := e.flight
	joins := f != nil && f.recheck
	switch {
	case v == nil || e.awaits(v): // also if c is closed
		r, err := c.get(ctx, k, true)
		return r.Secret, err
	case v.newerThan(used) || now-v.fetched <= recheckAge || !joins && now < e.recheck:
		return c.serve(e, v, now), nil
	case f == nil && e.fails.Wait(moment(now)) > 0:
		return nil, e.err
	case f == nil:
		f = c.launch(ctx, e, k, true)
	}
	e.countRecheck(f)
	if _, err := c.wait(ctx, "wait to recheck", k, f, forever); err != nil {
		return nil, err
	}
	return f.secret, f.err
}

// lookUp returns the entry of k, its value, which may be nil, and the time.
func (c *Cache) lookUp(k key) (*entry, *value, time.Duration) {
	e := c.index.entry(k)
	return e, e.value.Load(), c.clock.Now()
}

// renew returns the fetch of e that is under way, or launches one, for a Get. During the
// pause after a failure it returns nil, unless again is set. If recheck is set, the fetch
// counts as the fetch of a Recheck.
func (c *Cache) renew(ctx context.Context, e *entry, k key, now time.Duration, again, recheck bool) *flight {
	f := e.flight
	if f == nil && !again && e.fails.Wait(moment(now)) > 0 {
		return nil
	}
	if f == nil {
		f = c.launch(ctx, e, k, false)
	}
	f.spare = false
	if recheck {
		e.countRecheck(f)
	}
	return f
}

// wait waits until f lands, but not longer than d, and reports whether f landed. After d, f
// still counts as wanted, because it renews the secret that the caller serves. If ctx ends or c is
// closed first, wait returns an error. c.mu is held, but not while wait waits.
func (c *Cache) wait(ctx context.Context, task string, k key, f *flight, d time.Duration) (landed bool, err error) {
	f.wanted++
	if d > 0 {
		c.mu.Unlock()
		landed, err = c.await(ctx, f.done, d)
		c.mu.Lock()
	}
	if err == nil {
		return landed, nil
	}
	failed := c.lastFailure(k)
	c.leave(f)
	if f.number == 0 {
		err = fmt.Errorf("%w before the fetch could begin (%d others are under way)", err, c.jobs)
	}
	return false, because(fmt.Errorf("%s secret %s: %w", task, secretid.Quote(k.id), err), failed)
}

// pause makes a Refresh wait for d. If ctx ends or c is closed first, it returns an error.
// c.mu is held, but not while pause waits.
func (c *Cache) pause(ctx context.Context, k key, d time.Duration) error {
	c.mu.Unlock()
	_, err := c.await(ctx, nil, d)
	c.mu.Lock()
	if err == nil {
		return nil
	}
	return because(fmt.Errorf("wait to refresh secret %s: %w", secretid.Quote(k.id), err), c.lastFailure(k))
}

// patience returns how long a Get waits for the fetch under way before it serves v. It
// returns forever if v cannot be served. c.mu is held.
func (c *Cache) patience(ctx context.Context, e *entry, v *value, now time.Duration) time.Duration {
	switch {
	case c.o.TTL < 0 || !c.servable(v, now) || e.awaits(v):
		return forever
	case (now-v.fetched)/2 < c.o.TTL:
		return 0
	}
	return min(renewWait, max(1, timeLeft(ctx)/2)) // leaves the caller time to use the secret
}

// serveWithoutLock lets the next Gets serve v, the value of e, without c.mu while the fetch is under
// way. It does so only if those Gets need not wait and have no failure to report. c.mu is
// held.
func (c *Cache) serveWithoutLock(e *entry, v *value, patience time.Duration) {
	if patience == 0 && e.err == nil {
		e.servedUntil.Store(int64(v.fetched + c.o.TTL + min(c.o.TTL, c.o.MaxStale)))
	}
}

// timeLeft returns the time until ctx's deadline.
func timeLeft(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return time.Until(deadline)
	}
	return forever
}

// fresh reports whether v, which may be nil, is within its TTL.
func (v *value) fresh(now time.Duration) bool { return v != nil && now < v.expires }

// servable reports whether v, which may be nil, may be served although it is not fresh.
func (c *Cache) servable(v *value, now time.Duration) bool {
	return v != nil && c.o.MaxStale >= 0 && now-v.fetched-max(c.o.TTL, 0) <= c.o.MaxStale
}

// staleUntil returns when v stops being servable, by the wall clock. It returns the zero
// time if v is nil or MaxStale is negative.
func (c *Cache) staleUntil(v *value, now time.Duration) time.Time {
	if v == nil || c.o.MaxStale < 0 {
		return time.Time{}
	}
	return time.Now().Add(v.fetched - now).Add(max(c.o.TTL, 0)).Add(c.o.MaxStale)
}

// miss answers a Get that waited for a fetch, or that failed. c.mu is held.
func (c *Cache) miss(s *Secret, err error) (Reading, error) {
	c.stats.Misses++
	return Reading{Secret: s}, err
}

// serveOr answers a Get with v, the value of e, if v is servable, and with err otherwise. A
// stale secret is better than an error; if StopOn says that it is not, e has no value. c.mu is
// held.
func (c *Cache) serveOr(err error, e *entry, v *value, now time.Duration) (Reading, error) {
	if !c.servable(v, now) {
		return c.miss(nil, err)
	}
	return c.serveStale(e, v, now), nil
}

// serveStale answers a Get with v, the value of e. c.mu is held.
func (c *Cache) serveStale(e *entry, v *value, now time.Duration) Reading {
	c.counter().stale.Add(1)
	r := Reading{Secret: c.serve(e, v, now)}
	if e.err != nil && !v.fresh(now) {
		r.StaleCause, r.StaleUntil = e.err, c.staleUntil(v, now)
	}
	return r
}

// serve returns the secret of v, the value of e, and notes that e is in use.
func (c *Cache) serve(e *entry, v *value, now time.Duration) *Secret {
	c.index.use(e, now)
	return v.secret
}
