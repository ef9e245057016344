package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An agent is a source with a cache of its own. That cache never drops a secret.
type agent struct {
	*fake
	unsupported bool // it cannot bypass its cache
	kept        map[call]*secretcache.Secret
	fresh       int // how often FetchFresh was called
}

func newAgent(t *testing.T) *agent {
	return &agent{fake: newFake(t), kept: map[call]*secretcache.Secret{}}
}

func (a *agent) Fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	if s := a.kept[call{id, stage}]; s != nil {
		return s, nil
	}
	return a.fetch(ctx, id, stage)
}

func (a *agent) FetchFresh(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	a.fresh++
	if a.unsupported {
		return nil, errors.ErrUnsupported
	}
	return a.fetch(ctx, id, stage)
}

func (a *agent) fetch(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	s, err := a.fake.Fetch(ctx, id, stage)
	if err == nil {
		a.kept[call{id, stage}] = s
	}
	return s, err
}

var _ secretcache.FreshSource = (*agent)(nil)

// A call that has a reason to expect a newer version bypasses the source's own cache. Other calls
// do not.
func TestFreshSource(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fresh bool
		get   func(t *testing.T, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error)
	}{
		{"Get at the TTL", false, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) (*secretcache.Secret, error) {
			time.Sleep(3 * time.Hour) // the secret is so old that a Get waits for its renewal
			return c.Get(t.Context(), "a", "")
		}},
		{"Refresh", true, func(t *testing.T, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error) {
			return c.Refresh(t.Context(), "a", "", v1)
		}},
		{"Refresh of nothing", true, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) (*secretcache.Secret, error) {
			return c.Refresh(t.Context(), "a", "", nil)
		}},
		{"Recheck", true, func(t *testing.T, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error) {
			time.Sleep(10 * time.Minute)
			return c.Recheck(t.Context(), "a", "", v1)
		}},
		{"Recheck after Invalidate", true, func(t *testing.T, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error) {
			c.Invalidate("a")
			return c.Recheck(t.Context(), "a", "", v1)
		}},
		{"Get after Invalidate", true, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) (*secretcache.Secret, error) {
			c.Invalidate("a")
			return c.Get(t.Context(), "a", "")
		}},
		{"Prefetch after Invalidate", true, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) (*secretcache.Secret, error) {
			c.Invalidate("a")
			if err := c.Prefetch(t.Context(), "a"); err != nil {
				return nil, err
			}
			return c.Get(t.Context(), "a", "")
		}},
	} {
		for _, unsupported := range []bool{false, true} {
			name := tt.name
			if unsupported {
				name += ", where there is no way past"
			}
			inBubble(t, name, func(t *testing.T) {
				src := newAgent(t)
				src.unsupported = unsupported
				src.put("a", current, "v1")
				c := newCache(t, src, nil)
				v1 := want(t, c, "a", "", "v1")
				if src.fresh != 0 {
					t.Errorf("the first Get called FetchFresh")
				}
				src.put("a", current, "v2")
				version := "v1"
				if tt.fresh && !unsupported {
					version = "v2"
				}
				s, err := tt.get(t, c, v1)
				if err != nil || s.VersionID() != version {
					t.Errorf("got %v, %v, want version %q", s, err, version)
				}
				if got := src.fresh > 0; got != tt.fresh {
					t.Errorf("FetchFresh was called: %v, want %v", got, tt.fresh)
				}
			})
		}
	}
}

// After the fetch that Invalidate asked for, renewals may come from the source's cache again.
func TestInvalidateIsOverAfterAFreshFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newAgent(t)
		src.put("a", current, "v1")
		c := newCache(t, src, nil)
		want(t, c, "a", "", "v1")
		c.Invalidate("a")
		want(t, c, "a", "", "v1")
		time.Sleep(3 * time.Hour)
		want(t, c, "a", "", "v1")
		if src.fresh != 1 {
			t.Errorf("FetchFresh was called %d times, want 1", src.fresh)
		}
	})
}

