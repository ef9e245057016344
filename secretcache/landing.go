package secretcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

// A source's own cache that cannot be passed is believed if it has an older version for
// three TTLs, and this at least.
const minDoubt = 5 * time.Minute

// land ends a flight with what in returned, unless it was given up before.
func (c *Cache) land(f *flight, r Result, timedOut bool) {
	stop := false
	defer func() { // also if StopOn ends the goroutine
		info, ok := c.arrive(f, r, stop, timedOut)
		if !ok {
			return
		}
		defer close(f.done)
		if c.o.Trace.FetchDone != nil {
			if p := guard("Trace.FetchDone", func() { c.o.Trace.FetchDone(info) }); p != nil && f.err != nil {
				f.err = fmt.Errorf("%w; %w", f.err, p)
			}
		}
	}()
	if err := r.Err; err != nil && c.o.StopOn != nil {
		if p := guard("StopOn", func() { stop = c.o.StopOn(err) }); p != nil {
			r.Err = fmt.Errorf("%w; %w", err, p)
		}
	}
}

// arrive stores what f brought; stop is what StopOn says of it. It returns false if f
// has ended before.
func (c *Cache) arrive(f *flight, r Result, stop, timedOut bool) (FetchInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.underWay() {
		return FetchInfo{}, false
	}
	f.entry.flight = nil
	now := c.clock.Exact()
	info := FetchInfo{ID: f.key.id, Stage: f.key.stage, Duration: now - f.start}
	switch {
	case c.closed:
		f.err = ErrClosed
	case r.Err == nil:
		info.Changed = c.install(f, r.Secret, now)
		info.VersionID = f.secret.versionID
	default:
		if f.err, f.timedOut = r.Err, timedOut; r.Err == context.DeadlineExceeded {
			f.err = because(r.Err, f.job.lastAttempt())
		}
		info.StaleUntil = c.fail(f, stop, now)
	}
	info.Err = f.err
	return info, true
}

// fail notes that the fetch f failed. It returns until when the entry's value, if it
// has one, will be served. c.mu is held.
func (c *Cache) fail(f *flight, stop bool, now time.Duration) (staleUntil time.Time) {
	e := f.entry
	c.stats.Errors++
	if f.outdated = f.number <= e.after; !f.outdated { // else it says nothing of the fetch that Invalidate asked for
		since := now
		if f.timedOut { // it was a pause long enough
			since = max(f.start, now-c.o.FetchTimeout)
		}
		e.err, e.fails = f.err, e.fails.Next(moment(since), failBase, failMax)
		if f.rejected != nil && errors.Is(f.err, ErrNoVersion) {
			e.foundNothing(now)
		}
	}
	v := e.value.Load()
	if v == nil || stop {
		c.index.rest(e, now)
	} else if c.o.MaxStale >= 0 {
		staleUntil = c.staleUntil(v, now)
	}
	c.index.evict(now)
	return staleUntil
}

// install stores what the fetch f brought, and reports whether it is another
// version than was cached. c.mu is held.
func (c *Cache) install(f *flight, s *Secret, now time.Duration) (changed bool) {
	e := c.index.home(f.entry, f.key.id, s, now)
	f.outdated = c.index.outdates(e, s, f.number)
	prev := e.value.Load()
	if prev != nil && prev.secret.origin.fetch > f.number {
		// A fetch that began later, by another id, has landed before.
		f.secret = prev.secret
		return false
	}
	v := &value{secret: s, fetched: now, expires: expired}
	if f.doubted(s, prev, c.o.TTL, now) {
		v.secret, v.doubted = prev.secret, cmp.Or(prev.doubted, max(now, 1))
	}
	if c.o.TTL > 0 && !f.outdated {
		ttl := c.o.TTL - chance.UpTo(c.o.TTL/2+1)
		v.expires = now + min(ttl, forever-now)
	}
	f.secret = v.secret
	f.secret.origin.fetch = f.number
	e.found(f, now)
	if prev == nil && f.spare && c.index.full() {
		c.index.rest(e, now)
	} else {
		c.index.store(e, v)
	}
	return prev == nil || prev.secret.versionID != f.secret.versionID
}

// found notes that the fetch f brought f.secret.
func (e *entry) found(f *flight, now time.Duration) {
	version := f.secret.versionID
	if e.version != version {
		e.unchanged = nil
	}
	e.err, e.fails, e.version = nil, nil, version
	if f.rejected != nil && f.rejected.versionID == version {
		e.foundNothing(now)
	}
}

// doubted reports whether s, which f brought, may be an old version out of the source's
// own cache: it is older than prev, the cached one, which nobody has rejected, and has
// not been so for long.
func (f *flight) doubted(s *Secret, prev *value, ttl, now time.Duration) bool {
	if f.passed || prev == nil || !s.olderThan(prev.secret) ||
		f.rejected != nil && f.rejected.versionID == prev.secret.versionID {
		return false
	}
	return prev.doubted == 0 || (now-prev.doubted)/3 < max(ttl, minDoubt/3)
}
