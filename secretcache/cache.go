package secretcache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// Pause after a fetch that failed: from the first to the second, doubling.
	failBase, failMax = time.Second, time.Minute
	// The same after a look for a newer version that found none.
	lookBase, lookMax = time.Second, 30 * time.Second
	// A Refresh waits for the next look if it is due within this.
	lookWait = time.Second
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
	// them: key to *entry. It is read without a lock and written under mu.
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

// An entry is what is known of one secret and stage.
type entry struct {
	state atomic.Pointer[state] // nil without a value; stored under Cache.mu
	used  atomic.Int64          // stamp of the last use

	// Guarded by Cache.mu:
	keys   []key   // under which it is found
	flight *flight // the fetch under way, or nil
	err    error   // why the last fetch brought no value; nil if it did
	fails  backoff // fetches that failed
	looks  backoff // looks for a newer version that found none
	after  uint64  // fetches up to this number are outdated by Invalidate
}

// A state is a value and its age. It is immutable.
type state struct {
	secret  *Secret
	fetch   uint64    // number of the fetch that last brought or confirmed it
	fetched time.Time // with monotonic clock
	wall    int64     // the same as Unix nanoseconds
	ttl     time.Duration
}

// age is the larger of monotonic and wall time: the monotonic clock stands still
// while a machine (a Lambda, a laptop) is frozen.
func (s *state) age(now time.Time) time.Duration {
	return max(now.Sub(s.fetched), time.Duration(now.UnixNano()-s.wall))
}

func (s *state) fresh(now time.Time) bool { return s.age(now) < s.ttl }

// A flight is one fetch. Its results are set before done is closed.
type flight struct {
	number   uint64
	entry    *entry
	key      key  // one of the entry's
	look     bool // a Refresh for a version other than the cached one started it
	start    time.Time
	done     chan struct{}
	secret   *Secret
	err      error
	timedOut bool // it ended at FetchTimeout
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
// repeated for 1 s, then 2 s, up to 60 s; until then Get returns its error. It
// outlives the ctx of the callers that wait for it.
func (c *Cache) Get(ctx context.Context, id, stage string) (*Secret, error) {
	k := keyOf(id, stage)
	if v, ok := c.entries.Load(k); ok {
		e := v.(*entry)
		if st := e.state.Load(); st != nil {
			if now := time.Now(); st.fresh(now) {
				c.use(e, now)
				c.countHit()
				return c.out(st.secret)
			}
		}
	}
	return c.getSlow(ctx, k)
}

func keyOf(id, stage string) key {
	if stage == "" {
		stage = StageCurrent
	}
	return key{id, stage}
}

// getSlow is Get when there is no fresh value.
func (c *Cache) getSlow(ctx context.Context, k key) (*Secret, error) {
	var again bool // a fetch is due whatever its backoff says
	var called uint64
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
		if f == nil && (again || e.fails.wait(now) <= 0) {
			f = c.launch(e, k, false)
		}
		outdated := f != nil && f.number <= e.after
		wait := c.patience(ctx, st, e, now)
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

		err := await(ctx, f.done, wait)
		switch {
		case errors.Is(err, errPatience):
			c.countStale()
			c.use(e, time.Now())
			return c.out(st.secret)
		case err != nil:
			c.countMiss()
			return nil, fmt.Errorf("wait for secret %q: %w", k.id, err)
		case outdated:
			// It began before Invalidate; another one is due.
		case f.err == nil:
			c.countMiss()
			c.use(e, time.Now())
			return c.out(f.secret)
		case f.timedOut && f.number <= called && !again:
			// It hung since before this call, which may have better luck.
			again = true
		default:
			// Old is better than down, unless StopOn took the value away.
			if st := e.state.Load(); st != nil && c.servable(st, time.Now()) {
				c.countStale()
				return c.out(st.secret)
			}
			c.countMiss()
			return nil, f.err
		}
	}
}

