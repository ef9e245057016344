package secretcache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
)

const (
	// Pause after a fetch that failed: from the first to the second, doubling.
	failBase, failMax = time.Second, time.Minute
	// The same after a look for a newer version that found none.
	lookBase, lookMax = time.Second, 30 * time.Second
	// A Refresh waits for the next look if it is due within this.
	lookWait = time.Second
	// A Recheck is content with a copy that is no older than this.
	recheckAge = time.Minute
	// The next Recheck's fetch of a secret begins so long after the last one began:
	// drawn from the first to the second, so that a fleet does not ask together.
	recheckMin, recheckMax = 5 * time.Minute, 7*time.Minute + 30*time.Second
	// A Get of a secret older than 2 TTL waits for the renewal so long.
	renewWait = time.Second
	// A source that does not return when its context ends is given up after this.
	abandonAfter = 100 * time.Millisecond
)

// A Cache keeps secrets of a [Source]. Its methods may be called from several
// goroutines at once. It has no goroutine but those of fetches in flight.
type Cache struct {
	src   Source
	o     Options
	epoch time.Time
	seed  maphash.Seed
	slots chan struct{} // one taken for each fetch under way

	ctx    context.Context // of all fetches; ends at Close
	cancel context.CancelFunc

	// entries holds the entries with a value, under every key that is known for
	// them: key.slot to *entry. It is read without a lock and written under mu.
	entries sync.Map
	// inserts counts secrets stored for the first time; see stamp.
	inserts atomic.Int64
	hits    [32]counter

	mu      sync.Mutex
	closed  bool
	fetchNo uint64              // number of the fetch that was started last
	live    map[*entry]struct{} // the entries in entries
	pending map[key]*entry      // entries without a value: being fetched, or failing
	stats   Stats               // all but Hits and Entries
}

// A key is how callers name a secret's version. There may be several for one.
type key struct{ id, stage string }

// slot is k as a key of Cache.entries: for AWSCURRENT the id alone, which takes
// less time to look up and less memory.
func (k key) slot() any {
	if k.stage == StageCurrent {
		return k.id
	}
	return k
}

// An entry is what is known of one secret and stage.
type entry struct {
	stage string
	state atomic.Pointer[state] // nil without a value; stored under Cache.mu
	used  atomic.Int64          // stamp of the last use

	// Guarded by Cache.mu:
	ids     []string         // under which it is found
	flight  *flight          // the fetch under way, or nil
	err     error            // why the last fetch brought no value; nil if it did
	fails   *backoff.Backoff // after fetches that failed
	looks   *backoff.Backoff // after looks for a newer version that found none
	recheck time.Time        // when the next Recheck may fetch
	after   uint64           // fetches up to this number are outdated by Invalidate
}

// An origin is where a secret comes from.
type origin struct {
	cache *Cache
	first uint64 // number of the fetch that brought it
	fetch uint64 // number of the fetch that last brought or confirmed it; guarded by cache.mu
}

// newerThan reports whether s, of a cache whose mu is held, is another version
// than old and came after that: one that is confirmed while a rotation is under way
// is not newer than what AWSPENDING named by then. It cannot tell of what another
// cache fetched, or of nil.
func (s *Secret) newerThan(old *Secret) bool {
	return old != nil && s.versionID != old.versionID && old.origin != nil &&
		old.origin.cache == s.origin.cache && s.origin.first > old.origin.fetch
}

// A state is a value and its age. It is immutable.
type state struct {
	secret  *Secret
	fetched time.Time     // with monotonic clock
	ttl     time.Duration // or outdated
}

// outdated is the ttl of what is never fresh, not even before it was fetched, as
// who read the clock earlier may see it.
const outdated = time.Duration(math.MinInt64)

// age is the larger of monotonic and wall time: the monotonic clock stands still
// while a machine (a Lambda, a laptop) is frozen.
func (s *state) age(now time.Time) time.Duration {
	return max(now.Sub(s.fetched), time.Duration(now.UnixNano()-s.fetched.UnixNano()))
}

func (s *state) fresh(now time.Time) bool { return s.age(now) < s.ttl }

