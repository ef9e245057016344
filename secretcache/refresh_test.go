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

func TestRefreshBringsTheNewVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.put("a", current, "v2")
		want(t, c, "a", "", "v1")
		took(t, 0, func() { wantRefresh(t, c, "a", "", v1, "v2") })
		want(t, c, "a", "", "v2")
		wantCalls(t, src, 2)

		// A later Refresh of v1 needs no fetch: v2 was fetched after v1.
		time.Sleep(time.Minute)
		wantRefresh(t, c, "a", "", v1, "v2")
		wantRefresh(t, c, arn("a"), "", v1, "v2")
		wantCalls(t, src, 2)

		// A Refresh starts the TTL again.
		time.Sleep(time.Hour/2 - 2*time.Minute)
		want(t, c, "a", "", "v2")
		wantCalls(t, src, 2)
	})
}

func TestRefreshIsNotSatisfiedByAnOlderFetch(t *testing.T) {
	for _, tt := range []struct {
		name     string
		rejected bool
	}{{"rejected", true}, {"nil", false}} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c := sourceOfV1(t, &secretcache.Options{TTL: time.Minute})
			var rejected *secretcache.Secret
			if s := want(t, c, "a", "", "v1"); tt.rejected {
				rejected = s
			}
			time.Sleep(time.Minute)
			src.delay(2 * second)
			want(t, c, "a", "", "v1") // starts a renewal, which brings v1
			synctest.Wait()
			src.put("a", current, "v2")
			took(t, 4*second, func() {
				together(100, func(int) { wantRefresh(t, c, "a", "", rejected, "v2") })
			})
			wantCalls(t, src, 3)
		})
	}
}

func TestRefreshOfNilAlwaysFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		for range 5 {
			took(t, 0, func() { wantRefresh(t, c, "a", "", nil, "v1") })
		}
		wantCalls(t, src, 5)
		for _, err := range []error{errDown, secretcache.ErrNoVersion} {
			src.fail(err)
			for range 3 { // no pause delays these
				wantRefreshErr(t, c, "a", nil, err)
			}
		}
		wantCalls(t, src, 11)
		// A fetch that began before the call is not enough. One later fetch is enough for all
		// callers.
		src.fail(nil)
		src.delay(second)
		go wantRefresh(t, c, "a", "", nil, "v1")
		synctest.Wait()
		src.put("a", current, "v2")
		took(t, 2*second, func() { together(100, func(int) { wantRefresh(t, c, "a", "", nil, "v2") }) })
		wantCalls(t, src, 13)
	})
}

func TestRefreshWaitsForAPauseThatEndsSoon(t *testing.T) {
	for _, tt := range []struct {
		name     string
		deadline time.Duration // 0 means none
		version  string
		took     time.Duration
		calls    int
	}{
		{"no deadline", 0, "v2", second, 3},
		{"long deadline", 2 * second, "v2", second, 3},
		{"short deadline", second / 2, "v1", 0, 2},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c, v1 := cacheOfV1(t, nil)
			wantRefresh(t, c, "a", "", v1, "v1")
			src.put("a", current, "v2")
			took(t, tt.took, func() {
				together(100, func(int) {
					s, err := c.Refresh(within(t, tt.deadline), "a", "", v1)
					if err != nil || s.VersionID() != tt.version {
						t.Errorf("Refresh() = %v, %v, want %q", s, err, tt.version)
					}
				})
			})
			wantCalls(t, src, tt.calls)
		})
	}
}

func TestRefreshThatWaitsForAPauseReturnsWhenCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, v1 := cacheOfV1(t, nil)
		wantRefresh(t, c, "a", "", v1, "v1")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(second/2, cancel)
		took(t, second/2, func() {
			if s, err := c.Refresh(ctx, "a", "", v1); !errors.Is(err, context.Canceled) || s != nil {
				t.Errorf("Refresh() = %v, %v, want the context's error", s, err)
			}
		})
	})
}

// impatient returns a context that ends before any pause ends.
func impatient(t *testing.T) context.Context { return within(t, time.Millisecond) }

func TestRefreshesThatFindNothingNewerBackOff(t *testing.T) {
	const step = 10 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		pauses := map[string]bool{}
		for range 5 {
			src, c := sourceOfV1(t, nil)
			v1 := wantRefresh(t, c, "a", "", nil, "v1")
			for src.count() < 11 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				if s, err := c.Refresh(ctx, "a", "", v1); err != nil || s != v1 {
					t.Fatalf("Refresh() = %v, %v, want the same", s, err)
				}
				cancel()
				time.Sleep(step)
			}
			pauses[fmt.Sprint(wantBackoff(t, src.times[1:], step))] = true

			// Another version ends the backoff.
			src.put("a", current, "v2")
			time.Sleep(longestPause)
			v2 := wantRefresh(t, c, "a", "", v1, "v2")
			took(t, 0, func() { wantRefresh(t, c, "a", "", v2, "v2") })
			src.put("a", current, "v3")
			took(t, second, func() { wantRefresh(t, c, "a", "", v2, "v3") })
		}
		if len(pauses) < 5 {
			t.Errorf("caches fetch together: %v", pauses)
		}
	})
}

func TestRefreshInALongPauseReturnsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		for range 6 {
			wantRefresh(t, c, "a", "", v1, "v1")
			time.Sleep(30 * second)
		}
		wantRefresh(t, c, "a", "", v1, "v1")
		src.put("a", current, "v2")
		before := src.count()
		took(t, 0, func() { wantRefresh(t, c, "a", "", v1, "v1") }) // the pause is long, so no wait
		wantCalls(t, src, before)
		// A Get that reads the new version ends the pause for all callers.
		c.Invalidate("a")
		want(t, c, "a", "", "v2")
		took(t, 0, func() { wantRefresh(t, c, "a", "", v1, "v2") })
		wantCalls(t, src, before+1)
	})
}

func TestRefreshAfterARollbackReturnsTheOlderVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.put("a", current, "v2")
		v2 := wantRefresh(t, c, "a", "", v1, "v2")
		src.put("a", current, "v1")
		again := wantRefresh(t, c, "a", "", v2, "v1")
		if again == v1 {
			t.Error("the version that came back counts as fetched before the other")
		}
		// The v1 of the first fetch is older than v2, so the cached v1 is no answer for it.
		wantCalls(t, src, 3)
		wantRefresh(t, c, "a", "", v1, "v1")
		wantCalls(t, src, 4)
		wantRefresh(t, c, "a", "", v2, "v1")
		wantCalls(t, src, 4)
	})
}

// The age of a secret that came from another cache, or from no cache, cannot be compared.
func TestRefreshOfASecretOfAnotherCacheFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		other := newCache(t, src, nil)
		foreign := map[string]*secretcache.Secret{
			"made":         secretcache.NewSecret(secretcache.Value{ID: "a", VersionID: "v1"}),
			"of a cache":   want(t, other, "a", "", "v1"),
			"of a younger": nil,
		}
		src.put("a", current, "v2")
		for range 5 {
			wantRefresh(t, other, "a", "", nil, "v2")
		}
		foreign["of a younger"] = want(t, other, "a", "", "v2")
		for name, rejected := range foreign {
			src.put("a", current, "v3")
			c := newCache(t, src, nil)
			for range 10 { // the numbers of this cache's fetches say nothing about the other cache
				wantRefresh(t, c, "a", "", nil, "v3")
			}
			src.put("a", current, "v4")
			before := src.count()
			if s, err := c.Refresh(t.Context(), "a", "", rejected); err != nil || s.VersionID() != "v4" {
				t.Errorf("%s: Refresh() = %v, %v, want v4", name, s, err)
			}
			wantCalls(t, src, before+1)
		}
		// A refresh that finds the same version backs off.
		made := secretcache.NewSecret(secretcache.Value{ID: "a", VersionID: "v4"})
		wantRefresh(t, other, "a", "", made, "v4")
		before := src.count()
		if s, err := other.Refresh(impatient(t), "a", "", made); err != nil || s.VersionID() != "v4" {
			t.Errorf("Refresh() = %v, %v, want v4", s, err)
		}
		wantCalls(t, src, before)
		if _, err := other.Refresh(impatient(t), "a", "", foreign["made"]); err != nil { // one that finds another version does not
			t.Error(err)
		}
		wantCalls(t, src, before+1)
	})
}

// A version that a fall-back stage had before the last refresh is not a new version.
func TestRefreshOfAnotherStageFetchesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.put("a", pending, "v2")
		wantRefresh(t, c, "a", "", v1, "v1")
		together(100, func(int) { wantRefresh(t, c, "a", pending, v1, "v2") })
		wantCalls(t, src, 3)

		time.Sleep(time.Hour / 4) // another rotation, while v1 is still current
		src.put("a", pending, "v3")
		wantRefresh(t, c, "a", "", v1, "v1")
		together(100, func(int) { wantRefresh(t, c, "a", pending, v1, "v3") })
		wantCalls(t, src, 5)
	})
}

func TestRefreshOfAStageWithoutVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		refresh := func(ctx context.Context, rejected *secretcache.Secret) {
			t.Helper()
			s, err := c.Refresh(ctx, "a", pending, rejected)
			if !errors.Is(err, secretcache.ErrNoVersion) || s != nil {
				t.Errorf("Refresh() = %v, %v, want ErrNoVersion", s, err)
			}
		}
		refresh(t.Context(), v1)
		refresh(impatient(t), v1) // the refresh found no version, so there is a pause
		wantCalls(t, src, 2)
		took(t, second, func() { refresh(t.Context(), v1) })
		wantCalls(t, src, 3)

		// The answer that there is no version is newer than a version that was cached before.
		src.put("a", pending, "v2")
		time.Sleep(time.Minute)
		v2 := wantRefresh(t, c, "a", pending, v1, "v2")
		src.change(func(f *fake) { delete(f.secrets["a"], pending) })
		refresh(t.Context(), v2)
		refresh(impatient(t), v1)
		refresh(impatient(t), v2)
		wantCalls(t, src, 5)
	})
}

func TestRefreshThatFailsKeepsTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.fail(errDown)
		refresh := func(ctx context.Context) {
			t.Helper()
			if s, err := c.Refresh(ctx, "a", "", v1); !errors.Is(err, errDown) || s != nil {
				t.Errorf("Refresh() = %v, %v, want %v", s, err, errDown)
			}
		}
		refresh(t.Context())
		wantCalls(t, src, 2)
		want(t, c, "a", "", "v1")
		refresh(impatient(t)) // in the pause
		wantCalls(t, src, 2)
		took(t, second, func() { refresh(t.Context()) }) // waits for a pause that ends soon
		wantCalls(t, src, 3)
		took(t, 0, func() { refresh(t.Context()) }) // does not wait for a longer pause
		wantCalls(t, src, 3)
		want(t, c, "a", "", "v1")
		src.fail(nil)
		src.put("a", current, "v2")
		time.Sleep(2 * second)
		wantRefresh(t, c, "a", "", v1, "v2")
		want(t, c, "a", "", "v2")
	})
}

// After a fetch that failed between two refreshes, its own pause counts, not the longer one.
func TestRefreshAfterAFailureDuringALongPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, &secretcache.Options{TTL: -1})
		for range 6 {
			time.Sleep(30 * second)
			wantRefresh(t, c, "a", "", v1, "v1")
		}
		src.fail(errDown)
		want(t, c, "a", "", "v1")
		src.fail(nil)
		src.put("a", current, "v2")
		took(t, second, func() { wantRefresh(t, c, "a", "", v1, "v2") })
	})
}

func TestRefreshThatJoinsAHungFetchStartsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		c := secretcache.New(src, &secretcache.Options{FetchTimeout: 2 * second, TTL: time.Minute})
		v1 := want(t, c, "a", "", "v1")
		time.Sleep(time.Minute)
		src.change(func(f *fake) { f.hang = true })
		want(t, c, "a", "", "v1")
		time.Sleep(second)
		src.change(func(f *fake) { f.hang = false })
		src.put("a", current, "v2")
		took(t, second, func() { together(100, func(int) { wantRefresh(t, c, "a", "", v1, "v2") }) })
		wantCalls(t, src, 3)
	})
}

func TestRefreshOfASecretThatIsNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.put("a", previous, "v0")
		wantRefresh(t, c, "a", "", nil, "v1")
		want(t, c, "a", "", "v1")
		wantRefresh(t, c, "a", previous, want(t, c, "a", "", "v1"), "v0")
		want(t, c, "a", previous, "v0")
		wantCalls(t, src, 2)
	})
}

func TestRefreshAfterInvalidateFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.put("a", current, "v2")
		wantRefresh(t, c, "a", "", v1, "v2")
		src.put("a", current, "v3")
		c.Invalidate("a")
		wantRefresh(t, c, "a", "", v1, "v3")
	})
}

// A secret that only Refresh fetched, for example of a fallback stage, evicts no other secret.
func TestRefreshTakesNoOtherSecretsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		src.put("b", current, "v1")
		c := secretcache.New(src, &secretcache.Options{MaxSize: 1})
		get := func(id string) (fetches int) {
			t.Helper()
			before := src.count()
			if _, err := c.Get(t.Context(), id, ""); err != nil {
				t.Fatal(err)
			}
			return src.count() - before
		}
		get("a")
		for range 3 {
			if _, err := c.Refresh(t.Context(), "b", "", nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := get("a"); n != 0 {
			t.Errorf("%d fetches of a secret that was cached, want none", n)
		}
		wantEntries(t, c, 1)
		get("b") // now a Get uses it
		if n := get("b"); n != 0 {
			t.Errorf("%d fetches of the secret that was used last, want none", n)
		}
	})
}
