package secretcache_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// An agent is a source with a cache of its own, which keeps what it has fetched for
// good.
type agent struct {
	*fake
	unsupported bool // its cache cannot be passed
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

// TestFreshSource: what knows of a newer version looks past the source's own cache,
// and what does not know of one does not.
func TestFreshSource(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fresh bool
		get   func(t *testing.T, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error)
	}{
		{"Get at the TTL", false, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) (*secretcache.Secret, error) {
			time.Sleep(3 * time.Hour) // a Get waits for the renewal of what is so old
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
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
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
			})
		}
	}
}

// TestInvalidateIsOverAfterAFreshFetch: the next renewal may come from the source's cache.
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