// A flight is one fetch. Its results are set before done is closed.
type flight struct {
	number   uint64
	entry    *entry
	key      key     // one of the entry's
	rejected *Secret // of the Refresh that started it, or nil
	fresh    bool    // past the cache that a FreshSource has
	start    time.Time
	recheck  bool     // a Recheck waits for it; guarded by Cache.mu
	suspects []string // ids that Invalidate named while the secret's were unknown; guarded by Cache.mu

	done     chan struct{}
	secret   *Secret
	err      error
	timedOut bool // it ended at FetchTimeout
	outdated bool // Invalidate came while it was under way
}

// A counter has a cache line of its own.
type counter struct {
	n atomic.Uint64
	_ [120]byte
}

// New returns an empty cache of src. It panics if src is nil.
func New(src Source, opts *Options) *Cache {
	if src == nil {
		panic("secretcache: New with a nil Source")
	}
	o := withDefaults(opts)
	ctx, cancel := context.WithCancel(context.Background())
	return &Cache{
		src: src, o: o, epoch: time.Now(), seed: maphash.MakeSeed(),
		slots: make(chan struct{}, o.MaxFetches),
		ctx:   ctx, cancel: cancel,
		live: map[*entry]struct{}{}, pending: map[key]*entry{},
	}
}

// Get returns the version of the secret that bears the stage; an empty stage
// means AWSCURRENT, and id is a name, an ARN or whatever the source knows. It
// fetches the secret if it is not cached, and returns a cached one without
// waiting while it is younger than twice its TTL.
//
// Errors are the source's, ErrClosed, or ctx's. A fetch that failed is not
// repeated for 1 s, then 2 s, up to 60 s; until then Get returns its error. For one
// that ended at FetchTimeout, this counts from its start. A fetch outlives the ctx
// of the callers that wait for it.
func (c *Cache) Get(ctx context.Context, id, stage string) (*Secret, error) {
	k := keyOf(id, stage)
	if v, ok := c.entries.Load(k.slot()); ok {
		e := v.(*entry)
		if st := e.state.Load(); st != nil {
			if now := time.Now(); st.fresh(now) {
				c.use(e, now)
				c.countHit()
				return c.out(st.secret)
			}
		}
	}
	return c.getSlow(ctx, k, false)
}

func keyOf(id, stage string) key {
	if stage == "" {
		stage = StageCurrent
	}
	return key{id, stage}
}

// getSlow is Get when there is no fresh value. For a Recheck, the fetches that it
// waits for count as Recheck's.
func (c *Cache) getSlow(ctx context.Context, k key, recheck bool) (*Secret, error) {
	var called uint64 // number of the last fetch that began before this call
	var again bool    // a fetch is due whatever its backoff says
	for first := true; ; first = false {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		if first {
			called = c.fetchNo
		}
		now := time.Now()
		e := c.entry(k)
		st := e.state.Load()
		if st != nil && st.fresh(now) {
			c.mu.Unlock()
			c.use(e, now)
			c.countHit()
			return c.out(st.secret)
		}
		f := e.flight
		if f == nil && (again || e.fails.Wait(now) == 0) {
			f = c.launch(e, k, nil, recheck)
		}
		if f != nil && recheck {
			f.countRecheck()
		}
		wait := c.patience(ctx, e, now)
		if f == nil || wait == 0 {
			if st == nil || !c.servable(st, now) {
				c.stats.Misses++
				err := e.err
				c.mu.Unlock()
				return nil, err
			}
			c.stats.StaleHits++
			c.mu.Unlock()
			c.use(e, now)
			return c.out(st.secret)
		}
		c.mu.Unlock()

		err := c.await(ctx, f.done, wait)
		switch {
		case errors.Is(err, errPatience):
			return c.outStale(e, st)
		case err != nil:
			c.countMiss()
			return nil, fmt.Errorf("wait for secret %q: %w", k.id, err)
		case f.outdated && f.number <= called:
			// It began before Invalidate, and that may have been before this call.
		case f.err == nil:
			c.countMiss()
			c.use(e, time.Now())
			return c.out(f.secret)
		default:
			// Old is better than down, unless StopOn took the value away.
			if v, ok := c.entries.Load(k.slot()); ok {
				e := v.(*entry)
				if st := e.state.Load(); st != nil && c.servable(st, time.Now()) {
					return c.outStale(e, st)
				}
			}
			if f.timedOut && f.number <= called && !again {
				// It hung since before this call, which may have better luck.
				again = true
				continue
			}
			c.countMiss()
			return nil, f.err
		}
	}
}

