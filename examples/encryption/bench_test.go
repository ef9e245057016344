package main

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// each runs a benchmark without the hook and with it.
func each(b *testing.B, bench func(b *testing.B, cache *secretcache.Cache)) {
	for _, way := range []struct {
		name string
		hook secretcache.Hook
	}{{"plain", nil}, {"encrypted", newTestSealer(b)}} {
		b.Run(way.name, func(b *testing.B) {
			cache := secretcache.New(secretcache.SourceFunc(fetch), &secretcache.Options{Hook: way.hook})
			defer cache.Close()
			if _, err := cache.Get(b.Context(), ids[0], ""); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			bench(b, cache)
		})
	}
}

// BenchmarkHit measures a Get of a secret that is in the cache.
func BenchmarkHit(b *testing.B) {
	each(b, func(b *testing.B, cache *secretcache.Cache) {
		ctx := b.Context()
		for b.Loop() {
			if _, err := cache.Get(ctx, ids[0], ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkConnect measures a Connect call of an engine whose logins do nothing.
func BenchmarkConnect(b *testing.B) {
	each(b, func(b *testing.B, cache *secretcache.Cache) {
		c, err := driver.NewConnector(engine{}, ids[0], &driver.Options{Secrets: cache})
		if err != nil {
			b.Fatal(err)
		}
		ctx := b.Context()
		for b.Loop() {
			if _, err := c.Connect(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPut measures what the hook adds to a fetch.
func BenchmarkPut(b *testing.B) {
	h := newTestSealer(b)
	s, err := fetch(b.Context(), ids[0], "AWSCURRENT")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Put(s); err != nil {
			b.Fatal(err)
		}
	}
}
