package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// wantRecheck calls Recheck and checks the version.
func wantRecheck(t *testing.T, c *secretcache.Cache, id, stage string, used *secretcache.Secret, version string) *secretcache.Secret {
	t.Helper()
	s, err := c.Recheck(t.Context(), id, stage, used)
	if err != nil {
		t.Errorf("Recheck(%q, %q, %v): %v, want version %q", id, stage, used, err, version)
	} else if s.VersionID() != version {
		t.Errorf("Recheck(%q, %q, %v) = version %q, want %q", id, stage, used, s.VersionID(), version)
	}
	return s
}

// wantRecheckErr calls Recheck and checks that it returns target.
func wantRecheckErr(t *testing.T, c *secretcache.Cache, id string, used *secretcache.Secret, target error) {
	t.Helper()
	if s, err := c.Recheck(t.Context(), id, "", used); !errors.Is(err, target) || s != nil {
		t.Errorf("Recheck(%q, %v) = %v, %v, want %v", id, used, s, err, target)
	}
}

// longest is how long after a Recheck's fetch began the next one may be due.
const longest = 7*time.Minute + 30*second

func TestRecheckFetchesWhatIsOverAMinuteOld(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute / 2, -1} {
		inBubble(t, fmt.Sprintf("TTL=%v", ttl), func(t *testing.T) {
			src, c, v1 := cacheOfV1(t, &secretcache.Options{TTL: ttl})
			src.put("a", current, "v2")
			if got := wantRecheck(t, c, "a", "", v1, "v1"); got != v1 {
				t.Error("the cached copy is another object")
			}
			time.Sleep(time.Minute)
			wantRecheck(t, c, "a", "", v1, "v1")
			wantCalls(t, src, 1)
			time.Sleep(time.Nanosecond)
			wantRecheck(t, c, arn("a"), "", v1, "v2")
			wantRecheck(t, c, "a", "", v1, "v2")
			wantCalls(t, src, 2)
		})
	}
}

func TestRecheckThatFindsNoneRenewsTheAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		time.Sleep(29 * time.Minute)
		if got := wantRecheck(t, c, "a", "", v1, "v1"); got != v1 {
			t.Error("the same version is another object")
		}
		wantCalls(t, src, 2)
		time.Sleep(29 * time.Minute) // over TTL/2 since the first fetch, and under since the second: a hit
		want(t, c, "a", "", "v1")
		wantCalls(t, src, 2)
		if hits := c.Stats().Hits; hits != 1 {
			t.Errorf("%d hits, want 1", hits)
		}
	})
}

// A look for where the database is does not put off one for a new password.
func TestRecheckDoesNotDelayRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, nil)
		wantRecheck(t, c, "a", "", v1, "v1")
		src.put("a", current, "v2")
		took(t, 0, func() { wantRefresh(t, c, "a", "", v1, "v2") })
	})
}

func TestRecheckReturnsWhatSomebodyElseFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.put("a", current, "v2")
		v2 := wantRefresh(t, c, "a", "", v1, "v2")
		src.put("a", current, "v1")
		time.Sleep(2 * time.Minute)
		wantRecheck(t, c, "a", "", v1, "v2")
		wantCalls(t, src, 2)
		// Of v2 it is no news.
		again := wantRecheck(t, c, "a", "", v2, "v1")
		wantCalls(t, src, 3)
		// A version that came back is another one than v2, but the same as it was before.
		time.Sleep(longest)
		wantRecheck(t, c, "a", "", v2, "v1")
		wantCalls(t, src, 3)
		wantRecheck(t, c, "a", "", v1, "v1")
		wantCalls(t, src, 4)
		time.Sleep(longest)
		wantRecheck(t, c, "a", "", again, "v1")
		wantCalls(t, src, 5)
	})
}

// A secret that no cache fetched, or another one, cannot be compared in age.
func TestRecheckOfAForeignSecretFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		for name, used := range map[string]*secretcache.Secret{
			"none":       nil,
			"made":       secretcache.NewSecret(secretcache.Value{ID: "a", VersionID: "v0"}),
			"of a cache": wantRefresh(t, newCache(t, src, nil), "a", "", nil, "v1"),
		} {
			src.put("a", current, "v2")
			c := newCache(t, src, nil)
			for range 3 { // its count of fetches says nothing of the other's
				wantRefresh(t, c, "a", "", nil, "v2")
			}
			time.Sleep(2 * time.Minute)
			src.put("a", current, "v3")
			if s, err := c.Recheck(t.Context(), "a", "", used); err != nil || s.VersionID() != "v3" {
				t.Errorf("%s: Recheck() = %v, %v, want v3", name, s, err)
			}
		}
	})
}