// patience returns how long a Get that found no fresh value waits for the fetch
// in flight: zero not at all, forever if it cannot be answered otherwise. c.mu is held.
func (c *Cache) patience(ctx context.Context, e *entry, now time.Time) time.Duration {
	st := e.state.Load()
	switch {
	case st == nil || c.o.TTL < 0 || !c.servable(st, now):
		return forever
	case e.awaits(st):
		return forever
	case st.age(now)/2 < c.o.TTL:
		return 0
	}
	if deadline, ok := ctx.Deadline(); ok {
		// Leave the caller time to use the secret.
		return min(renewWait, max(1, deadline.Sub(now)/2))
	}
	return renewWait
}

// invalidated reports whether Invalidate asked for something newer than st, the
// entry's, or for anything if that is nil. Cache.mu is held.
func (e *entry) invalidated(st *state) bool {
	return e.after > 0 && (st == nil || st.secret.origin.fetch <= e.after)
}

// awaits reports whether st is invalidated and no fetch since has failed. Cache.mu is
// held.
func (e *entry) awaits(st *state) bool { return e.invalidated(st) && e.err == nil }

// servable reports whether st may be served although it is not fresh.
func (c *Cache) servable(st *state, now time.Time) bool {
	return c.o.MaxStale >= 0 && st.age(now)-max(c.o.TTL, 0) <= c.o.MaxStale
}

// errPatience says that await waited for as long as it should.
var errPatience = errors.New("waited long enough")

const forever = time.Duration(1<<63 - 1)

// await returns nil when done is closed, ctx's error, ErrClosed, or errPatience
// after d.
func (c *Cache) await(ctx context.Context, done <-chan struct{}, d time.Duration) error {
	var after <-chan time.Time
	if d != forever {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	case <-after:
		return errPatience
	}
}

// Refresh looks for another version than rejected, which a server did not accept,
// and returns the version that bears the stage now. A cached secret answers only
// if its version is another one and it was fetched after rejected was; a fetch
// only if it began after the call. With rejected nil Refresh always fetches.
//
// If the stage still names rejected's version, Refresh returns that with a nil
// error; a stage that names no version is ErrNoVersion. Looks that found nothing
// newer are not repeated for 1 s, then 2 s, up to 30 s, and failed ones for up to
// 60 s: Refresh waits for the next look if it is due within a second and before
// ctx's deadline, and returns what the last one said otherwise.
func (c *Cache) Refresh(ctx context.Context, id, stage string, rejected *Secret) (*Secret, error) {
	k := keyOf(id, stage)
	var called uint64 // number of the last fetch that began before this call
	for first := true; ; first = false {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, ErrClosed
		}
		if first {
			called = c.fetchNo
		}
		now := time.Now()
		e := c.entry(k)
		st := e.state.Load()
		if st != nil && st.secret.newerThan(rejected) && st.secret.origin.fetch > e.after &&
			!errors.Is(e.err, ErrNoVersion) {
			c.mu.Unlock()
			c.use(e, now)
			return c.out(st.secret)
		}
		f := e.flight
		if f == nil {
			// The last look answers for rejected only if it failed or found that.
			err := e.err
			answers := rejected != nil && (err != nil || st != nil && st.secret.versionID == rejected.versionID)
			if due := e.lookDue(now); answers && due > 0 {
				c.mu.Unlock()
				deadline, bounded := ctx.Deadline()
				switch {
				case due <= lookWait && !(bounded && deadline.Before(now.Add(due))):
					if err := c.await(ctx, nil, due); !errors.Is(err, errPatience) {
						return nil, fmt.Errorf("wait to refresh secret %q: %w", k.id, err)
					}
					continue
				case err != nil:
					return nil, err
				default:
					return c.out(st.secret)
				}
			}
			f = c.launch(e, k, rejected, true)
		}
		c.mu.Unlock()

		if err := c.await(ctx, f.done, forever); err != nil {
			return nil, fmt.Errorf("wait to refresh secret %q: %w", k.id, err)
		}
		if f.number <= called {
			continue
		}
		if f.err != nil {
			return nil, f.err
		}
		return c.out(f.secret)
	}
}