// patience returns how long a Get that found st, which is not fresh, waits for
// the fetch in flight: zero not at all, forever if it cannot be answered otherwise.
func (c *Cache) patience(ctx context.Context, st *state, e *entry, now time.Time) time.Duration {
	switch {
	case st == nil || c.o.TTL < 0 || st.fetch <= e.after || !c.servable(st, now):
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

// servable reports whether st may be served although it is not fresh.
func (c *Cache) servable(st *state, now time.Time) bool {
	return c.o.MaxStale >= 0 && st.age(now)-max(c.o.TTL, 0) <= c.o.MaxStale
}

// errPatience says that await waited for as long as it should.
var errPatience = errors.New("waited long enough")

const forever = time.Duration(1<<63 - 1)

// await returns nil when done is closed, ctx's error, or errPatience after d.
func await(ctx context.Context, done <-chan struct{}, d time.Duration) error {
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
	var called uint64
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
		if rejected != nil && st != nil && st.secret.versionID != rejected.versionID && rejected.fetch != 0 &&
			st.fetch > rejected.fetch && st.fetch > e.after {
			c.mu.Unlock()
			c.use(e, now)
			return c.out(st.secret)
		}
		f := e.flight
		if f == nil {
			// With a foreign rejected, or none, the last look cannot answer.
			if due := e.lookDue(now); due > 0 && rejected != nil && rejected.fetch != 0 {
				err := e.err
				c.mu.Unlock()
				deadline, bounded := ctx.Deadline()
				if due > lookWait || bounded && deadline.Before(now.Add(due)) {
					if err != nil || st == nil {
						return nil, err
					}
					return c.out(st.secret)
				}
				if err := await(ctx, nil, due); !errors.Is(err, errPatience) {
					return nil, fmt.Errorf("wait to refresh secret %q: %w", k.id, err)
				}
				continue
			}
			f = c.launch(e, k, rejected != nil)
		}
		c.mu.Unlock()

		if err := await(ctx, f.done, forever); err != nil {
			return nil, fmt.Errorf("wait to refresh secret %q: %w", k.id, err)
		}
		if f.number > called {
			if f.err != nil {
				return nil, f.err
			}
			return c.out(f.secret)
		}
	}
}

// lookDue returns how long it is until a look for a newer version is due.
func (e *entry) lookDue(now time.Time) time.Duration {
	due := e.looks.wait(now)
	if e.err != nil && !errors.Is(e.err, ErrNoVersion) {
		due = max(due, e.fails.wait(now))
	}
	return due
}

// Prefetch fetches the current versions of those ids that are not cached, in
// batches where the source is a [BatchSource], and waits for them. Its error
// joins those of all ids that could not be fetched, each with its id.
func (c *Cache) Prefetch(ctx context.Context, ids ...string) error {
	var errs []error
	flights := map[string]*flight{}
	var batch []*flight
	size := 1
	src, _ := c.src.(BatchSource)
	if src != nil {
		size = max(1, src.BatchSize())
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	now := time.Now()
	for _, id := range ids {
		k := keyOf(id, "")
		if _, ok := flights[id]; ok {
			continue
		}
		e := c.entry(k)
		if st := e.state.Load(); st != nil && st.fresh(now) {
			continue
		}
		f := e.flight
		switch {
		case f != nil:
		case e.fails.wait(now) > 0:
			errs = append(errs, fmt.Errorf("%q: %w", id, e.err))
			continue
		default:
			f = c.newFlight(e, k, false)
			batch = append(batch, f)
		}
		flights[id] = f
	}
	c.mu.Unlock()

	for chunk := range slices.Chunk(batch, size) {
		if len(chunk) == 1 {
			go c.fly(chunk, c.fetchOne)
		} else {
			go c.fly(chunk, func(ctx context.Context, fs []*flight) []Result {
				return fetchBatch(ctx, src, fs)
			})
		}
	}
	for id, f := range flights {
		if err := await(ctx, f.done, forever); err != nil {
			return errors.Join(append(errs, fmt.Errorf("prefetch secrets: %w", err))...)
		}
		if f.err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", id, f.err))
		}
	}
	return errors.Join(errs...)
}

// Invalidate makes the next Get of a secret fetch it, all stages of it, whether
// id is the id it was asked for with, its name or its ARN. Fetches under way do
// not count. If the source fails, the secret is served as before.
func (c *Cache) Invalidate(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range c.live {
		st := e.state.Load()
		named := func(k key) bool { return k.id == id }
		if st.secret.arn != id && st.secret.name != id && !slices.ContainsFunc(e.keys, named) {
			continue
		}
		e.after = c.fetchNo
		old := *st
		old.ttl = -1
		e.state.Store(&old)
		e.looks = backoff{}
	}
	for k, e := range c.pending {
		if k.id == id {
			e.after = c.fetchNo
			e.looks, e.fails = backoff{}, backoff{}
		}
	}
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
		c.abort(e)
	}
	for _, e := range c.pending {
		c.abort(e)
	}
	clear(c.live)
	clear(c.pending)
	return nil
}

