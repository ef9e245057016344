package secretcache

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
	"github.com/sqlsecrets/sqlsecrets/internal/secretid"
)

const (
	// The cache gives a source up when it has not returned this long after its context ended.
	abandonAfter = 100 * time.Millisecond
	// If a source cannot bypass its own cache and returns an older version, the cache takes
	// that version only after three TTLs, and after at least this time.
	minDoubt = 5 * time.Minute
)

// A flight is one fetch of one secret. It waits in the queue until fewer than
// Options.MaxFetches are under way. If no caller wants it any more before it begins, it is
// dropped.
type flight struct {
	entry    *entry
	key      key // one of the ids of the entry, and its stage
	job      *job
	rejected *Secret // of the Refresh that launched it, or nil
	start    time.Duration
	fresh    bool // it must bypass the own cache of a FreshSource
	passed   bool // it bypassed that cache, or there is no such cache

	// Guarded by Cache.mu:
	number  uint64 // 0 before it begins
	wanted  int    // number of callers that wait for it, or that left with an older secret
	recheck bool   // it counts as the fetch of a Recheck
	spare   bool   // no Get waits for it: its secret takes no other secret's place

	// The result; set before done is closed.
	done     chan struct{}
	secret   *Secret
	err      error
	timedOut bool // it ended at FetchTimeout
	outdated bool // Invalidate came while it was under way
}

// A job is one call of the source: for one flight, or for a batch of them.
type job struct {
	caller  context.Context // of the first call that wanted it; only its values are used
	flights []*flight
	attempt atomic.Pointer[error] // why the last attempt failed; see AttemptFailed
	kept    atomic.Bool           // a Chain had to answer from a cache of a source

	// Guarded by Cache.mu:
	place *list.Element // in Cache.queue, or nil
}

// lastAttempt returns the error of the last attempt that failed, or nil.
func (j *job) lastAttempt() error {
	if err := j.attempt.Load(); err != nil {
		return *err
	}
	return nil
}

// add adds a fetch of e to j. j must not be in the queue yet. c.mu is held.
func (c *Cache) add(j *job, e *entry, k key, fresh bool) *flight {
	if c.index.find(k) != e {
		c.index.add(e)
	}
	e.flight = &flight{
		entry: e, key: k, job: j, start: c.clock.Now(), fresh: fresh, passed: !caches(c.src), done: make(chan struct{}),
	}
	j.flights = append(j.flights, e.flight)
	return e.flight
}

// launch queues a fetch of one secret for a call with ctx. c.mu is held.
func (c *Cache) launch(ctx context.Context, e *entry, k key, fresh bool) *flight {
	f := c.add(&job{caller: ctx}, e, k, fresh)
	c.enqueue(f.job)
	return f
}

// enqueue queues j, and starts it if it need not wait. c.mu is held.
func (c *Cache) enqueue(j *job) {
	j.place = c.queue.PushBack(j)
	c.dispatch()
}

// dispatch starts the next jobs of the queue, as many as MaxFetches allows. c.mu is held.
func (c *Cache) dispatch() {
	for c.jobs < c.o.MaxFetches && c.queue.Len() > 0 && !c.closed() {
		j := c.queue.Remove(c.queue.Front()).(*job)
		j.place = nil
		c.jobs++
		for _, f := range j.flights {
			c.fetchNo++
			c.stats.Fetches++
			f.number = c.fetchNo
			f.fresh = f.fresh || f.entry.invalidated(f.entry.value.Load())
		}
		go c.run(j)
	}
}

// end notes that a job has ended, and starts the next one.
func (c *Cache) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs--
	c.dispatch()
}

// leave notes that a caller no longer wants f. If f has not begun and no other caller wants
// it, leave drops it. c.mu is held.
func (c *Cache) leave(f *flight) {
	f.wanted--
	j := f.job
	if f.wanted > 0 || j.place == nil {
		return
	}
	j.flights = slices.DeleteFunc(j.flights, func(other *flight) bool { return other == f }) // a batch at most
	if len(j.flights) == 0 {
		c.queue.Remove(j.place)
	}
	f.entry.endFlight()
	if f.recheck {
		f.entry.recheck = 0 // the fetch that a Recheck wanted is still due
	}
	if f.entry.value.Load() == nil {
		c.index.dropValue(f.entry, c.clock.Now())
	}
}