// A stage moves back to an older version. Both passwords work.
func TestRollBackIsSeen(t *testing.T) {
	created := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	put := func(f *fake, version string, age time.Duration) {
		f.set("a", current, secretcache.Value{ARN: arn("a"), VersionID: version, CreatedAt: created.Add(-age)})
	}
	for _, tt := range []struct {
		name   string
		source func(*agent) secretcache.Source
		within time.Duration // the rollback is seen within this time, with one Get a second
	}{
		{"bypassing the source's cache", func(a *agent) secretcache.Source { return a }, 2 * time.Minute},
		{"in a chain, bypassing a cache", func(a *agent) secretcache.Source { return secretcache.Chain(a, a.fake) }, 2 * time.Minute},
		{"in a chain without caches", func(a *agent) secretcache.Source { return secretcache.Chain(a.fake, a.fake) }, 2 * time.Minute},
		{"the source cannot bypass its cache", func(a *agent) secretcache.Source { a.unsupported = true; return a }, 8 * time.Minute},
		{"in a chain of a source that cannot bypass its cache", func(a *agent) secretcache.Source { a.unsupported = true; return secretcache.Chain(a) }, 8 * time.Minute},
		{"in a chain after a source that cannot bypass its cache", func(a *agent) secretcache.Source {
			a.unsupported = true
			return secretcache.Chain(a, a.fake)
		}, 2 * time.Minute},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src := newAgent(t)
			put(src.fake, "v2", 0)
			c := newCache(t, tt.source(src), &secretcache.Options{TTL: time.Minute})
			want(t, c, "a", "", "v2")
			put(src.fake, "v1", time.Hour)
			clear(src.kept) // the source's cache expires
			start := time.Now()
			for {
				s, err := c.Get(t.Context(), "a", "")
				if err != nil {
					t.Fatal(err)
				}
				if s.VersionID() == "v1" {
					break
				}
				if time.Since(start) > tt.within {
					t.Fatalf("Get() = %v after %v", s, time.Since(start))
				}
				time.Sleep(second)
			}
			if d := time.Since(start); tt.within > 5*time.Minute && d < 5*time.Minute {
				t.Errorf("an older version from a cache was taken after %v", d)
			}
			for range 120 {
				want(t, c, "a", "", "v1")
				time.Sleep(second)
			}
		})
	}
}

// The source's cache has an older version than a fetch that bypassed it.
func TestOlderVersionFromASourcesCacheIsNotTaken(t *testing.T) {
	created := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, unsupported := range []bool{false, true} {
		inBubble(t, fmt.Sprintf("no way past=%v", unsupported), func(t *testing.T) {
			src := newAgent(t)
			old := secretcache.Value{ARN: arn("a"), VersionID: "v1", CreatedAt: created}
			src.set("a", current, secretcache.Value{ARN: arn("a"), VersionID: "v2", CreatedAt: created.Add(time.Hour)})
			c := newCache(t, src, &secretcache.Options{TTL: time.Minute})
			want(t, c, "a", "", "v2")
			src.unsupported = unsupported
			fetches := 0
			for i := range 20 {
				if i%2 == 0 || !unsupported {
					src.kept[call{"a", current}] = secretcache.NewSecret(old)
					fetches++
				} else {
					delete(src.kept, call{"a", current}) // it catches up from time to time
				}
				time.Sleep(time.Minute)
				want(t, c, "a", "", "v2")
				synctest.Wait()
				want(t, c, "a", "", "v2")
			}
			if src.fresh != fetches {
				t.Errorf("FetchFresh was called %d times, want %d: once for each older answer", src.fresh, fetches)
			}
		})
	}
}

// staleAgent returns a source that cannot bypass its cache and has gone back from v2 to the older
// v1, and a cache that has fetched v2.
func staleAgent(t *testing.T) (src *agent, c *secretcache.Cache, v2 *secretcache.Secret) {
	created := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	src = newAgent(t)
	src.unsupported = true
	src.set("a", current, secretcache.Value{ARN: arn("a"), VersionID: "v2", CreatedAt: created.Add(time.Hour)})
	c = newCache(t, src, nil)
	v2 = want(t, c, "a", "", "v2")
	src.set("a", current, secretcache.Value{ARN: arn("a"), VersionID: "v1", CreatedAt: created})
	clear(src.kept)
	return src, c, v2
}

// If the database rejected the cached version, an older version of the source is taken.
func TestOlderVersionIsTakenAfterARejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, v2 := staleAgent(t)
		wantRefresh(t, c, "a", "", nil, "v2") // no caller rejected v2
		wantRefresh(t, c, "a", "", v2, "v1")
		want(t, c, "a", "", "v1")
	})
}

// The next Refresh may name no rejected version.
func TestRejectionCountsEvenIfItsRefreshFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v2 := staleAgent(t)
		src.fail(errDown)
		wantRefreshErr(t, c, "a", v2, errDown)
		src.fail(nil)
		wantRefresh(t, c, "a", "", nil, "v1")
		want(t, c, "a", "", "v1")
	})
}
