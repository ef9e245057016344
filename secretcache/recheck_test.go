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

// longest is the longest time from the start of one Recheck's fetch to the next.
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
		time.Sleep(29 * time.Minute) // more than TTL/2 after the first fetch, but less after the second: a hit
		want(t, c, "a", "", "v1")
		wantCalls(t, src, 2)
		if hits := c.Stats().Hits; hits != 1 {
			t.Errorf("%d hits, want 1", hits)
		}
	})
}

// A Recheck, because the database may have moved, does not delay a Refresh for a new password.
func TestRecheckDoesNotDelayRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, nil)
		wantRecheck(t, c, "a", "", v1, "v1")
		src.put("a", current, "v2")
		took(t, 0, func() { wantRefresh(t, c, "a", "", v1, "v2") })
	})
}

func TestRecheckReturnsTheVersionThatAnotherCallerFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, nil)
		src.put("a", current, "v2")
		v2 := wantRefresh(t, c, "a", "", v1, "v2")
		src.put("a", current, "v1")
		time.Sleep(2 * time.Minute)
		wantRecheck(t, c, "a", "", v1, "v2")
		wantCalls(t, src, 2)
		// For a caller that used v2, v2 is not a newer version.
		again := wantRecheck(t, c, "a", "", v2, "v1")
		wantCalls(t, src, 3)
		// A version that came back is another version than v2, but the same as before.
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

// The age of a secret that came from another cache, or from no cache, cannot be compared.
func TestRecheckOfASecretOfAnotherCacheFetches(t *testing.T) {
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
			for range 3 { // the numbers of this cache's fetches say nothing about the other cache
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

// All callers that call together, or during the fetch, share one fetch.
func TestRefreshAndRecheckTogetherAreOneCall(t *testing.T) {
	for _, method := range []struct {
		name string
		call func(c *secretcache.Cache, ctx context.Context, id, stage string, v1 *secretcache.Secret) (*secretcache.Secret, error)
	}{{"Refresh", (*secretcache.Cache).Refresh}, {"Recheck", (*secretcache.Cache).Recheck}} {
		for _, tt := range []struct {
			name    string
			delay   time.Duration // how long the fetch takes
			err     error
			callers int
			apart   time.Duration // time from one caller to the next
		}{
			{"at once", 0, nil, 200, 0},
			{"slow", second, nil, 200, 0},
			{"slow failure", second, errDown, 200, 0},
			{"during the fetch", 10 * second, nil, 9, second},
		} {
			if tt.err != nil && method.name == "Refresh" {
				continue // a Refresh does not return the failure of a fetch that began before the call
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

// Callers of several caches call Recheck all the time, by name and by ARN.
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
		if len(pauses) < 20 { // of 150 in all
			t.Errorf("%d different pauses in 100", len(pauses))
		}
		drawn := slices.Sorted(maps.Keys(pauses))
		if drawn[0] > 5*time.Minute+30*second || drawn[len(drawn)-1] < 7*time.Minute {
			t.Errorf("the pauses are from %v to %v", drawn[0], drawn[len(drawn)-1])
		}
	})
}

func TestRecheckFetchesEachStage(t *testing.T) {
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
			// That fetch counts as Recheck's, from its start.
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

// Between two of its fetches, Recheck does not wait for a fetch that does not count as one.
func TestRecheckBetweenItsFetchesDoesNotWait(t *testing.T) {
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

func TestRecheckDelaysNoOtherCaller(t *testing.T) {
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
		wantRecheck(t, c, "a", "", v1, "v1") // the fetch was Recheck's
		wantCalls(t, src, 3)
	})
}

func TestRecheckThatFailsKeepsTheSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfOldV1(t, &secretcache.Options{TTL: 2 * time.Minute})
		src.fail(errDown)
		wantRecheckErr(t, c, "a", v1, errDown)
		// The fetch counts as Recheck's, and is followed by a pause as any fetch that failed.
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
			time.Sleep(second) // that fetch does not count as Recheck's
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
		go wantRefresh(t, c, "a", "", nil, "v2") // fetches even in a pause
		synctest.Wait()
		took(t, second/2, func() { wantRecheck(t, c, "a", "", v1, "v2") })
		wantCalls(t, src, 3)
	})
}

func TestRecheckAppliesStopOn(t *testing.T) {
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
		// If nothing is cached, Recheck fetches when Get would.
		src.fail(nil)
		time.Sleep(second)
		wantRecheck(t, c, "a", "", v1, "v1")
		wantCalls(t, src, 3)
	})
}

func TestRecheckOfASecretThatIsNotCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, v1 := cacheOfV1(t, &secretcache.Options{MaxSize: 1})
		src.put("b", current, "b1")
		b1 := want(t, c, "b", "", "b1")
		src.put("a", current, "v2")
		src.delay(second)
		took(t, second, func() { together(20, func(int) { wantRecheck(t, c, "a", "", v1, "v2") }) })
		wantCalls(t, src, 3)
		time.Sleep(2 * time.Minute) // the fetch counts as Recheck's
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
		time.Sleep(2 * time.Minute) // the fetch counts as Recheck's
		v2 := wantRecheck(t, c, "a", "", nil, "v2")
		wantCalls(t, src, 3)

		// Invalidate outdates a newer copy than used as well.
		src.put("a", current, "v3")
		c.Invalidate("a")
		wantRecheck(t, c, "a", "", v1, "v3")
		wantCalls(t, src, 4)

		// After Invalidate the next Recheck may fetch at once, whichever call fetches first.
		src.put("a", current, "v4")
		c.Invalidate("a")
		v4 := want(t, c, "a", "", "v4")
		time.Sleep(2 * time.Minute)
		src.put("a", current, "v5")
		wantRecheck(t, c, "a", "", v2, "v4")
		wantRecheck(t, c, "a", "", v4, "v5")
		wantCalls(t, src, 6)

		// If the fetch fails, the secret is served as before, and the fetch counts as Recheck's.
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

// If two entries turn out to be one secret, the later of their Recheck fetches counts.
func TestRecheckCountsItsFetchByAnotherID(t *testing.T) {
	partial := strings.TrimSuffix(arn("a"), "-a1b2c3")
	for _, tt := range []struct {
		name          string
		first, second string // the id of a Recheck at once and of one 190 s later; empty means none
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
			time.Sleep(190 * second) // now 190: the pause of the first ends at 300 to 450
			recheck(tt.second, 10*second)
			time.Sleep(10 * second) // now 200: the fetch by the partial ARN has landed
			src.delay(0)
			want(t, c, partial, "", "v1") // all ids share an entry now
			src.put("a", current, "v2")
			if tt.name == "of the ARN" {
				calls++
			}
			for range 4 { // up to 460 of 490
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

func TestRecheckCountsAsAUse(t *testing.T) {
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
		check(v1, "v2", 4) // copies that the hook made can be compared
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
		go want(t, c, "other", "", "o1") // uses up MaxFetches
		synctest.Wait()
		if _, err := c.Recheck(impatient(t), "a", "", v1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Recheck() = %v, want the deadline", err)
		}
		time.Sleep(5 * second)
		wantRecheck(t, c, "a", "", v1, "v2")
		wantCalls(t, src, 3)
	})
}
