package secretcache_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A database rejects a password, and the program calls Refresh again and again.
func TestEvictionKeepsThePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		src.put("a", pending, "v0")
		src.put("other", current, "o1")
		hook := &vault{}
		c := newCache(t, src, &secretcache.Options{MaxSize: 1, Hook: hook})
		v1 := want(t, c, "a", "", "v1")
		v0 := want(t, c, "a", pending, "v0")
		start := time.Now()
		for time.Since(start) < 5*time.Minute {
			if got := wantRefresh(t, c, "a", "", v1, "v1"); got.Reveal() != "value of v1" {
				t.Fatalf("the value is %q", got.Reveal())
			}
			wantRefresh(t, c, "a", pending, v0, "v0")
			time.Sleep(100 * time.Millisecond)
		}
		// The pauses of each stage are at most 1, 2, 4, 8, 16, 32, 55, 55 … s.
		if n := src.count() - 2; n > 2*20 {
			t.Errorf("%d fetches in 5 minutes of rejections, want the pauses of both stages kept", n)
		}
	})
}

func TestEvictionKeepsTheFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, &secretcache.Options{MaxSize: 1})
		src.put("b", current, "b1")
		src.fail(errDown)
		_, _ = c.Refresh(t.Context(), "a", "", v1)
		src.fail(nil)
		want(t, c, "b", "", "b1")
		wantErr(t, c, "a", "", errDown)
		wantErr(t, c, arn("a"), "", errDown) // the same secret
		wantCalls(t, src, 3)
	})
}

func TestPausesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		c := newCache(t, src, &secretcache.Options{MaxSize: 1})
		before := heap()
		for i := range 20_000 {
			wantErr(t, c, strings.Repeat("x", 100)+fmt.Sprint(i), "", secretcache.ErrNotFound)
		}
		src.change(func(f *fake) { f.calls, f.times = slices.Clone(f.calls[:1]), nil })
		if grown := heap() - before; grown > 1<<20 {
			t.Errorf("20,000 ids that fail keep %d kB", grown>>10)
		}
	})
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// When the cache knows that a name and an ARN are one secret, it makes one fetch of it at a time.
func TestNameAndARNAreOneFetchOnceKnown(t *testing.T) {
	for _, tt := range []struct {
		name  string
		learn func(t *testing.T, c *secretcache.Cache, src *fake)
		stage string
		calls int // fetches for all callers together
	}{
		{"by one stage for another", func(t *testing.T, c *secretcache.Cache, _ *fake) { want(t, c, "a", "", "v1") }, previous, 1},
		{"by one stage, when the other is cached by its ARN", func(t *testing.T, c *secretcache.Cache, _ *fake) {
			want(t, c, "a", "", "v1")
			want(t, c, arn("a"), previous, "v0")
		}, previous, 0},
		{"by a fetch that lands while the other's is under way", func(t *testing.T, c *secretcache.Cache, src *fake) {
			src.delay(time.Minute)
			go func() { _, _ = c.Get(t.Context(), arn("a"), previous) }()
			synctest.Wait()
			src.delay(second)
			want(t, c, "a", previous, "v0")
			c.Invalidate("a")
		}, previous, 1}, // the callers wait for the hung fetch, and then start one more
		{"by a fetch, and StopOn took the value", func(t *testing.T, c *secretcache.Cache, src *fake) {
			v0 := want(t, c, "a", previous, "v0")
			src.fail(errDown)
			_, _ = c.Refresh(t.Context(), "a", previous, v0)
			src.fail(nil)
			time.Sleep(time.Minute)
		}, previous, 1},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src := newFake(t)
			src.put("a", current, "v1")
			src.put("a", previous, "v0")
			busy, most := 0, 0
			c := newCache(t, src, &secretcache.Options{
				FetchTimeout: time.Hour, StopOn: func(error) bool { return true },
				Trace: &secretcache.Trace{
					FetchStart: func(context.Context, secretcache.FetchInfo) { busy++; most = max(most, busy) },
					FetchDone:  func(context.Context, secretcache.FetchInfo) { busy-- },
				},
			})
			tt.learn(t, c, src)
			synctest.Wait()
			most, src.wait = busy, second
			before := src.count()
			together(100, func(i int) { want(t, c, []string{"a", arn("a")}[i%2], tt.stage, "v0") })
			wantCalls(t, src, before+tt.calls)
			if most > 1 {
				t.Errorf("%d fetches at once", most)
			}
		})
	}
}