// lookDue returns how long it is until a look for a newer version is due.
func (e *entry) lookDue(now time.Time) time.Duration {
	if e.err != nil && !errors.Is(e.err, ErrNoVersion) {
		return e.fails.Wait(now)
	}
	return e.looks.Wait(now)
}

// Recheck returns the version that bears the stage now, for a caller to whom used,
// which the cache gave it, is of no use for another reason than a rejected
// password: the database may have moved. It fetches only if the cached copy is
// over a minute old, and at most once in five minutes (jittered) for each secret
// and stage, whoever asks; else it returns what is cached, which may be used
// itself or a newer version that somebody else found.
//
// A fetch that is under way when one is due counts as Recheck's; all wait for its
// result, each until its own ctx ends. If it fails, Recheck returns its error, and
// the cached copy is served as before; after another failure Recheck returns that
// one's error for as long as Get would not ask again. If nothing is cached, or
// Invalidate came since, Recheck does as Get.
func (c *Cache) Recheck(ctx context.Context, id, stage string, used *Secret) (*Secret, error) {
	k := keyOf(id, stage)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, ErrClosed
	}
	now := time.Now()
	e := c.entry(k)
	st, f := e.state.Load(), e.flight
	joins := f != nil && f.recheck
	switch {
	case st == nil || e.awaits(st):
		c.mu.Unlock()
		return c.getSlow(ctx, k, true)
	case st.secret.newerThan(used) || st.age(now) <= recheckAge || !joins && !e.recheckDue(now):
		c.mu.Unlock()
		c.use(e, now)
		return c.out(st.secret)
	case f == nil && e.fails.Wait(now) > 0:
		err := e.err
		c.mu.Unlock()
		return nil, err
	case f == nil:
		f = c.launch(e, k, nil, true)
	}
	f.countRecheck()
	c.mu.Unlock()

	if err := c.await(ctx, f.done, forever); err != nil {
		return nil, fmt.Errorf("wait to recheck secret %q: %w", k.id, err)
	}
	if f.err != nil {
		return nil, f.err
	}
	return c.out(f.secret)
}

// recheckDue reports whether a Recheck may fetch, by the clock that is ahead, as
// state.age has it. Cache.mu is held.
func (e *entry) recheckDue(now time.Time) bool {
	return !now.Before(e.recheck) || !now.Round(0).Before(e.recheck)
}

// countRecheck makes f a Recheck's fetch, unless Invalidate outdated it. Cache.mu
// is held.
func (f *flight) countRecheck() {
	if e := f.entry; f.number > e.after {
		f.recheck = true
		e.recheck = f.start.Add(recheckMin + rand.N(recheckMax-recheckMin))
	}
}

