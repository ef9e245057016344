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

// A Cache keeps secrets of a [Source] in memory. Its methods may be called from several
// goroutines at once. It has no goroutines of its own except one for each fetch under way,
// so it needs no Close to be garbage collected; [Cache.Close] ends the fetches. [New] makes it.
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
	queue   list.List // of *job: the jobs that have not begun
	jobs    int       // how many jobs are running
	stats   Stats     // without Hits, StaleHits and Entries
}

// New returns an empty cache that fetches from src. A nil opts means the defaults. New
// copies opts. It panics if src is nil.
func New(src Source, opts *Options) *Cache {
	if src == nil {
		panic("secretcache: New with a nil Source")
	}
	c := &Cache{src: src, o: withDefaults(opts), clock: clock.New(), seed: maphash.MakeSeed()}
	c.index = newIndex(c.o.MaxSize)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Get returns the version of the secret that has the stage. id is a name, an ARN, or any
// id that the source knows. An empty stage means AWSCURRENT. If the secret is not cached,
// Get fetches it. If the cached copy is younger than 2*Options.TTL, Get returns it without
// waiting. [Options] says what happens with an older copy.
//
// After a fetch that failed, there is a pause of 1 s, then 2 s, doubling up to 55 s. During the
// pause the cache does not fetch: Get returns a copy that may still be served, or else the
// error of that fetch. The pause begins when the fetch fails; if it failed because
// FetchTimeout was over, the pause begins at the start of the fetch.
//
// The error is the source's, or ErrClosed. If ctx ends while Get waits, it is ctx's error
// together with the reason why the last attempt failed. The fetch itself does not
// end with ctx: it goes on and fills the cache.
func (c *Cache) Get(ctx context.Context, id, stage string) (*Secret, error) {
	k := keyOf(id, stage)
	if s := c.hit(k); s != nil {
		return c.out(s, nil)
	}
	r, err := c.read(ctx, k)
	return r.Secret, err
}

// A Reading is a secret, and whether it is stale.
type Reading struct {
	Secret *Secret
	// StaleCause is the error of the last fetch if the secret is stale: it is older than its
	// TTL, or invalidated, and was not renewed because that fetch failed. Nil otherwise.
	StaleCause error
	// StaleUntil is when the cache will stop serving the secret if fetches keep failing,
	// by the wall clock. Zero if StaleCause is nil.
	StaleUntil time.Time
}

// Read is [Cache.Get], and also tells whether the secret is stale. With an error the
// Reading is zero.
func (c *Cache) Read(ctx context.Context, id, stage string) (Reading, error) {
	k := keyOf(id, stage)
	if s := c.hit(k); s != nil {
		s, err := c.out(s, nil)
		return Reading{Secret: s}, err
	}
	return c.read(ctx, k)
}

// hit returns the secret of k if Get may return it without c.mu: it is fresh, or a fetch
// renews it and Get need not wait. Otherwise hit returns nil.
func (c *Cache) hit(k key) *Secret {
	e := c.index.find(k)
	if e == nil {
		return nil
	}
	switch v, now := e.value.Load(), c.clock.Now(); {
	case v.fresh(now):
		c.counter().fresh.Add(1)
		return c.serve(e, v, now)
	case v != nil && now < time.Duration(e.servedUntil.Load()):
		c.counter().stale.Add(1)
		return c.serve(e, v, now)
	}
	return nil
}

// read answers a Get or a Read for which hit returned nil.
func (c *Cache) read(ctx context.Context, k key) (Reading, error) {
	c.mu.Lock()
	r, err := c.get(ctx, k, false)
	c.mu.Unlock()
	if r.Secret, err = c.out(r.Secret, err); err != nil {
		return Reading{}, err
	}
	return r, nil
}

// Refresh returns the version that has the stage now. Call it when a server rejected the
// credentials in the secret rejected, which this cache returned. A cached copy is the
// answer only if it is another version and was fetched later than rejected. Otherwise
// Refresh fetches, or waits for a fetch that began after the call. If rejected is nil,
// Refresh always fetches. An empty stage means AWSCURRENT.
//
// If the stage is still on the rejected version, Refresh returns that version and a nil
// error: compare VersionID. If no version has the stage, the error matches ErrNoVersion.
//
// After a refresh that failed or found no newer version, there is a pause of 1 s, then
// 2 s, doubling up to 55 s. If the pause ends within 1 s and before ctx's deadline, Refresh waits
// for that and fetches. Otherwise it returns at once what the last fetch brought: the
// same version, or an error. Errors are as those of [Cache.Get].
func (c *Cache) Refresh(ctx context.Context, id, stage string, rejected *Secret) (*Secret, error) {
	s, err := c.refresh(ctx, keyOf(id, stage), rejected)
	if s == rejected { // which has come out before, or is nil
		return s, err
	}
	return c.out(s, err)
}

// Recheck returns the version that has the stage now. Call it when the secret used, which
// this cache returned, does not work for a reason other than a rejected password: for
// example, the database cannot be reached and may have moved to another host. An empty
// stage means AWSCURRENT.
//
// Recheck fetches only if the cached copy is more than 1 min old, and only once in a random
// 5 to 7.5 min for each secret and stage, no matter how many callers ask. Otherwise it
// returns the cached copy. That copy may be used itself, or a newer version that another
// caller's fetch brought.
//
// If a fetch of the secret is under way when one is due, Recheck waits for it and does not start
// another. Each caller waits until its own ctx ends. If the fetch fails, Recheck returns its
// error, and Get serves the cached copy as before. During the pause after a failed fetch
// (see [Cache.Get]) Recheck returns the error of that fetch. If nothing is cached, or if
// Invalidate came after the last fetch, Recheck does the same as Get.
func (c *Cache) Recheck(ctx context.Context, id, stage string, used *Secret) (*Secret, error) {
	return c.out(c.recheck(ctx, keyOf(id, stage), used))
}

// LastFailure returns why there is no newer value of a secret. While a fetch is under way
// and an attempt of it has failed, that is the error that the source last gave to
// [AttemptFailed]. Otherwise it is the error of the last fetch. It is nil if no fetch or
// attempt has failed after the last value came, or if the cache no longer remembers the failure.
// LastFailure does not fetch.
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

// Invalidate makes the next Get of a secret fetch it, in each of its stages. id may be the id
// that Get was called with, the secret's name, or its ARN. The result of a fetch that is
// already under way does not count as new. No pause delays the next fetch. If that fetch
// fails, the cached copy is served as before.
func (c *Cache) Invalidate(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index.invalidate(id, c.fetchNo)
}

// Stats returns the counts since New.
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

// Close cancels all fetches and forgets all values. Calls of Get, Read, Refresh, Recheck and
// Prefetch that are waiting, and later calls, return ErrClosed. Secrets that the cache has
// returned stay valid. Close returns nil, does not wait for the source, and may be called
// again.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel()
	c.index.clear()
	return nil
}