// All that call together, or while the fetch is under way, share one fetch.
func TestRefreshAndRecheckTogetherAreOneCall(t *testing.T) { // design rule 4
	for _, method := range []struct {
		name string
		call func(c *secretcache.Cache, ctx context.Context, id, stage string, v1 *secretcache.Secret) (*secretcache.Secret, error)
	}{{"Refresh", (*secretcache.Cache).Refresh}, {"Recheck", (*secretcache.Cache).Recheck}} {
		for _, tt := range []struct {
			name    string
			delay   time.Duration // of the fetch
			err     error
			callers int
			apart   time.Duration // from one caller to the next
		}{
			{"at once", 0, nil, 200, 0},
			{"slow", second, nil, 200, 0},
			{"slow failure", second, errDown, 200, 0},
			{"during the fetch", 10 * second, nil, 9, second},
		} {
			if tt.err != nil && method.name == "Refresh" {
				continue // which does not believe a failure of a fetch that began before it
			}
			inBubble(t, method.name+" "+tt.name, func(t *testing.T) {
				src, c, v1 := cacheOfOldV1(t, nil)
				src.put("a", current, "v2")
				src.delay(tt.delay)
				src.fail(tt.err)
				took(t, tt.delay, func() {
					together(tt.callers, func(i int) {
						time.Sleep(time.Duration(i) * tt.apart)
						s, err := method.call(c, t.Context(), []string{"a", arn("a")}[i%2], "", v1)
						if !errors.Is(err, tt.err) || (s == nil) != (err != nil) || s != nil && s.VersionID() != "v2" {
							t.Errorf("got %v, %v, want v2 or %v", s, err, tt.err)
						}
					})
				})
				wantCalls(t, src, 2)
			})
		}
	}
}

// Callers of several caches ask all the time, by name and ARN.
func TestRecheckOfAFleetIsRare(t *testing.T) {
	const step = second
	synctest.Test(t, func(t *testing.T) {
		pauses := map[time.Duration]bool{}
		for range 10 {
			src, c, v1 := cacheOfV1(t, nil)
			for i := 0; src.count() < 12; i++ {
				time.Sleep(step)
				wantRecheck(t, c, []string{"a", arn("a")}[i%2], "", v1, "v1")
			}
			for i, at := range src.times[2:] {
				pause := at.Sub(src.times[i+1])
				if pause < 5*time.Minute || pause >= longest+step {
					t.Errorf("fetched again after %v, want from 5m to %v", pause, longest)
				}
				pauses[pause] = true
			}
		}
		if len(pauses) < 20 { // of 150 that there are
			t.Errorf("%d different pauses in 100", len(pauses))
		}
		drawn := slices.Sorted(maps.Keys(pauses))
		if drawn[0] > 5*time.Minute+30*second || drawn[len(drawn)-1] < 7*time.Minute {
			t.Errorf("the pauses are from %v to %v", drawn[0], drawn[len(drawn)-1])
		}
	})
}

func TestRecheckOfTwoStagesIsTwoLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v2")
		src.put("a", previous, "v1")
		c := newCache(t, src, nil)
		v2, v1 := want(t, c, "a", "", "v2"), want(t, c, "a", previous, "v1")
		time.Sleep(2 * time.Minute)
		for range 2 {
			wantRecheck(t, c, "a", "", v2, "v2")
			wantRecheck(t, c, "a", current, v2, "v2")
			wantRecheck(t, c, "a", previous, v1, "v1")
			time.Sleep(2 * time.Minute)
		}
		wantCalls(t, src, 4)
	})
}