// Prefetch fetches the current versions of those ids that are not cached, in
// batches where the source is a [BatchSource], and waits for them. Its error
// joins those of all ids that could not be fetched, each with its id.
func (c *Cache) Prefetch(ctx context.Context, ids ...string) error {
	src, _ := c.src.(BatchSource)
	size := 1
	if src != nil {
		size = max(1, src.BatchSize())
	}
	var errs []error
	var own []*flight
	waits := map[*entry]bool{}
	var asked []string // of which flights[i] is to bring asked[i]
	var flights []*flight

	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	now := time.Now()
	for _, id := range ids {
		k := keyOf(id, "")
		e := c.entry(k)
		if st := e.state.Load(); waits[e] || st != nil && st.fresh(now) {
			continue
		}
		waits[e] = true
		if e.flight == nil {
			if e.fails.Wait(now) > 0 {
				errs = append(errs, fmt.Errorf("prefetch secret %q: %w", id, e.err))
				continue
			}
			own = append(own, c.newFlight(e, k, nil, false))
		}
		asked, flights = append(asked, id), append(flights, e.flight)
	}
	c.mu.Unlock()

	for chunk := range slices.Chunk(own, size) {
		if len(chunk) == 1 {
			go c.fly(chunk, c.fetchOne)
		} else {
			go c.fly(chunk, func(ctx context.Context, fs []*flight) []Result {
				return fetchBatch(ctx, src, fs)
			})
		}
	}
	for i, f := range flights {
		if err := c.await(ctx, f.done, forever); err != nil {
			return errors.Join(append(errs, fmt.Errorf("prefetch secrets: %w", err))...)
		}
		if f.err != nil {
			errs = append(errs, fmt.Errorf("prefetch secret %q: %w", asked[i], f.err))
		}
	}
	return errors.Join(errs...)
}

// Invalidate makes the next Get of a secret fetch it, all stages of it, whether
// id is the id it was asked for with, its name or its ARN. Fetches under way do
// not count, and no backoff delays that fetch. If it fails, the secret is served
// as before.
func (c *Cache) Invalidate(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range c.live {
		st := e.state.Load()
		if st.secret.arn == id || st.secret.name == id || slices.Contains(e.ids, id) {
			old := *st
			old.ttl = outdated
			e.state.Store(&old)
			e.outdate(c.fetchNo)
		}
	}
	for k, e := range c.pending {
		if k.id == id {
			e.outdate(c.fetchNo)
		} else if e.flight != nil {
			e.flight.suspects = append(e.flight.suspects, id)
		}
	}
}

// outdate makes fetches up to number not count. c.mu is held.
func (e *entry) outdate(number uint64) {
	e.after = max(e.after, number)
	e.err, e.fails, e.looks, e.recheck = nil, nil, nil, time.Time{}
}

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	for i := range c.hits {
		s.Hits += c.hits[i].n.Load()
	}
	s.Entries = len(c.live)
	return s
}

// Close cancels all fetches and forgets all values. Callers that wait, and later
// ones, get ErrClosed. It returns nil.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.cancel()
	c.entries.Clear()
	for e := range c.live {
		e.state.Store(nil) // a flight may hold e a while longer
	}
	clear(c.live)
	clear(c.pending)
	return nil
}

// out is what a caller gets of a stored secret.
func (c *Cache) out(s *Secret) (*Secret, error) {
	if c.o.Hook == nil {
		return s, nil
	}
	return hooked(c.o.Hook.Get, s)
}

// outStale is out for a Get that waited for something newer than st.
func (c *Cache) outStale(e *entry, st *state) (*Secret, error) {
	c.use(e, time.Now())
	c.mu.Lock()
	c.stats.StaleHits++
	c.mu.Unlock()
	return c.out(st.secret)
}

// hooked returns s with the value that a method of a Hook makes of it.
func hooked(method func(*Secret) (*Secret, error), s *Secret) (*Secret, error) {
	t, err := method(s)
	if err != nil {
		return nil, fmt.Errorf("hook for secret %q: %w", s.id, err)
	}
	if t == nil {
		return nil, fmt.Errorf("hook for secret %q returned neither a secret nor an error", s.id)
	}
	c := *s
	c.value = t.value
	return &c, nil
}

// entry returns the entry of k, which it makes if there is none. c.mu is held.
func (c *Cache) entry(k key) *entry {
	if v, ok := c.entries.Load(k.slot()); ok {
		return v.(*entry)
	}
	e := c.pending[k]
	if e == nil {
		c.boundPending()
		e = &entry{stage: k.stage, ids: []string{k.id}}
		c.pending[k] = e
	}
	return e
}

// boundPending makes room for one more entry that fails: there are MaxSize at most.
// It forgets the one that is due first. c.mu is held.
func (c *Cache) boundPending() {
	if len(c.pending) < c.o.MaxSize {
		return
	}
	var victim key
	now, least := time.Now(), forever
	for k, e := range c.pending {
		if wait := e.fails.Wait(now); e.flight == nil && wait < least {
			victim, least = k, wait
		}
	}
	delete(c.pending, victim) // none if all are being fetched: then callers bound them
}

