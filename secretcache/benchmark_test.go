package secretcache_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// fresh is a source of secrets as Secrets Manager gives them, each in memory of
// its own.
var fresh = secretcache.SourceFunc(func(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	own := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	return secretcache.NewSecret(secretcache.Value{
		ID:        id,
		ARN:       own("arn:aws:secretsmanager:eu-central-1:123456789012:secret:%s-a1b2c3", id),
		Name:      own("%s", id),
		VersionID: own("%s", "0f5f2e2c-3c1c-4d51-9f5a-0b6b7e1d9a55"),
		Stages:    []string{own("%s", stage)},
		CreatedAt: time.Now(),
		String: own(`{"engine":"postgres","host":"db.cluster-abcdefghijkl.eu-central-1.rds.amazonaws.com",`+
			`"port":5432,"username":"app","password":"%022x"}`, len(id)),
	}), nil
})

func names(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("prod/service-%05d/database", i)
	}
	return ids
}

func filled(tb testing.TB, ids []string) *secretcache.Cache {
	tb.Helper()
	c := secretcache.New(fresh, &secretcache.Options{MaxSize: len(ids)})
	tb.Cleanup(func() { _ = c.Close() })
	if err := c.Prefetch(tb.Context(), ids...); err != nil {
		tb.Fatal(err)
	}
	return c
}

// A cowMap is the least that a cache of secrets can be: a map that is copied at each
// write, and expiry by one time.Now.
type cowMap struct {
	entries atomic.Pointer[map[string]cowEntry]
}

type cowEntry struct {
	secret  *secretcache.Secret
	expires time.Time
}

func (m *cowMap) Get(_ context.Context, id, _ string) (*secretcache.Secret, error) {
	if e, ok := (*m.entries.Load())[id]; ok && time.Now().Before(e.expires) {
		return e.secret, nil
	}
	return nil, errDown
}

// BenchmarkGetHit compares a hit with a copy-on-write map, in turns. It is to run with
// -cpu 1,2: two cores do twice the work.
func BenchmarkGetHit(b *testing.B) {
	for _, n := range []int{1, 1000} {
		ids := names(n)
		c := filled(b, ids)
		entries := map[string]cowEntry{}
		for _, id := range ids {
			s, err := c.Get(b.Context(), id, "")
			if err != nil {
				b.Fatal(err)
			}
			entries[id] = cowEntry{s, time.Now().Add(time.Hour)}
		}
		m := &cowMap{}
		m.entries.Store(&entries)
		for _, bm := range []struct {
			name string
			get  func(context.Context, string, string) (*secretcache.Secret, error)
		}{{"cache", c.Get}, {"map", m.Get}} {
			b.Run(fmt.Sprintf("keys=%d/%s", n, bm.name), func(b *testing.B) {
				b.ReportAllocs()
				ctx := b.Context()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); {
						if _, err := bm.get(ctx, ids[i], ""); err != nil {
							b.Error(err)
							return
						}
						if i++; i == n {
							i = 0
						}
					}
				})
			})
		}
	}
}

// BenchmarkMemoryPerSecret reports all the memory that a secret in the cache
// takes, of which its value is 150 bytes.
func BenchmarkMemoryPerSecret(b *testing.B) {
	const n = 10_000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var perSecret float64
	for b.Loop() {
		before := heap()
		c := secretcache.New(fresh, &secretcache.Options{MaxSize: n})
		for i := range n {
			if _, err := c.Get(b.Context(), fmt.Sprintf("prod/service-%05d/database", i), ""); err != nil {
				b.Fatal(err)
			}
		}
		perSecret = (float64(heap()) - float64(before)) / n
		if got := c.Stats().Entries; got != n {
			b.Fatalf("%d entries, want %d", got, n)
		}
		_ = c.Close()
	}
	b.ReportMetric(perSecret, "B/secret")
	b.ReportMetric(0, "ns/op")
}

func TestHitAllocatesNothing(t *testing.T) {
	ids := names(10)
	c := filled(t, ids)
	for _, id := range append(ids, "arn:aws:secretsmanager:eu-central-1:123456789012:secret:"+ids[0]+"-a1b2c3") {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := c.Get(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("a hit on %q allocates %v times, want 0", id, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Read(t.Context(), ids[0], "") }); n != 0 {
		t.Errorf("a hit of Read allocates %v times, want 0", n)
	}
	if _, err := c.Get(t.Context(), ids[0], "AWSPREVIOUS"); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Get(t.Context(), ids[0], "AWSPREVIOUS") }); n != 0 {
		t.Errorf("a hit on another stage allocates %v times, want 0", n)
	}
}