func TestRecheckJoinsAnotherFetch(t *testing.T) {
	for _, tt := range []struct {
		name string
		ttl  time.Duration
		call func(t *testing.T, c *secretcache.Cache, v1 *secretcache.Secret) error
	}{
		{"renewal", 2 * time.Minute, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) error {
			_, err := c.Get(t.Context(), "a", "")
			return err
		}},
		{"Get of a negative TTL", -1, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) error {
			_, err := c.Get(t.Context(), "a", "")
			return err
		}},
		{"Prefetch", 2 * time.Minute, func(t *testing.T, c *secretcache.Cache, _ *secretcache.Secret) error {
			return c.Prefetch(t.Context(), "a")
		}},
		{"Refresh", 0, func(t *testing.T, c *secretcache.Cache, v1 *secretcache.Secret) error {
			_, err := c.Refresh(t.Context(), "a", "", v1)
			return err
		}},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c, v1 := cacheOfOldV1(t, &secretcache.Options{TTL: tt.ttl, FetchTimeout: time.Hour})
			src.put("a", current, "v2")
			src.delay(3 * time.Minute)
			start := time.Now()
			go func() {
				if err := tt.call(t, c, v1); err != nil {
					t.Error(err)
				}
			}()
			time.Sleep(time.Minute)
			wantCalls(t, src, 2)
			var v2 *secretcache.Secret
			took(t, 2*time.Minute, func() {
				together(20, func(i int) {
					if s := wantRecheck(t, c, "a", "", v1, "v2"); i == 0 {
						v2 = s
					}
				})
			})
			// It was the look, from its start.
			src.delay(0)
			time.Sleep(time.Until(start.Add(5*time.Minute - 1)))
			wantRecheck(t, c, "a", "", v2, "v2")
			wantCalls(t, src, 2)
			time.Sleep(time.Until(start.Add(longest)))
			wantRecheck(t, c, "a", "", v2, "v2")
			wantCalls(t, src, 3)
		})
	}
}

// Between two looks Recheck does not wait for a fetch that is nobody's look.
func TestRecheckBetweenLooksWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, nil)
		wantRecheck(t, c, "a", "", v1, "v1")
		time.Sleep(2 * time.Minute)
		src.put("a", current, "v2")
		src.delay(5 * second)
		go wantRefresh(t, c, "a", "", v1, "v2")
		time.Sleep(second)
		took(t, 0, func() { wantRecheck(t, c, "a", "", v1, "v1") })
		time.Sleep(5 * second)
		wantRecheck(t, c, "a", "", v1, "v2")
		wantCalls(t, src, 3)
	})
}

func TestRecheckHoldsNobodyUp(t *testing.T) { // design rule 7, checklist 32
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.put("b", current, "b1")
		time.Sleep(2 * time.Minute)
		src.change(func(f *fake) { f.hang = true })
		go wantRecheckErr(t, c, "a", v1, context.DeadlineExceeded)
		synctest.Wait()
		src.change(func(f *fake) { f.hang = false })
		took(t, 0, func() {
			want(t, c, "a", "", "v1")
			want(t, c, "b", "", "b1")
		})
		time.Sleep(secretcache.DefaultFetchTimeout + second)
		wantRecheck(t, c, "a", "", v1, "v1") // that was the look
		wantCalls(t, src, 3)
	})
}

func TestRecheckThatFailsKeepsTheSecret(t *testing.T) { // design rule 8
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, &secretcache.Options{TTL: 2 * time.Minute})
		src.fail(errDown)
		wantRecheckErr(t, c, "a", v1, errDown)
		// That was the look, and it backs off as any fetch.
		wantRecheck(t, c, "a", "", v1, "v1")
		want(t, c, "a", "", "v1")
		wantCalls(t, src, 2)
		time.Sleep(second)
		want(t, c, "a", "", "v1")
		wantCalls(t, src, 3)
		time.Sleep(5*time.Minute - second - 1)
		wantRecheck(t, c, "a", "", v1, "v1")
		wantCalls(t, src, 3)
		time.Sleep(longest - 5*time.Minute + 1)
		src.fail(nil)
		src.put("a", current, "v2")
		wantRecheck(t, c, "a", "", v1, "v2")
		wantCalls(t, src, 4)
	})
}

func TestRecheckDuringABackoffReturnsItsError(t *testing.T) {
	for _, cause := range []error{errDown, secretcache.ErrNoVersion} {
		inBubble(t, cause.Error(), func(t *testing.T) {
			src, c, v1 := cacheOfOldV1(t, nil)
			src.fail(cause)
			wantRefreshErr(t, c, "a", v1, cause)
			src.fail(nil)
			took(t, 0, func() { together(20, func(int) { wantRecheckErr(t, c, "a", v1, cause) }) })
			wantCalls(t, src, 2)
			time.Sleep(second) // that was no look
			wantRecheck(t, c, "a", "", v1, "v1")
			wantCalls(t, src, 3)
		})
	}
}

func TestRecheckDuringABackoffJoinsAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, nil)
		src.fail(errDown)
		wantRefreshErr(t, c, "a", v1, errDown)
		src.fail(nil)
		src.put("a", current, "v2")
		src.delay(second / 2)
		go wantRefresh(t, c, "a", "", nil, "v2") // it heeds no backoff
		synctest.Wait()
		took(t, second/2, func() { wantRecheck(t, c, "a", "", v1, "v2") })
		wantCalls(t, src, 3)
	})
}

func TestRecheckHeedsStopOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		c := newCache(t, src, &secretcache.Options{StopOn: func(err error) bool {
			return errors.Is(err, secretcache.ErrAccessDenied)
		}})
		v1 := want(t, c, "a", "", "v1")
		time.Sleep(2 * time.Minute)
		src.fail(secretcache.ErrAccessDenied)
		wantRecheckErr(t, c, "a", v1, secretcache.ErrAccessDenied)
		wantEntries(t, c, 0)
		wantRecheckErr(t, c, "a", v1, secretcache.ErrAccessDenied)
		wantCalls(t, src, 2)
		// With nothing cached it fetches when Get would.
		src.fail(nil)
		time.Sleep(second)
		wantRecheck(t, c, "a", "", v1, "v1")
		wantCalls(t, src, 3)
	})
}

func TestRecheckOfWhatIsNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, &secretcache.Options{MaxSize: 1})
		src.put("b", current, "b1")
		b1 := want(t, c, "b", "", "b1")
		src.put("a", current, "v2")
		src.delay(second)
		took(t, second, func() { together(20, func(int) { wantRecheck(t, c, "a", "", v1, "v2") }) })
		wantCalls(t, src, 3)
		time.Sleep(2 * time.Minute) // that was the look
		wantRecheck(t, c, "a", "", nil, "v2")
		wantCalls(t, src, 3)

		src.delay(0)
		src.fail(errDown)
		wantRecheckErr(t, c, "b", b1, errDown)
		wantRecheckErr(t, c, "b", b1, errDown)
		wantErr(t, c, "b", "", errDown)
		wantCalls(t, src, 4)
		src.fail(nil)
		time.Sleep(second)
		wantRecheck(t, c, "b", "", b1, "b1")
		wantCalls(t, src, 5)
	})
}

func TestRecheckAfterInvalidateFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, nil)
		wantRecheck(t, c, "a", "", v1, "v1")
		src.put("a", current, "v2")
		c.Invalidate("a")
		took(t, 0, func() { wantRecheck(t, c, "a", "", v1, "v2") })
		wantCalls(t, src, 3)
		time.Sleep(2 * time.Minute) // that was the look
		v2 := wantRecheck(t, c, "a", "", nil, "v2")
		wantCalls(t, src, 3)

		// A newer copy than used is outdated too.
		src.put("a", current, "v3")
		c.Invalidate("a")
		wantRecheck(t, c, "a", "", v1, "v3")
		wantCalls(t, src, 4)

		// Whoever fetches after it, the next look may begin at once.
		src.put("a", current, "v4")
		c.Invalidate("a")
		v4 := want(t, c, "a", "", "v4")
		time.Sleep(2 * time.Minute)
		src.put("a", current, "v5")
		wantRecheck(t, c, "a", "", v2, "v4")
		wantRecheck(t, c, "a", "", v4, "v5")
		wantCalls(t, src, 6)

		// If the fetch fails, the secret is served as before, and it was the look.
		src.fail(errDown)
		c.Invalidate("a")
		for range 3 {
			wantRecheck(t, c, "a", "", v4, "v5")
			time.Sleep(time.Minute)
		}
		wantCalls(t, src, 7)
	})
}

func TestRecheckIsNotSatisfiedByAFetchBeforeInvalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, nil)
		src.delay(2 * second)
		go wantRecheck(t, c, "a", "", v1, "v1")
		synctest.Wait()
		src.put("a", current, "v2")
		c.Invalidate("a")
		took(t, 4*second, func() { together(20, func(int) { wantRecheck(t, c, "a", "", v1, "v2") }) })
		time.Sleep(4 * time.Minute)
		wantRecheck(t, c, "a", "", nil, "v2")
		wantCalls(t, src, 3)
	})
}

func TestRecheckDoesNotCountAFetchBeforeInvalidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, nil)
		src.delay(2 * second)
		go wantRecheck(t, c, "a", "", v1, "v1")
		synctest.Wait()
		c.Invalidate("a")
		if _, err := c.Recheck(impatient(t), "a", "", v1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Recheck() = %v, want the deadline", err)
		}
		time.Sleep(2 * second)
		src.put("a", current, "v2")
		v2 := want(t, c, "a", "", "v2")
		time.Sleep(2 * time.Minute)
		wantRecheck(t, c, "a", "", v2, "v2")
		wantCalls(t, src, 4)
	})
}

