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
		info, first := c.arrive(f, r, stop, timedOut)
		if !first {
			return
		}
		defer close(f.done)
		if c.o.Trace.FetchDone != nil {
			if p := guard("Trace.FetchDone", func() { c.o.Trace.FetchDone(info) }); p != nil && f.err != nil {
				f.err = fmt.Errorf("%w; %w", f.err, p)
			}
		}
	}()
	if r.Err == nil || c.o.StopOn == nil {
		return
	}
	err := r.Err
	if p := guard("StopOn", func() { stop = c.o.StopOn(err) }); p != nil {
		r.Err = fmt.Errorf("%w; %w", err, p)
	}
}

// arrive stores what f brought. It returns false if it did so before.
func (c *Cache) arrive(f *flight, r Result, stop, timedOut bool) (FetchInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.underWay() {
		return FetchInfo{}, false
	}
	now := c.clock.Exact()
	info := FetchInfo{ID: f.key.id, Stage: f.key.stage, Duration: now - f.start}
	f.entry.flight = nil
	switch {
	case c.closed:
		f.err = ErrClosed
	case r.Err == nil:
		info.Changed = c.install(f, r.Secret, now)
		info.VersionID = f.secret.versionID
	default:
		f.err, f.timedOut = r.Err, timedOut
		if r.Err == context.DeadlineExceeded {
			f.err = because(r.Err, f.job.lastAttempt())
		}
		f.outdated = f.number <= f.entry.after
		info.StaleUntil = c.fail(f, stop, now)
	}
	info.Err = f.err
	return info, true
}

// fail notes that the fetch f failed; stop is what StopOn says. It returns until
// when the entry's value, if it has one, will be served. c.mu is held.
func (c *Cache) fail(f *flight, stop bool, now time.Duration) (staleUntil time.Time) {
	e := f.entry
	c.stats.Errors++
	if !f.outdated { // else it says nothing of the fetch that Invalidate asked for
		since := now
		if f.timedOut { // it was a pause long enough, and a context's error is not to be kept
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
	for _, id := range []string{s.arn, s.name} {
		if number := *c.index.invalidatedUpTo(id); f.number <= number {
			e.after = max(e.after, number)
		}
	}
	f.outdated = f.number <= e.after
	f.secret = s
	prev := e.value.Load()
	if prev != nil && prev.secret.origin.fetch > f.number {
		// A fetch that began later, by another id, has landed before.
		f.secret = prev.secret
		return false
	}
	v := &value{fetched: now, expires: expired}
	if c.doubts(f, s, prev, now) {
		s, f.secret = prev.secret, prev.secret
		v.doubted = cmp.Or(prev.doubted, max(now, 1))
	}
	s.origin.fetch = f.number
	v.secret = s
	if c.o.TTL > 0 && !f.outdated {
		ttl := c.o.TTL - chance.UpTo(c.o.TTL/2+1)
		v.expires = now + min(ttl, forever-now)
	}
	changed = prev == nil || prev.secret.versionID != s.versionID
	if e.version != s.versionID {
		e.unchanged = nil
	}
	e.err, e.fails, e.version = nil, nil, s.versionID
	if f.rejected != nil && f.rejected.versionID == s.versionID {
		e.foundNothing(now)
	}
	if prev == nil && f.spare && c.index.full() {
		c.index.rest(e, now)
	} else {
		c.index.store(e, v)
	}
	return changed
}

// doubts reports whether s, which f brought, may be an old version out of the source's
// own cache: it is older than what is cached, which nobody has rejected, and has not been
// so for long.
func (c *Cache) doubts(f *flight, s *Secret, prev *value, now time.Duration) bool {
	if f.passed || prev == nil || !s.olderThan(prev.secret) ||
		f.rejected != nil && f.rejected.versionID == prev.secret.versionID {
		return false
	}
	return prev.doubted == 0 || (now-prev.doubted)/3 < max(c.o.TTL, minDoubt/3)
}