// launch starts a fetch of one secret, for a Refresh if rejected is not nil. c.mu
// is held.
func (c *Cache) launch(e *entry, k key, rejected *Secret, fresh bool) *flight {
	f := c.newFlight(e, k, rejected, fresh)
	go c.fly([]*flight{f}, c.fetchOne)
	return f
}

func (c *Cache) newFlight(e *entry, k key, rejected *Secret, fresh bool) *flight {
	c.fetchNo++
	c.stats.Fetches++
	e.flight = &flight{
		number: c.fetchNo, entry: e, key: k, rejected: rejected, fresh: fresh || e.invalidated(e.state.Load()),
		start: time.Now(), done: make(chan struct{}),
	}
	return e.flight
}

// fly fetches the secrets of flights, in one call, and lands them.
func (c *Cache) fly(flights []*flight, fetch func(context.Context, []*flight) []Result) {
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return // nobody waits any more
	}
	free := sync.OnceFunc(func() { <-c.slots })
	defer free()
	ctx, cancel := context.WithTimeout(c.ctx, c.o.FetchTimeout)
	defer cancel()
	// A source that ignores its context must not hold up those who wait.
	abandon := time.AfterFunc(max(c.o.FetchTimeout, c.o.FetchTimeout+abandonAfter), func() {
		free()
		for _, f := range flights {
			c.land(f, Result{Err: fmt.Errorf("no answer within %v: %w", c.o.FetchTimeout, context.DeadlineExceeded)}, true)
		}
	})
	defer abandon.Stop()

	results := make([]Result, len(flights))
	for i := range results {
		results[i].Err = errNoAnswer // stays if the source panics or ends its goroutine
	}
	defer func() {
		p := recover()
		for i, f := range flights {
			if p != nil && results[i].Err == errNoAnswer {
				results[i].Err = panicError(p)
			}
			c.land(f, results[i], ctx.Err() != nil)
		}
	}()
	for _, f := range flights {
		if c.o.Trace.FetchStart != nil {
			c.o.Trace.FetchStart(FetchInfo{ID: f.key.id, Stage: f.key.stage})
		}
	}
	for i, r := range fetch(ctx, flights) {
		if i < len(flights) {
			results[i] = c.in(flights[i], r)
		}
	}
}

// errNoAnswer is the error of a source that keeps none of its promises.
var errNoAnswer = errors.New("the source returned neither a secret nor an error")

// panicError is the error of a source, or a hook, that panicked with p: what is
// cached outlives their bugs. What p prints may hold a secret.
func panicError(p any) error {
	if err, ok := p.(runtime.Error); ok {
		return fmt.Errorf("panic in the source: %w", err)
	}
	return fmt.Errorf("panic in the source with a value of type %T", p)
}

func (c *Cache) fetchOne(ctx context.Context, fs []*flight) []Result {
	fetch := Source.Fetch
	if fs[0].fresh {
		fetch = fetchFresh
	}
	s, err := fetch(c.src, ctx, fs[0].key.id, fs[0].key.stage)
	return []Result{{s, err}}
}

func fetchBatch(ctx context.Context, src BatchSource, fs []*flight) []Result {
	ids := make([]string, len(fs))
	for i, f := range fs {
		ids[i] = f.key.id
	}
	return src.FetchBatch(ctx, ids)
}

// land ends a flight with what in returned, unless it was given up before.
func (c *Cache) land(f *flight, r Result, timedOut bool) {
	stop := r.Err != nil && c.o.StopOn != nil && c.o.StopOn(r.Err)
	now := time.Now()
	info := FetchInfo{ID: f.key.id, Stage: f.key.stage, Duration: now.Sub(f.start)}

	c.mu.Lock()
	e := f.entry
	if e.flight != f {
		c.mu.Unlock()
		return
	}
	e.flight = nil
	switch {
	case c.closed:
		f.err = ErrClosed
	case r.Err == nil:
		info.Changed = c.install(f, r.Secret, now)
		info.VersionID = f.secret.versionID
	default:
		f.err = r.Err
		f.timedOut = timedOut
		f.outdated = f.number <= e.after
		info.StaleUntil = c.fail(f, stop, now)
	}
	c.mu.Unlock()
	info.Err = f.err
	if c.o.Trace.FetchDone != nil {
		c.o.Trace.FetchDone(info)
	}
	close(f.done)
}