// Of two entries that turn out to be one secret, the later look counts.
func TestRecheckCountsTheLookByAnotherID(t *testing.T) {
	partial := strings.TrimSuffix(arn("a"), "-a1b2c3")
	for _, tt := range []struct {
		name          string
		first, second string // which id is looked up at once and which 190 s later; empty is none
	}{
		{"of the ARN", "", arn("a")},
		{"of the partial ARN", "", partial},
		{"later of the ARN", partial, arn("a")},
		{"later of the partial ARN", arn("a"), partial},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c := sourceOfV1(t, &secretcache.Options{FetchTimeout: time.Hour})
			want(t, c, arn("a"), "", "v1")
			time.Sleep(2 * time.Minute)
			recheck := func(id string, takes time.Duration) {
				src.delay(0)
				if id == partial { // not cached
					src.delay(takes)
				}
				go wantRecheck(t, c, id, "", nil, "v1")
				synctest.Wait()
			}
			calls := 2
			if tt.first != "" {
				recheck(tt.first, 200*second)
				calls++
			}
			time.Sleep(190 * second) // 190: the first's pause ends from 300 to 450
			recheck(tt.second, 10*second)
			time.Sleep(10 * second) // 200: the partial ARN's fetch has landed
			src.delay(0)
			want(t, c, partial, "", "v1") // it is the same entry now, if it was not
			src.put("a", current, "v2")
			if tt.name == "of the ARN" {
				calls++
			}
			for range 4 { // up to 460, of 490
				time.Sleep(65 * second)
				wantRecheck(t, c, partial, "", nil, "v1")
				wantRecheck(t, c, arn("a"), "", nil, "v1")
			}
			wantCalls(t, src, calls)
			time.Sleep(longest)
			wantRecheck(t, c, partial, "", nil, "v2")
			wantRecheck(t, c, arn("a"), "", nil, "v2")
			wantCalls(t, src, calls+1)
		})
	}
}

func TestRecheckThatFindsAnotherSecretOfTheNameCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "old")
		c := newCache(t, src, nil)
		old := want(t, c, "a", "", "old")
		time.Sleep(2 * time.Minute)
		src.set("a", current, secretcache.Value{ARN: arn("a") + "new", Name: "a", VersionID: "new"})
		s := wantRecheck(t, c, "a", "", old, "new")
		time.Sleep(2 * time.Minute)
		wantRecheck(t, c, "a", "", s, "new")
		wantCalls(t, src, 2)
	})
}

func TestRecheckIsAUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{MaxSize: 2}, "a", "b", "c")
		a := want(t, c, "a", "", "v1")
		time.Sleep(second)
		want(t, c, "b", "", "v1")
		time.Sleep(second)
		wantRecheck(t, c, "a", "", a, "v1")
		want(t, c, "c", "", "v1")
		want(t, c, "a", "", "v1")
		wantCalls(t, src, 3)
	})
}

func TestRecheckGoesThroughTheHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		hook := &vault{}
		c := newCache(t, src, &secretcache.Options{Hook: hook})
		v1 := want(t, c, "a", "", "v1")
		src.put("a", current, "v2")
		check := func(used *secretcache.Secret, version string, gets int64) {
			t.Helper()
			if s := wantRecheck(t, c, "a", "", used, version); s.Reveal() != "value of "+version || hook.gets.Load() != gets {
				t.Errorf("got the value %q by %d gets, want that of %s by %d", s.Reveal(), hook.gets.Load(), version, gets)
			}
		}
		check(v1, "v1", 2)
		time.Sleep(2 * time.Minute)
		check(v1, "v2", 3)
		time.Sleep(longest)
		check(v1, "v2", 4) // the hook's copies can be compared
		wantCalls(t, src, 2)
		hook.getErr = errDown
		wantRecheckErr(t, c, "a", v1, errDown)
	})
}

func TestRecheckWhoseFetchWasDroppedDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, &secretcache.Options{MaxFetches: 1})
		src.put("other", current, "o1")
		time.Sleep(2 * time.Minute)
		src.put("a", current, "v2")
		src.delay(5 * second)
		go want(t, c, "other", "", "o1") // takes the only turn
		synctest.Wait()
		if _, err := c.Recheck(impatient(t), "a", "", v1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Recheck() = %v, want the deadline", err)
		}
		time.Sleep(5 * second)
		wantRecheck(t, c, "a", "", v1, "v2")
		wantCalls(t, src, 3)
	})
}
