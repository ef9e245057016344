package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/maypok86/otter/v2"
	"github.com/maypok86/otter/v2/stats"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awscaching"
)

// The caches that are compared.
const (
	ours       = "sqlsecrets"
	cowName    = "copy-on-write map"
	otterName  = "otter (same promises)"
	expiryName = "otter (expiry only)"
	lruName    = "golang-lru expirable"
	dropInName = "awscaching (sqlsecrets)"
	awsName    = "AWS's caching client"
)

// A peer is a cache as a program uses it.
type peer struct {
	name string
	get  func(ctx context.Context, id string) error
	// hits returns an operation that gets cached secrets.
	hits func(ids []string) func(n int)
	// invalidate makes the next get fetch the secret. Nil means that the cache has no such call.
	invalidate func(id string)
	// drop frees the memory.
	drop func()
}

func newPeer[V any](name string, get func(ctx context.Context, id, stage string) (V, error)) *peer {
	return &peer{
		name: name,
		get: func(ctx context.Context, id string) error {
			_, err := get(ctx, id, "")
			return err
		},
		hits: func(ids []string) func(n int) { return loop(ids, get) },
		drop: func() {},
	}
}

// loop gets the secrets one after the other, beginning with a random one.
func loop[V any](ids []string, get func(ctx context.Context, id, stage string) (V, error)) func(n int) {
	ctx := context.Background()
	return func(n int) {
		at := rand.IntN(len(ids))
		for range n {
			if _, err := get(ctx, ids[at], ""); err != nil {
				panic(err)
			}
			if at++; at == len(ids) {
				at = 0
			}
		}
	}
}

// fill gets secrets for the first time.
func (p *peer) fill(ids ...string) error {
	for _, id := range ids {
		if err := p.get(context.Background(), id); err != nil {
			return err
		}
	}
	return nil
}

// newOurs is the cache of this library.
func newOurs(b *backend, size int, ttl time.Duration) *peer {
	c := secretcache.New(b, &secretcache.Options{MaxSize: size, TTL: ttl, FetchTimeout: time.Minute})
	p := newPeer(ours, c.Get)
	p.invalidate = c.Invalidate
	p.drop = func() { _ = c.Close() }
	return p
}

// newAWS is AWS's caching client.
func newAWS(b *backend, size int, ttl time.Duration) *peer {
	c, err := awscache.New(func(c *awscache.Cache) {
		c.Client, c.MaxCacheSize, c.CacheItemTTL = api{backend: b}, size, int64(ttl)
	})
	if err != nil {
		panic(err) // only the SDK's configuration can fail, and it is not loaded
	}
	return newPeer(awsName, c.GetSecretStringWithStageWithContext)
}

// newDropIn is the cache of this library behind the API of AWS's client.
func newDropIn(b *backend, size int, ttl time.Duration) *peer {
	c, err := awscaching.New(func(c *awscaching.Cache) {
		c.Client, c.MaxCacheSize, c.CacheItemTTL = api{backend: b}, size, int64(ttl)
	})
	if err != nil {
		panic(err) // as above
	}
	return newPeer(dropInName, c.GetSecretStringWithStageWithContext)
}

// An otterCache loads secrets as a program would that uses otter in place of this library.
type otterCache struct {
	*otter.Cache[string, *secretcache.Secret]
	loader otter.Loader[string, *secretcache.Secret]
}

func (c *otterCache) get(ctx context.Context, id, _ string) (*secretcache.Secret, error) {
	return c.Get(ctx, id, c.loader)
}

// newOtter is otter with as many of this library's promises as otter can keep: one load for all
// callers, a bounded number of secrets, a renewal in the background, and counts. A secret is
// renewed at ttl, and served until a day later.
func newOtter(b *backend, size int, ttl time.Duration) *peer {
	return otterPeer(otterName, b, &otter.Options[string, *secretcache.Secret]{MaximumSize: size,
		ExpiryCalculator:  otter.ExpiryWriting[string, *secretcache.Secret](ttl + secretcache.DefaultMaxStale),
		RefreshCalculator: otter.RefreshWriting[string, *secretcache.Secret](ttl),
		StatsRecorder:     stats.NewCounter()})
}

// newOtterExpiry is otter with a TTL only.
func newOtterExpiry(b *backend, size int, ttl time.Duration) *peer {
	return otterPeer(expiryName, b, &otter.Options[string, *secretcache.Secret]{MaximumSize: size,
		ExpiryCalculator: otter.ExpiryWriting[string, *secretcache.Secret](ttl)})
}

func otterPeer(name string, b *backend, o *otter.Options[string, *secretcache.Secret]) *peer {
	c := &otterCache{Cache: otter.Must(o), loader: otter.LoaderFunc[string, *secretcache.Secret](func(ctx context.Context, id string) (*secretcache.Secret, error) {
		return b.Fetch(ctx, id, secretcache.StageCurrent)
	})}
	p := newPeer(name, c.get)
	p.invalidate = func(id string) { c.Invalidate(id) }
	p.drop = func() {
		c.StopAllGoroutines()
		c.InvalidateAll()
	}
	return p
}

// An lruCache is golang-lru with the fetch that a program writes around it.
type lruCache struct {
	*expirable.LRU[string, *secretcache.Secret]
	b *backend
}

func (c *lruCache) get(ctx context.Context, id, _ string) (*secretcache.Secret, error) {
	if s, ok := c.Get(id); ok {
		return s, nil
	}
	s, err := c.b.Fetch(ctx, id, secretcache.StageCurrent)
	if err == nil {
		c.Add(id, s)
	}
	return s, err
}

func newLRU(b *backend, size int, ttl time.Duration) *peer {
	c := &lruCache{expirable.NewLRU[string, *secretcache.Secret](size, nil, ttl), b}
	p := newPeer(lruName, c.get)
	p.invalidate = func(id string) { c.Remove(id) }
	p.drop = c.Purge // its goroutine never ends
	return p
}

// A cowMap is the least that a cache of secrets can be: a map that is copied at each write, and
// expiry by one time.Now.
type cowMap struct {
	entries atomic.Pointer[map[string]cowEntry]
}

type cowEntry struct {
	secret  *secretcache.Secret
	expires time.Time
}

var errMissing = errors.New("not in the map")

func (m *cowMap) get(_ context.Context, id, _ string) (*secretcache.Secret, error) {
	if e, ok := (*m.entries.Load())[id]; ok && time.Now().Before(e.expires) {
		return e.secret, nil
	}
	return nil, errMissing
}

// newMap is a copy-on-write map with these secrets. It fetches none.
func newMap(b *backend, ids []string, ttl time.Duration) (*peer, error) {
	entries := map[string]cowEntry{}
	for _, id := range ids {
		s, err := b.Fetch(context.Background(), id, secretcache.StageCurrent)
		if err != nil {
			return nil, err
		}
		entries[id] = cowEntry{s, time.Now().Add(ttl)}
	}
	m := &cowMap{}
	m.entries.Store(&entries)
	return newPeer(cowName, m.get), nil
}