// fail notes that the fetch f failed; stop is what StopOn says. It returns until
// when the entry's value, if it has one, will be served. c.mu is held.
func (c *Cache) fail(f *flight, stop bool, now time.Time) (staleUntil time.Time) {
	e := f.entry
	c.stats.Errors++
	if !f.outdated { // else it says nothing of the fetch that Invalidate asked for
		e.err = f.err
		since := now
		if f.timedOut {
			since = f.start // a pause long enough, and a context's error is not to be kept
		}
		e.fails = e.fails.Next(since, failBase, failMax)
		if f.rejected != nil && errors.Is(f.err, ErrNoVersion) {
			e.looks = e.looks.Next(now, lookBase, lookMax)
		}
	}
	st := e.state.Load()
	switch {
	case st == nil:
	case stop:
		c.drop(e)
		e.ids = []string{f.key.id}
		c.boundPending()
		c.pending[f.key] = e
	case c.o.MaxStale >= 0:
		staleUntil = st.fetched.Add(max(c.o.TTL, 0)).Add(c.o.MaxStale)
	}
	c.evict(nil)
	return staleUntil
}

// in is what is stored of a secret that was fetched: the one that is cached, if
// it is the same, or what the hook makes of it.
func (c *Cache) in(f *flight, r Result) Result {
	switch {
	case r.Err != nil:
		return Result{Err: r.Err}
	case r.Secret == nil:
		return Result{Err: errNoAnswer}
	}
	own := *r.Secret
	own.origin = &origin{cache: c, first: f.number, fetch: f.number}
	if own.id == "" {
		own.id = f.key.id
	}
	if own.name == own.id {
		own.name = own.id // one string in memory
	}
	if own.versionID == "" {
		// The value keyed with a number of this process: equal for equal values of
		// one id, and of no use to who reads it in a log.
		own.versionID = "~" + strconv.FormatUint(maphash.Comparable(c.seed, [2]string{own.id, own.Reveal()}), 36)
	}
	if st := f.entry.state.Load(); st != nil && st.secret.sameAs(&own) &&
		(c.o.Hook != nil || st.secret.Reveal() == own.Reveal()) {
		return Result{Secret: st.secret}
	}
	if c.o.Hook == nil {
		return Result{Secret: &own}
	}
	s, err := hooked(c.o.Hook.Put, &own)
	return Result{s, err}
}

// install stores what the fetch f brought, and reports whether it is another
// version than was cached. c.mu is held.
func (c *Cache) install(f *flight, s *Secret, now time.Time) (changed bool) {
	e := c.home(f, s)
	if slices.Contains(f.suspects, s.arn) || slices.Contains(f.suspects, s.name) {
		e.after = max(e.after, f.number)
	}
	f.outdated = f.number <= e.after
	f.secret = s
	for _, id := range e.ids {
		k := key{id, e.stage}
		c.entries.Store(k.slot(), e)
		// Another id's fetch may be under way: it lands in its own entry, and then here.
		if p := c.pending[k]; p == f.entry || p != nil && p.flight == nil {
			delete(c.pending, k)
		}
	}
	prev := e.state.Load()
	if prev != nil && prev.secret.origin.fetch > f.number {
		// A fetch that began later, by another id, has landed before.
		f.secret = prev.secret
		return false
	}
	if prev != nil && c.behind(f, s, prev.secret) {
		s, f.secret = prev.secret, prev.secret
	}
	s.origin.fetch = f.number
	ttl := outdated
	if c.o.TTL > 0 && !f.outdated {
		ttl = c.o.TTL - rand.N(c.o.TTL/2+1)
	}
	changed = prev == nil || prev.secret.versionID != s.versionID
	e.err, e.fails = nil, nil
	if changed {
		e.looks = nil
	}
	if f.rejected != nil && f.rejected.versionID == s.versionID {
		if e.looks.Wait(now.Add(-lookMax)) == 0 {
			e.looks = nil // older than any pause: that was another rejection's
		}
		e.looks = e.looks.Next(now, lookBase, lookMax)
	}
	e.state.Store(&state{secret: s, fetched: now, ttl: ttl})
	if _, ok := c.live[e]; !ok {
		c.live[e] = struct{}{}
		c.inserts.Add(1)
	}
	e.used.Store(c.stamp(now))
	c.evict(e)
	return changed
}

