package secretcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	refreshWait = time.Second // a Refresh waits for the next one if that is due within this
	recheckAge  = time.Minute // a Recheck is content with a copy that is no older
	renewWait   = time.Second // a Get of a secret older than 2 TTL waits for the renewal
)

// A query is one call of Get, Refresh or Recheck.
//
//	       ┌────────────── waited long enough, or the fetch landed ───────────┐
//	       ▼                                                                  │
//	call ──► step: ──► wait for a fetch under way, or one that it launches ───┤
//	              ├──► wait for a pause to end ───────────────────────────────┘
//	              └──► return a secret or an error           ctx ends: return an error
type query struct {
	key
	task  string // what it does while it waits, in errors
	step  func(q *query, ctx context.Context, c *Cache, e *entry, now time.Duration) answer
	old   *Secret // that a Refresh rejects, or a Recheck has used; nil for none
	isGet bool    // Stats count it; a Recheck may become a Get

	called uint64  // number of the last fetch that began before the call
	flight *flight // that it has waited for, or nil
	late   bool    // it has waited for flight for long enough, and
	stale  *value  // this is to be served
	again  bool    // a fetch is due whatever the pause says
	counts bool    // the fetches that it waits for count as Recheck's
}

// An answer says what a query does next: wait or, if wait is zero, return the rest.
type answer struct {
	wait   time.Duration // for flight, or for a pause to end if that is nil
	flight *flight
	Reading
	err error
}

// do answers q. It holds no lock while it waits.
func (c *Cache) do(ctx context.Context, q *query) (Reading, error) {
	for first := true; ; first = false {
		a := c.next(ctx, q, first)
		if a.wait > 0 {
			if err := c.waitFor(ctx, q, a); err != nil {
				return Reading{}, err
			}
			continue
		}
		if a.err == nil && a.Secret != q.old { // which has come out before
			a.Secret, a.err = c.out(a.Secret)
		}
		if a.err != nil {
			return Reading{}, a.err
		}
		return a.Reading, nil
	}
}

// next takes the next step of q.
func (c *Cache) next(ctx context.Context, q *query, first bool) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return answer{err: ErrClosed}
	}
	if first {
		q.called = c.fetchNo
	}
	a := q.step(q, ctx, c, c.index.entry(q.key), c.clock.Now())
	if a.flight != nil {
		a.flight.waiters++
	}
	return a
}

// waitFor waits for what a says. It returns an error if the caller's time is over, or
// c is closed.
func (c *Cache) waitFor(ctx context.Context, q *query, a answer) error {
	var done chan struct{}
	if q.flight = a.flight; a.flight != nil {
		done = a.flight.done
	}
	err := c.await(ctx, done, a.wait)
	q.late = errors.Is(err, errPatience)
	if err == nil || q.late && a.flight == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	failed := c.lastFailure(q.key)
	if f := a.flight; f != nil {
		if failed = cmp.Or(f.job.lastAttempt(), failed); f.number == 0 {
			err = fmt.Errorf("%w before its fetch could begin (%d others are under way)", err, c.jobs)
		}
		f.renewal = f.renewal || q.late
		c.leave(f)
	}
	if q.late {
		return nil
	}
	if q.isGet {
		c.stats.Misses++
	}
	return interrupted(fmt.Sprintf("%s secret %q", q.task, q.id), err, failed)
}

// get is the step of a Get that found no fresh value at first.
func (q *query) get(ctx context.Context, c *Cache, e *entry, now time.Duration) answer {
	q.isGet, q.task = true, "wait for"
	v := e.value.Load()
	if q.flight != nil {
		if a, ok := q.landed(c, e, v, now); ok {
			return a
		}
	}
	if v.fresh(now) {
		c.countHit()
		return c.serve(e, v, now)
	}
	f := e.flight
	if f == nil && (q.again || e.fails.Wait(moment(now)) == 0) {
		f = c.launch(e, q.key, false)
	}
	if f == nil {
		if !c.servable(v, now) {
			return c.miss(e.err)
		}
		return c.serveStale(e, v, now)
	}
	f.spare = false
	if q.counts {
		e.countRecheck(f)
	}
	if wait := c.patience(ctx, e, v, now); wait > 0 {
		q.stale = v
		return answer{wait: wait, flight: f}
	}
	f.renewal = true
	return c.serveStale(e, v, now)
}