// abort forgets e's value and ends its flight. c.mu is held.
func (c *Cache) abort(e *entry) {
	e.state.Store(nil)
	if f := e.flight; f != nil {
		f.err = ErrClosed
		e.flight = nil
		close(f.done)
	}
}

// out is what a caller gets of a stored secret.
func (c *Cache) out(s *Secret) (*Secret, error) {
	if c.o.Hook == nil {
		return s, nil
	}
	return hooked(c.o.Hook.Get, s)
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
	if v, ok := c.entries.Load(k); ok {
		return v.(*entry)
	}
	e := c.pending[k]
	if e == nil {
		c.boundPending()
		e = &entry{keys: []key{k}}
		c.pending[k] = e
	}
	return e
}

// boundPending keeps the number of entries that fail below MaxSize. c.mu is held.
func (c *Cache) boundPending() {
	if len(c.pending) < c.o.MaxSize {
		return
	}
	var oldest key
	var at time.Time
	for k, e := range c.pending {
		if e.flight == nil && (at.IsZero() || e.fails.at.Before(at)) {
			oldest, at = k, e.fails.at
		}
	}
	delete(c.pending, oldest) // none if all are being fetched: then callers bound them
}

// launch starts a fetch of one secret. c.mu is held.
func (c *Cache) launch(e *entry, k key, look bool) *flight {
	f := c.newFlight(e, k, look)
	go c.fly([]*flight{f}, c.fetchOne)
	return f
}

func (c *Cache) newFlight(e *entry, k key, look bool) *flight {
	c.fetchNo++
	c.stats.Fetches++
	f := &flight{number: c.fetchNo, entry: e, key: k, look: look, start: time.Now(), done: make(chan struct{})}
	e.flight = f
	return f
}