// Nothing under the lock takes longer with more secrets. If a miss or an Invalidate went through
// all secrets, these tests would take minutes.
func TestCostDoesNotGrowWithSecrets(t *testing.T) {
	const secrets, n = 40_000, 4000
	ids := names(secrets)
	c := filled(t, ids)
	for name, call := range map[string]func() error{
		"misses": func() error {
			for i := range n {
				if _, err := c.Get(t.Context(), fmt.Sprint("more", i), ""); err != nil {
					return err
				}
			}
			return nil
		},
		"Invalidate": func() error {
			for i := range n {
				c.Invalidate(fmt.Sprint("unknown", i))
				c.Invalidate(ids[i])
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if err := call(); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 6*time.Second {
				t.Errorf("%d with %d secrets took %v", n, secrets, d)
			}
			if got := c.Stats().Entries; got != secrets {
				t.Errorf("%d entries, want %d", got, secrets)
			}
		})
	}
}

func TestPrefetchBeyondMaxSizeCostsTheSame(t *testing.T) {
	ids := names(30_000)
	prefetch := func(size int) time.Duration {
		c := secretcache.New(fresh, &secretcache.Options{MaxSize: size})
		defer c.Close()
		start := time.Now()
		if err := c.Prefetch(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		if got := c.Stats().Entries; got != size {
			t.Errorf("%d entries, want %d", got, size)
		}
		return time.Since(start)
	}
	all, few := prefetch(len(ids)), prefetch(1000)
	if few > 8*all {
		t.Errorf("it took %v, and %v in a cache that keeps all", few, all)
	}
}

func TestInvalidateDuringHungFetchesKeepsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.change(func(f *fake) { f.hang = true })
		c := newCache(t, src, &secretcache.Options{MaxFetches: 100, FetchTimeout: time.Hour})
		for i := range 100 {
			go func() { _, _ = c.Get(t.Context(), fmt.Sprint("hung", i), "") }()
		}
		synctest.Wait()
		before := heap()
		for i := range 20_000 {
			c.Invalidate(fmt.Sprint("id", i))
		}
		if grown := heap() - before; grown > 1<<20 {
			t.Errorf("20,000 Invalidates keep %d kB", grown>>10)
		}
	})
}

// After many calls of Invalidate, all fetches under way count as outdated.
func TestInvalidateOfManyOutdatesFetchesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.delay(2 * second)
		go func() { _, _ = c.Get(t.Context(), arn("a"), "") }()
		synctest.Wait()
		src.put("a", current, "v2")
		c.Invalidate("a")
		for i := range 5000 {
			c.Invalidate(fmt.Sprint("id", i))
		}
		took(t, 4*second, func() { want(t, c, arn("a"), "", "v2") })
	})
}

func TestInvalidateFindsASecretByItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		partial := strings.TrimSuffix(arn("a"), "-a1b2c3")
		want(t, c, partial, "", "v1") // no caller has used its name as an id yet
		src.put("a", current, "v2")
		c.Invalidate("a")
		want(t, c, partial, "", "v2")
		want(t, c, "a", "", "v2") // now a caller has
		src.put("a", current, "v3")
		c.Invalidate("a")
		want(t, c, arn("a"), "", "v3")
	})
}

// In a cache with many secrets, secrets that are used stay.
func TestUsedSecretsStayAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := names(3000)
		calls := map[string]int{}
		c := newCache(t, secretcache.SourceFunc(func(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
			calls[id]++
			return fresh(ctx, id, stage)
		}), &secretcache.Options{MaxSize: 1000})
		for i, id := range ids {
			if _, err := c.Get(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
			for _, used := range ids[:min(i, 200)] {
				if i%10 == 0 {
					if _, err := c.Get(t.Context(), used, ""); err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, id := range ids[:200] {
			if calls[id] != 1 {
				t.Errorf("%q was fetched %d times, want once: it is in use", id, calls[id])
			}
		}
	})
}