// landed is what a Get does after it waited for a flight; false to go on as at first.
func (q *query) landed(c *Cache, e *entry, v *value, now time.Duration) (answer, bool) {
	f := q.flight
	switch {
	case q.late:
		return c.serveStale(e, q.stale, now), true
	case f.outdated && f.number <= q.called:
		// It began before Invalidate, and that may have been before this call.
		return answer{}, false
	case f.err == nil:
		c.index.use(e, now)
		c.stats.Misses++
		return answer{Reading: Reading{Secret: f.secret}}, true
	case c.servable(v, now):
		// Old is better than down, unless StopOn took the value away.
		return c.serveStale(e, v, now), true
	case f.timedOut && f.number <= q.called && !q.again:
		q.again = true // it hung since before this call, which may have better luck
		return answer{}, false
	}
	return c.miss(f.err), true
}

// patience returns how long a Get waits for the fetch under way before it serves v:
// forever if v cannot be served. c.mu is held.
func (c *Cache) patience(ctx context.Context, e *entry, v *value, now time.Duration) time.Duration {
	switch {
	case c.o.TTL < 0 || !c.servable(v, now) || e.awaits(v):
		return forever
	case (now-v.fetched)/2 < c.o.TTL:
		return 0
	}
	return min(renewWait, max(1, timeLeft(ctx)/2)) // leaves the caller time to use the secret
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

// staleUntil returns until when v is servable, by the wall clock.
func (c *Cache) staleUntil(v *value, now time.Duration) time.Time {
	return time.Now().Add(v.fetched - now).Add(max(c.o.TTL, 0)).Add(c.o.MaxStale)
}

// miss answers with err, if it is not nil. c.mu is held.
func (c *Cache) miss(err error) answer {
	c.stats.Misses++
	return answer{err: err}
}

// serveStale answers with v, which is servable and of e. c.mu is held.
func (c *Cache) serveStale(e *entry, v *value, now time.Duration) answer {
	c.stats.StaleHits++
	a := c.serve(e, v, now)
	if e.err != nil && !v.fresh(now) {
		a.StaleCause, a.StaleUntil = e.err, c.staleUntil(v, now)
	}
	return a
}

// serve answers with v, which is e's.
func (c *Cache) serve(e *entry, v *value, now time.Duration) answer {
	c.index.use(e, now)
	return answer{Reading: Reading{Secret: v.secret}}
}

// result is the answer of a Refresh or a Recheck that has waited for q.flight.
func (q *query) result() answer {
	return answer{Reading: Reading{Secret: q.flight.secret}, err: q.flight.err}
}

// refresh is the step of a Refresh.
func (q *query) refresh(ctx context.Context, c *Cache, e *entry, now time.Duration) answer {
	v, due := e.value.Load(), e.refreshDue(now)
	switch {
	case q.flight != nil && q.flight.number > q.called:
		return q.result()
	case v.newerThan(q.old) && e.stands(v):
		return c.serve(e, v, now)
	case e.flight != nil:
		return answer{wait: forever, flight: e.flight}
	case due == 0 || !e.answers(q.old):
		f := c.launch(e, q.key, true)
		f.rejected, f.spare = q.old, true
		return answer{wait: forever, flight: f}
	case due <= refreshWait && timeLeft(ctx) >= due:
		return answer{wait: due}
	case e.err != nil:
		return answer{err: e.err}
	case v == nil: // it is evicted, the pause is not
		return answer{Reading: Reading{Secret: q.old}}
	}
	return answer{Reading: Reading{Secret: v.secret}}
}

// check is the step of a Recheck.
func (q *query) check(ctx context.Context, c *Cache, e *entry, now time.Duration) answer {
	v, f := e.value.Load(), e.flight
	joins := f != nil && f.recheck
	switch {
	case q.flight != nil:
		return q.result()
	case v == nil || e.awaits(v):
		q.step, q.counts = (*query).get, true
		return q.get(ctx, c, e, now)
	case v.newerThan(q.old) || now-v.fetched <= recheckAge || !joins && now < e.recheck:
		return c.serve(e, v, now)
	case f == nil && e.fails.Wait(moment(now)) > 0:
		return answer{err: e.err}
	case f == nil:
		f = c.launch(e, q.key, true)
	}
	e.countRecheck(f)
	return answer{wait: forever, flight: f}
}