// fly fetches the secrets of flights, in one call, and lands them.
func (c *Cache) fly(flights []*flight, fetch func(context.Context, []*flight) []Result) {
	results := make([]Result, len(flights))
	for i := range results {
		results[i].Err = errNoAnswer // stays if the source panics or ends its goroutine
	}
	timedOut := false
	defer func() {
		for i, f := range flights {
			c.land(f, results[i], timedOut)
		}
	}()
	select {
	case c.slots <- struct{}{}:
	case <-c.ctx.Done():
		return // Close has ended the flights
	}
	for _, f := range flights {
		if c.o.Trace.FetchStart != nil {
			c.o.Trace.FetchStart(FetchInfo{ID: f.key.id, Stage: f.key.stage})
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.o.FetchTimeout)
	defer cancel()
	// A source that ignores its context must not hold up those who wait.
	free := sync.OnceFunc(func() { <-c.slots })
	defer free()
	abandon := time.AfterFunc(c.o.FetchTimeout+abandonAfter, func() {
		free()
		for _, f := range flights {
			c.land(f, Result{Err: fmt.Errorf("no answer within %v: %w", c.o.FetchTimeout, context.DeadlineExceeded)}, true)
		}
	})
	defer abandon.Stop()
	copy(results, fetch(ctx, flights))
	timedOut = ctx.Err() != nil
}

// errNoAnswer is the error of a source that keeps none of its promises.
var errNoAnswer = errors.New("the source returned neither a secret nor an error")

func (c *Cache) fetchOne(ctx context.Context, fs []*flight) []Result {
	s, err := c.src.Fetch(ctx, fs[0].key.id, fs[0].key.stage)
	return []Result{{s, err}}
}

func fetchBatch(ctx context.Context, src BatchSource, fs []*flight) []Result {
	ids := make([]string, len(fs))
	for i, f := range fs {
		ids[i] = f.key.id
	}
	return src.FetchBatch(ctx, ids)
}

// land ends a flight with what the source said, unless it has ended before.
func (c *Cache) land(f *flight, r Result, timedOut bool) {
	s, err := r.Secret, r.Err
	if s == nil && err == nil {
		err = errNoAnswer
	}
	if err == nil {
		s, err = c.in(f, s)
	}

	c.mu.Lock()
	e := f.entry
	if e.flight != f {
		c.mu.Unlock()
		return // it has ended before, or the cache is closed
	}
	e.flight = nil
	now := time.Now()
	info := FetchInfo{ID: f.key.id, Stage: f.key.stage, Duration: now.Sub(f.start), Err: err}
	if err == nil {
		info.VersionID = s.versionID
		info.Changed = c.install(e, f, s, now)
		f.secret = s
	} else {
		c.stats.Errors++
		e.err = err
		e.fails.fail(now, failBase, failMax)
		if errors.Is(err, ErrNoVersion) && f.look {
			e.looks.fail(now, lookBase, lookMax)
		}
		if st := e.state.Load(); st != nil {
			if c.o.StopOn != nil && c.o.StopOn(err) {
				c.drop(e)
				c.pending[f.key] = e
				e.keys = []key{f.key}
			} else if c.o.MaxStale >= 0 {
				info.StaleUntil = st.fetched.Add(max(c.o.TTL, 0) + c.o.MaxStale)
			}
		}
		f.err = err
		f.timedOut = timedOut
	}
	c.mu.Unlock()
	if c.o.Trace.FetchDone != nil {
		c.o.Trace.FetchDone(info)
	}
	close(f.done)
}

// in is what is stored of a secret that was fetched: the one that is cached, if
// it is the same, or what the hook makes of it.
func (c *Cache) in(f *flight, s *Secret) (*Secret, error) {
	own := *s
	own.fetch = f.number
	if own.id == "" {
		own.id = f.key.id
	}
	if own.versionID == "" {
		// The value keyed with a number of this process: equal for equal values,
		// and of no use to who reads it in a log.
		own.versionID = "~" + strconv.FormatUint(maphash.String(c.seed, own.Reveal()), 36)
	}
	if st := f.entry.state.Load(); st != nil && st.secret.sameAs(&own) &&
		(c.o.Hook != nil || st.secret.Reveal() == own.Reveal()) {
		return st.secret, nil
	}
	if c.o.Hook == nil {
		return &own, nil
	}
	return hooked(c.o.Hook.Put, &own)
}

// install stores what the fetch f of e brought and reports whether it is another
// version than e had. c.mu is held.
func (c *Cache) install(e *entry, f *flight, s *Secret, now time.Time) (changed bool) {
	old := e.state.Load()
	t := e
	if arn := (key{s.arn, f.key.stage}); strings.HasPrefix(s.arn, "arn:") {
		if old != nil && old.secret.arn != s.arn && len(e.keys) > 1 {
			// The id names another secret now; the one it named keeps its other keys.
			c.unlink(e, f.key)
			t = &entry{keys: []key{f.key}}
		}
		if v, ok := c.entries.Load(arn); ok && v.(*entry) != t {
			// The secret is cached already, by its ARN: one entry for both.
			keys := t.keys
			if t == e {
				c.drop(e)
				delete(c.pending, f.key)
			}
			t = v.(*entry)
			for _, k := range keys {
				c.link(t, k)
			}
		} else if !ok {
			t.keys = append(t.keys, arn)
		}
	}
	prev := t.state.Load()
	if prev != nil && prev.fetch > f.number {
		return false // a fetch that began later has landed before
	}
	ttl := time.Duration(-1)
	if c.o.TTL > 0 {
		ttl = c.o.TTL - rand.N(c.o.TTL/2+1)
	}
	if f.number <= t.after {
		ttl = -1 // Invalidate came while it was under way
	}
	changed = prev == nil || prev.secret.versionID != s.versionID
	t.err, t.fails = nil, backoff{}
	if changed {
		t.looks = backoff{}
	} else if f.look {
		t.looks.fail(now, lookBase, lookMax)
	}
	t.state.Store(&state{secret: s, fetch: f.number, fetched: now, wall: now.UnixNano(), ttl: ttl})
	if _, ok := c.live[t]; !ok {
		c.live[t] = struct{}{}
		c.inserts.Add(1)
	}
	for _, k := range t.keys {
		delete(c.pending, k)
		c.entries.Store(k, t)
	}
	t.used.Store(c.stamp(now))
	c.evict(t)
	return changed
}

// link makes e found under k as well. c.mu is held.
func (c *Cache) link(e *entry, k key) {
	if !slices.Contains(e.keys, k) {
		e.keys = append(e.keys, k)
	}
	c.entries.Store(k, e)
}

// unlink makes e no longer found under k. c.mu is held.
func (c *Cache) unlink(e *entry, k key) {
	e.keys = slices.DeleteFunc(slices.Clone(e.keys), func(o key) bool { return o == k })
	c.entries.Delete(k)
}

// drop forgets e and its value. c.mu is held.
func (c *Cache) drop(e *entry) {
	for _, k := range e.keys {
		c.entries.Delete(k)
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

func (c *Cache) countStale() {
	c.mu.Lock()
	c.stats.StaleHits++
	c.mu.Unlock()
}

func (c *Cache) countMiss() {
	c.mu.Lock()
	c.stats.Misses++
	c.mu.Unlock()
}