// run fetches the secrets of a job, in one call, and lands its flights.
func (c *Cache) run(j *job) {
	end := sync.OnceFunc(c.end)
	defer end()
	ctx, cancel := context.WithTimeout(context.WithValue(context.WithoutCancel(j.caller), reportKey{}, &report{job: j}), c.o.FetchTimeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	// A source that ignores its context must not make its callers wait.
	abandon := time.AfterFunc(max(c.o.FetchTimeout, c.o.FetchTimeout+abandonAfter), func() {
		end()
		err := because(fmt.Errorf("no answer within %v: %w", c.o.FetchTimeout, context.DeadlineExceeded), j.lastAttempt())
		for _, f := range j.flights {
			c.land(f, Result{Err: err}, true)
		}
	})
	defer abandon.Stop()

	results := make([]Result, len(j.flights))
	for i, f := range slices.Backward(j.flights) {
		results[i].Err = errNoAnswer // stays if the source ends its goroutine
		defer func() { c.land(f, results[i], ctx.Err() != nil) }()
	}
	for _, f := range j.flights {
		if c.o.Trace.FetchStart != nil {
			info := FetchInfo{ID: shown(f.key.id), Stage: f.key.stage}
			AttemptFailed(ctx, guard("Trace.FetchStart", func() { c.o.Trace.FetchStart(ctx, info) }))
		}
	}
	var fetched []Result
	if err := guard("the source", func() { fetched = c.fetch(ctx, j.flights) }); err != nil {
		fetched = slices.Repeat([]Result{{Err: err}}, len(results))
	}
	for i, r := range fetched[:min(len(fetched), len(results))] {
		results[i] = c.in(j.flights[i], r)
	}
}

// errNoAnswer is the error for a source that breaks its contract.
var errNoAnswer = errors.New("the source returned neither a secret nor an error")

// guard calls f. If f panics, guard returns an error that names what. The error shows only
// the type of the panic's value, because its text may hold a secret.
func guard(what string, f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %s with a value of type %T", what, p)
		}
	}()
	f()
	return nil
}

// fetch calls the source for one flight, or for a batch of flights.
func (c *Cache) fetch(ctx context.Context, flights []*flight) []Result {
	if len(flights) == 1 {
		s, err := c.ask(ctx, flights[0])
		return []Result{{s, err}}
	}
	ids := make([]string, len(flights))
	for i, f := range flights {
		ids[i] = f.key.id
	}
	return c.src.(BatchSource).FetchBatch(ctx, ids)
}

// ask calls the source for one secret. If a source with a cache of its own returns an older
// version than the one cached here, ask calls it again and bypasses that cache. The secret
// may have been rolled back, or the source's cache may be behind.
func (c *Cache) ask(ctx context.Context, f *flight) (*Secret, error) {
	id, stage := f.key.id, f.key.stage
	var older *Secret
	if f.passed || !f.fresh {
		s, err := c.src.Fetch(ctx, id, stage)
		if f.passed || err != nil || !s.olderThan(f.entry.value.Load()) {
			return s, err
		}
		older = s
	}
	s, err := c.src.(FreshSource).FetchFresh(ctx, id, stage)
	switch {
	case !errors.Is(err, errors.ErrUnsupported):
		f.passed = !f.job.kept.Load()
		return s, err
	case older != nil:
		return older, nil
	}
	return c.src.Fetch(ctx, id, stage)
}

// in returns what is stored for a fetched secret: the cached secret if it is the same one,
// otherwise the result of the hook.
func (c *Cache) in(f *flight, r Result) Result {
	if r.Err != nil || r.Secret == nil {
		return Result{Err: cmp.Or(r.Err, errNoAnswer)}
	}
	own := *r.Secret
	own.origin = &origin{cache: c, first: f.number, fetch: f.number}
	if own.id == "" {
		own.id = f.key.id
	}
	if own.versionID == "" {
		// A hash of the value, with a random seed of this process. Equal values of one id
		// have equal hashes, but the hash tells the reader of a log nothing.
		own.versionID = "~" + strconv.FormatUint(maphash.Comparable(c.seed, [2]string{own.id, own.Reveal()}), 36)
	}
	if v := f.entry.value.Load(); v != nil && v.secret.sameAs(&own) &&
		(c.o.Hook != nil || v.secret.Reveal() == own.Reveal()) {
		return Result{Secret: v.secret}
	}
	if c.o.Hook == nil {
		return Result{Secret: &own}
	}
	s, err := hooked(c.o.Hook.Put, &own)
	return Result{s, err}
}