// behind reports whether s, which f brought, is an older version out of the source's own
// cache than cached, which came past that cache, or from another source of a chain.
func (c *Cache) behind(f *flight, s, cached *Secret) bool {
	_, keeps := c.src.(FreshSource)
	return keeps && !f.fresh && !s.createdAt.IsZero() && s.createdAt.Before(cached.createdAt)
}

// home returns the entry that s, which f brought, belongs to: f's, or the one that
// has the secret already, by its ARN. There is one entry for both. c.mu is held.
func (c *Cache) home(f *flight, s *Secret) *entry {
	e := f.entry
	if !strings.HasPrefix(s.arn, "arn:") {
		return e
	}
	if old := e.state.Load(); old != nil && old.secret.arn != s.arn && len(e.ids) > 1 {
		// The id names another secret now; the one that it named keeps its other ids.
		c.entries.Delete(f.key.slot())
		e.ids = slices.DeleteFunc(e.ids, func(id string) bool { return id == f.key.id })
		e = &entry{stage: e.stage, ids: []string{f.key.id}, recheck: e.recheck, after: e.after}
	}
	v, ok := c.entries.Load(key{s.arn, e.stage}.slot())
	if !ok || v.(*entry) == e {
		if !slices.Contains(e.ids, s.arn) {
			e.ids = append(e.ids, s.arn)
		}
		return e
	}
	first := v.(*entry)
	first.after = max(first.after, e.after)
	if e.recheck.After(first.recheck) {
		first.recheck = e.recheck
	}
	c.drop(e)
	for _, id := range e.ids {
		if !slices.Contains(first.ids, id) {
			first.ids = append(first.ids, id)
		}
	}
	return first
}

// drop forgets e and its value. c.mu is held.
func (c *Cache) drop(e *entry) {
	for _, id := range e.ids {
		c.entries.Delete(key{id, e.stage}.slot())
	}
	delete(c.live, e)
	e.state.Store(nil)
}

// evict drops the least recently used entries over MaxSize, but neither keep nor
// one that is being fetched. c.mu is held.
func (c *Cache) evict(keep *entry) {
	for len(c.live) > c.o.MaxSize {
		var victim *entry
		for e := range c.live {
			if e != keep && e.flight == nil && (victim == nil || e.used.Load() < victim.used.Load()) {
				victim = e
			}
		}
		if victim == nil {
			return
		}
		c.drop(victim)
	}
}

// use notes that e is in use. It writes at most once a second and insertion, so
// that readers on several cores do not share a line that changes.
func (c *Cache) use(e *entry, now time.Time) {
	if stamp := c.stamp(now) + 1; e.used.Load() != stamp {
		e.used.Store(stamp)
	}
}

// stamp orders uses: to the second, and before and after an insertion exactly,
// since both of its terms only grow.
func (c *Cache) stamp(now time.Time) int64 {
	return int64(now.Sub(c.epoch)/time.Second) + 2*c.inserts.Load()
}

// countHit counts without a line shared between cores: goroutines have stacks of
// their own, so the address of a variable picks a counter.
func (c *Cache) countHit() {
	var x byte
	h := uint64(uintptr(unsafe.Pointer(&x))>>11) * 0x9E3779B97F4A7C15
	c.hits[h>>59].n.Add(1)
}

func (c *Cache) countMiss() {
	c.mu.Lock()
	c.stats.Misses++
	c.mu.Unlock()
}