// closed reports whether Close was called. c.mu is held.
func (c *Cache) closed() bool { return c.ctx.Err() != nil }

// out returns the stored secret s as a caller gets it, after the hook. If err is not nil, it
// returns err.
func (c *Cache) out(s *Secret, err error) (*Secret, error) {
	if err != nil || c.o.Hook == nil {
		return s, err
	}
	return hooked(c.o.Hook.Get, s)
}

const forever = time.Duration(1<<63 - 1)

// await waits until done is closed, but not longer than d, and reports whether done was
// closed. If ctx ends or c is closed first, it returns ctx's error or ErrClosed.
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

// because adds to err the reason why the last attempt failed. A nil last adds nothing.
func because(err, last error) error {
	if last == nil {
		return err
	}
	return fmt.Errorf("%w; the last attempt failed: %w", err, last)
}

// Hits are counts on a cache line of their own: other hits are on other lines, and so are the
// fields before them in a Cache, which each Get reads.
type hits struct {
	_            [112]byte
	fresh, stale atomic.Uint64
}

// counter returns the hits that this goroutine counts in. Goroutines on other cores mostly
// use other hits, because the address of a variable on the goroutine's stack picks them.
func (c *Cache) counter() *hits {
	var x byte
	h := uint64(uintptr(unsafe.Pointer(&x))>>11) * 0x9E3779B97F4A7C15
	return &c.hits[h>>59]
}
