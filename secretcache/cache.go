package secretcache

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sqlsecrets/sqlsecrets/internal/clock"
)

// A Cache keeps secrets of a [Source]. Its methods may be called from several
// goroutines at once. It has no goroutine but those of fetches in flight.
type Cache struct {
	src   Source
	o     Options
	clock *clock.Clock
	index *index
	seed  maphash.Seed // of version ids for sources that have none
	hits  [32]hits

	ctx    context.Context // of all fetches; ends at Close
	cancel context.CancelFunc

	mu      sync.Mutex
	fetchNo uint64    // number of the fetch that began last
	queue   list.List // of *job: those that have not begun
	jobs    int       // those that have
	stats   Stats     // all but hits and Entries
}

// New returns an empty cache of src. It panics if src is nil.
func New(src Source, opts *Options) *Cache {
	if src == nil {
		panic("secretcache: New with a nil Source")
	}
	c := &Cache{src: src, o: withDefaults(opts), clock: clock.New(), seed: maphash.MakeSeed()}
	c.index = newIndex(c.o.MaxSize)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Get returns the version of the secret that bears the stage; an empty stage
// means AWSCURRENT, and id is a name, an ARN or whatever the source knows. It
// fetches the secret if it is not cached, and returns a cached one without
// waiting while it is younger than twice its TTL.
//
// Errors are the source's, ErrClosed, or ctx's with why the last attempt failed. A
// fetch that failed is not repeated for 1 s, then 2 s, up to 55 s; until then Get
// returns its error. For one that ended at FetchTimeout, this counts from its start. A
// fetch that has begun outlives the ctx of the callers that wait for it.
func (c *Cache) Get(ctx context.Context, id, stage string) (*Secret, error) {
	k := keyOf(id, stage)
	if s := c.hit(k); s != nil {
		return c.out(s, nil)
	}
	r, err := c.read(ctx, k)
	return r.Secret, err
}

// A Reading is a secret and how it came out of a [Cache].
type Reading struct {
	Secret *Secret
	// StaleCause is why the last fetch failed, if the secret is older than its TTL (or
	// invalidated) for that. Nil otherwise.
	StaleCause error
	// StaleUntil is until when the cache serves the secret at most if fetches go on to
	// fail, by the wall clock. Zero if StaleCause is nil.
	StaleUntil time.Time
}

// Read is Get with the circumstances. Its Reading is zero on an error.
func (c *Cache) Read(ctx context.Context, id, stage string) (Reading, error) {
	k := keyOf(id, stage)
	if s := c.hit(k); s != nil {
		s, err := c.out(s, nil)
		return Reading{Secret: s}, err
	}
	return c.read(ctx, k)
}

// hit returns the secret of k if it is fresh, or being renewed, or nil.
func (c *Cache) hit(k key) *Secret {
	e := c.index.find(k)
	if e == nil {
		return nil
	}
	switch v, now := e.value.Load(), c.clock.Now(); {
	case v.fresh(now):
		c.counter().fresh.Add(1)
		return c.serve(e, v, now)
	case v != nil && now < time.Duration(e.calm.Load()):
		c.counter().stale.Add(1)
		return c.serve(e, v, now)
	}
	return nil
}

// read answers a Get or a Read that is no hit.
func (c *Cache) read(ctx context.Context, k key) (Reading, error) {
	c.mu.Lock()
	r, err := c.get(ctx, k, false)
	c.mu.Unlock()
	if r.Secret, err = c.out(r.Secret, err); err != nil {
		return Reading{}, err
	}
	return r, nil
}

// Refresh looks for another version than rejected, which a server did not accept,
// and returns the version that bears the stage now. A cached secret answers only
// if its version is another one and it was fetched after rejected was; a fetch
// only if it began after the call. With rejected nil Refresh always fetches.
//
// If the stage still names rejected's version, Refresh returns that with a nil
// error; a stage that names no version is ErrNoVersion. Refreshes that failed or found
// nothing newer are not repeated for 1 s, then 2 s, up to 55 s: Refresh waits for the
// next one if it is due within a second and before ctx's deadline, and returns what the
// last one said otherwise.
func (c *Cache) Refresh(ctx context.Context, id, stage string, rejected *Secret) (*Secret, error) {
	s, err := c.refresh(ctx, keyOf(id, stage), rejected)
	if s == rejected { // which has come out before, or is nil
		return s, err
	}
	return c.out(s, err)
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
	return c.out(c.recheck(ctx, keyOf(id, stage), used))
}

// LastFailure returns why the fetch of a secret that is under way has brought no value
// yet, which is what its source said to [AttemptFailed] last, or else why the last
// fetch brought none. It returns nil if there was no failure since the last value, or
// if the cache remembers none. It does not fetch.
func (c *Cache) LastFailure(id, stage string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastFailure(keyOf(id, stage))
}

// lastFailure is LastFailure with c.mu held. It returns nil after Close, which empties the index.
func (c *Cache) lastFailure(k key) error {
	e := c.index.find(k)
	switch {
	case e == nil:
		return nil
	case e.flight != nil:
		return cmp.Or(e.flight.job.lastAttempt(), e.err)
	}
	return e.err
}

// Invalidate makes the next Get of a secret fetch it, all stages of it, whether
// id is the id it was asked for with, its name or its ARN. Fetches under way do
// not count, and no backoff delays that fetch. If it fails, the secret is served
// as before.
func (c *Cache) Invalidate(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index.invalidate(id, c.fetchNo)
}

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	for i := range c.hits {
		s.Hits += c.hits[i].fresh.Load()
		s.StaleHits += c.hits[i].stale.Load()
	}
	s.Entries = c.index.recent.len
	return s
}

// Close cancels all fetches and forgets all values. Callers that wait, and later
// ones, get ErrClosed. It returns nil.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
	c.index.clear()
	return nil
}

// closed reports whether Close was called. c.mu is held.
func (c *Cache) closed() bool { return c.ctx.Err() != nil }

// out is what a caller gets of s, which is stored, or err if that is not nil.
func (c *Cache) out(s *Secret, err error) (*Secret, error) {
	if err != nil || c.o.Hook == nil {
		return s, err
	}
	return hooked(c.o.Hook.Get, s)
}

const forever = time.Duration(1<<63 - 1)

// await waits until done is closed, for d at most, and reports whether it was. It returns
// ctx's error or ErrClosed if ctx ends or c is closed before.
func (c *Cache) await(ctx context.Context, done <-chan struct{}, d time.Duration) (bool, error) {
	var after <-chan time.Time
	if d != forever {
		after = time.After(d)
	}
	select {
	case <-done:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-c.ctx.Done():
		return false, ErrClosed
	case <-after:
		return false, nil
	}
}

// because adds why the last attempt failed to err, unless last is nil.
func because(err, last error) error {
	if last == nil {
		return err
	}
	return fmt.Errorf("%w; the last attempt failed: %w", err, last)
}

// Hits are counts that share no cache line with others, nor with what comes before them in a
// Cache, which each Get reads.
type hits struct {
	_            [112]byte
	fresh, stale atomic.Uint64
}

// counter returns hits that goroutines on other cores seldom count in: goroutines have
// stacks of their own, so the address of a variable picks them.
func (c *Cache) counter() *hits {
	var x byte
	h := uint64(uintptr(unsafe.Pointer(&x))>>11) * 0x9E3779B97F4A7C15
	return &c.hits[h>>59]
}