// hooked returns s with the value that a method of a Hook returned for it.
func hooked(method func(*Secret) (*Secret, error), s *Secret) (*Secret, error) {
	var t *Secret
	var err error
	p := guard("the hook", func() { t, err = method(s) })
	if err = cmp.Or(p, err); err != nil {
		return nil, fmt.Errorf("hook for secret %s: %w", secretid.Quote(s.id), err)
	}
	if t == nil {
		return nil, fmt.Errorf("hook for secret %s returned neither a secret nor an error", secretid.Quote(s.id))
	}
	return s.with(t.value), nil
}

// land ends a flight with a result of in, unless the flight was given up before.
func (c *Cache) land(f *flight, r Result, timedOut bool) {
	stop := false
	defer func() { // also if StopOn ends the goroutine
		info, ok := c.arrive(f, r, stop, timedOut)
		if !ok {
			return
		}
		defer close(f.done)
		if c.o.Trace.FetchDone != nil {
			if p := guard("Trace.FetchDone", func() { c.o.Trace.FetchDone(context.WithoutCancel(f.job.caller), info) }); p != nil && f.err != nil {
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

// arrive stores the result r of f. stop is the answer of StopOn for it. arrive returns false
// if f ended before.
func (c *Cache) arrive(f *flight, r Result, stop, timedOut bool) (FetchInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.entry.flight != f {
		return FetchInfo{}, false
	}
	f.entry.endFlight()
	now := c.clock.Exact(time.Now())
	info := FetchInfo{ID: shown(f.key.id), Stage: f.key.stage, Duration: now - f.start}
	switch {
	case c.closed():
		f.err = ErrClosed
	case r.Err == nil:
		info.Changed = c.install(f, r.Secret, now)
		info.VersionID = f.secret.versionID
	default:
		if f.err, f.timedOut = r.Err, timedOut; r.Err == context.DeadlineExceeded {
			f.err = because(r.Err, f.job.lastAttempt())
		}
		c.fail(f, stop, now)
		info.StaleUntil = c.staleUntil(f.entry.value.Load(), now)
	}
	info.Err = f.err
	return info, true
}

// fail notes that the fetch f failed. c.mu is held.
func (c *Cache) fail(f *flight, stop bool, now time.Duration) {
	e := f.entry
	c.stats.Errors++
	if f.outdated = f.number <= e.after; !f.outdated { // an outdated fetch must not delay the one that Invalidate asked for
		since := now
		if f.timedOut { // the time of the fetch counts as part of the pause
			since = max(f.start, now-c.o.FetchTimeout)
		}
		e.err, e.fails = f.err, e.fails.Next(moment(since), pauseBase, pauseMax)
		if f.rejected != nil && errors.Is(f.err, ErrNoVersion) {
			e.foundNothing(now)
		}
	}
	if stop || e.value.Load() == nil {
		c.index.dropValue(e, now)
	}
	c.index.evict(now)
}

// install stores the secret s that f brought, and reports whether it is another version
// than the cached one. c.mu is held.
func (c *Cache) install(f *flight, s *Secret, now time.Duration) (changed bool) {
	e := c.index.entryOf(f.entry, f.key.id, s, now)
	f.outdated = c.index.outdates(e, s, f.number)
	prev := e.value.Load()
	if prev != nil && prev.secret.origin.fetch > f.number {
		// A fetch by another id began later and has already landed.
		f.secret = prev.secret
		return false
	}
	v := &value{secret: s, fetched: now, expires: expired}
	if f.doubted(s, e, c.o.TTL, now) {
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
		c.index.dropValue(e, now)
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

// doubted reports whether s, which f brought, may be an old version from the source's own
// cache. That is so if s is older than the cached version of e, no Refresh named that version
// as rejected, and the source has not returned an older version for long.
func (f *flight) doubted(s *Secret, e *entry, ttl, now time.Duration) bool {
	prev := e.value.Load()
	if f.passed || !s.olderThan(prev) || e.rejected != "" && e.rejected == prev.secret.versionID {
		return false
	}
	return prev.doubted == 0 || (now-prev.doubted)/3 < max(ttl, minDoubt/3)
}
