package secretcache_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/clock"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// second is a short sleep. It moves a test past the moment at which another timer fires.
const second = time.Second

func TestGetFetchesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "a1")
		src.put("b", current, "b1")
		src.delay(second)
		c := newCache(t, src, nil)
		took(t, second, func() { together(100, func(int) { want(t, c, "a", "", "a1") }) })
		wantCalls(t, src, 1)
		want(t, c, "a", "", "a1")
		want(t, c, "b", "", "b1")
		wantCalls(t, src, 2)
		if got, want := c.Stats(), (secretcache.Stats{Hits: 1, Misses: 101, Fetches: 2, Entries: 2}); got != want {
			t.Errorf("Stats() = %+v, want %+v", got, want)
		}
	})
}

func TestStagesAreCachedApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v2")
		src.put("a", previous, "v1")
		c := newCache(t, src, nil)
		for range 2 {
			want(t, c, "a", "", "v2")
			want(t, c, "a", current, "v2")
			want(t, c, "a", previous, "v1")
			want(t, c, arn("a"), previous, "v1")
		}
		wantCalls(t, src, 2)
		wantEntries(t, c, 2)
		src.put("a", current, "v3")
		src.put("a", previous, "v2")
		c.Invalidate("a")
		want(t, c, "a", "", "v3")
		want(t, c, "a", previous, "v2")
	})
}

func TestNameAndARNAreOneEntry(t *testing.T) {
	for _, tt := range []struct {
		name string
		ids  []string
		want int // calls
	}{
		{"name first", []string{"a", arn("a"), "a"}, 1},
		{"ARN first", []string{arn("a"), "a", arn("a")}, 2},
		{"partial ARN", []string{strings.TrimSuffix(arn("a"), "-a1b2c3"), arn("a"), "a"}, 2},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c := sourceOfV1(t, nil)
			for _, id := range tt.ids {
				want(t, c, id, "", "v1")
			}
			wantCalls(t, src, tt.want)
			wantEntries(t, c, 1)
			// A version that was fetched by one id is returned for the other ids too.
			src.put("a", current, "v2")
			rejected := want(t, c, tt.ids[0], "", "v1")
			wantRefresh(t, c, tt.ids[0], "", rejected, "v2")
			for _, id := range tt.ids {
				want(t, c, id, "", "v2")
			}
			wantCalls(t, src, tt.want+1)
		})
	}
}

func TestNameAndARNFetchedAtOnceBecomeOneEntry(t *testing.T) {
	for _, first := range []string{"a", arn("a")} {
		inBubble(t, first, func(t *testing.T) {
			src, c := sourceOfV1(t, nil)
			for _, id := range []string{"a", arn("a")} {
				src.delay(2 * second)
				if id == first {
					src.delay(second)
				}
				go func() { _, _ = c.Get(t.Context(), id, "") }()
				synctest.Wait()
			}
			// The answer that comes later, of either fetch, has another version.
			time.Sleep(3 * second)
			want(t, c, "a", "", "v1")
			want(t, c, arn("a"), "", "v1")
			wantCalls(t, src, 2)
			wantEntries(t, c, 1)
		})
	}
}

func TestOlderFetchDoesNotReplaceNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.delay(2 * second)
		go want(t, c, "a", "", "v2") // returns the version that landed in the meantime
		synctest.Wait()
		src.put("a", current, "v2")
		src.delay(second)
		go want(t, c, arn("a"), "", "v2")
		time.Sleep(3 * second)
		want(t, c, "a", "", "v2")
		want(t, c, arn("a"), "", "v2")
		wantCalls(t, src, 2)
	})
}

func TestFailedFetchByOneIDServesWhatAnotherBrought(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.delay(2 * second)
		src.fail(nil)
		src.change(func(f *fake) { f.hang = true })
		go want(t, c, arn("a"), "", "v1")
		synctest.Wait()
		src.change(func(f *fake) { f.hang = false })
		want(t, c, "a", "", "v1")
		time.Sleep(secretcache.DefaultFetchTimeout)
		wantCalls(t, src, 2)
	})
}

func TestNameThatMovesToAnotherSecretLeavesTheOldEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "old")
		c := newCache(t, src, &secretcache.Options{TTL: time.Hour})
		want(t, c, "a", "", "old")
		// The secret was deleted and made again, with another ARN.
		src.set("a", current, secretcache.Value{ARN: arn("a") + "new", Name: "a", VersionID: "new"})
		c.Invalidate("a")
		want(t, c, "a", "", "new")
		want(t, c, arn("a")+"new", "", "new")
		src.fail(errDown)
		want(t, c, arn("a"), "", "old")
		want(t, c, "a", "", "new")
	})
}

func TestMissingStageIsErrNoVersionAndBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		for range 100 {
			wantErr(t, c, "a", pending, secretcache.ErrNoVersion)
			wantErr(t, c, "b", "", secretcache.ErrNotFound)
		}
		wantCalls(t, src, 2)
	})
}

func TestTTLIsDrawnAtEachFetch(t *testing.T) {
	const fetches, step = 101, 10 * second
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil) // TTL is an hour
		for src.count() < fetches {
			want(t, c, "a", "", "v1")
			time.Sleep(step)
		}
		ages, early := map[time.Duration]bool{}, 0
		for i, at := range src.times[1:] {
			age := at.Sub(src.times[i])
			if age < time.Hour/2 || age > time.Hour+step {
				t.Errorf("fetched again after %v", age)
			}
			if age <= time.Hour*3/4 {
				early++
			}
			ages[age] = true
		}
		if len(ages) < 40 || early < 20 || early > 80 { // of 180 in all
			t.Errorf("%d different ages in 100 fetches, %d under ¾ TTL, want about half", len(ages), early)
		}
	})
}

func TestNegativeTTLFetchesAtEachGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{TTL: -1})
		for range 3 {
			want(t, c, "a", "", "v1")
		}
		wantCalls(t, src, 3)
		src.put("a", current, "v2")
		want(t, c, "a", "", "v2")
		src.fail(errDown)
		time.Sleep(time.Minute)
		want(t, c, "a", "", "v2") // a stale secret is better than an error
		wantCalls(t, src, 5)
		time.Sleep(secretcache.DefaultMaxStale)
		wantErr(t, c, "a", "", errDown)
	})
}

func TestExpiredSecretIsServedDuringOneRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{TTL: time.Minute})
		first := want(t, c, "a", "", "v1")
		time.Sleep(61 * second)
		src.delay(5 * second)
		took(t, 0, func() { together(100, func(int) { want(t, c, "a", "", "v1") }) })
		wantCalls(t, src, 2)
		time.Sleep(6 * second)
		if got := want(t, c, "a", "", "v1"); got != first {
			t.Error("the same version is another object now")
		}
		time.Sleep(61 * second)
		src.put("a", current, "v2")
		want(t, c, "a", "", "v1")
		time.Sleep(6 * second)
		want(t, c, "a", "", "v2")
		wantCalls(t, src, 3)
		want := secretcache.Stats{Hits: 2, StaleHits: 101, Misses: 1, Fetches: 3, Entries: 1}
		if got := c.Stats(); got != want {
			t.Errorf("Stats() = %+v, want %+v", got, want)
		}
	})
}

func TestVeryOldSecretWaitsForItsRenewal(t *testing.T) {
	for _, tt := range []struct {
		name     string
		age      time.Duration
		fetch    time.Duration
		deadline time.Duration // of ctx; 0 means none
		want     string
		took     time.Duration
	}{
		{"not yet", 119 * second, second / 2, 0, "v1", 0},
		{"renewed", 120 * second, second / 2, 0, "v2", second / 2},
		{"too slow", 120 * second, 5 * second, 0, "v1", second},
		{"half of a short deadline", 120 * second, 5 * second, second, "v1", second / 2},
		{"a long deadline", 120 * second, 5 * second, time.Minute, "v1", second},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c, _ := cacheOfV1(t, &secretcache.Options{TTL: time.Minute})
			src.put("a", current, "v2")
			src.delay(tt.fetch)
			time.Sleep(tt.age)
			took(t, tt.took, func() {
				if s, err := c.Get(within(t, tt.deadline), "a", ""); err != nil || s.VersionID() != tt.want {
					t.Errorf("Get() = %v, %v, want %q", s, err, tt.want)
				}
			})
			time.Sleep(10 * second)
			want(t, c, "a", "", "v2")
			wantCalls(t, src, 2)
		})
	}
}

// While a machine is frozen, the monotonic clock stands still and the wall clock goes on.
func TestAgeIsTheLargerOfBothClocks(t *testing.T) {
	for _, tt := range []struct {
		name    string
		recheck bool          // call Recheck, not Get
		asleep  time.Duration // how far the monotonic clock goes on
		step    time.Duration // how much farther the wall clock goes on
		fetches bool
	}{
		{"together", false, time.Minute, 0, false},
		{"frozen", false, 2 * second, time.Hour, true},
		{"wall clock set back", false, time.Minute, -time.Hour, false},
		{"wall clock set back, and expired", false, time.Hour, -time.Hour, true},
		{"Recheck before it is due", true, 4 * time.Minute, 0, false},
		{"Recheck at the time", true, longest, 0, true},
		{"Recheck, frozen", true, 2 * second, time.Hour, true},
		{"Recheck, wall set back", true, longest, -time.Hour, true},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c, v1 := cacheOfOldV1(t, nil)
			ask := func() {
				if tt.recheck {
					wantRecheck(t, c, "a", "", v1, "v1")
				} else {
					want(t, c, "a", "", "v1")
				}
			}
			ask()
			before := src.count()
			clock.Step(tt.step)
			defer clock.Step(-tt.step)
			time.Sleep(tt.asleep)
			ask()
			if tt.fetches {
				before++
			}
			wantCalls(t, src, before)
		})
	}
}

func TestFailingGetsAreOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.fail(fmt.Errorf("fetch: %w", &detailed{"details"}))
		src.delay(second)
		together(100, func(int) { wantErr(t, c, "a", "", errDetailed) })
		for range 100 {
			wantErr(t, c, "a", "", errDetailed)
		}
		wantCalls(t, src, 1)
		_, err := c.Get(t.Context(), "a", "")
		var d *detailed
		if !errors.As(err, &d) || d.text != "details" {
			t.Errorf("errors.As finds no cause in %v", err)
		}
		src.fail(nil)
		time.Sleep(2 * second)
		want(t, c, "a", "", "v1")
	})
}

type detailed struct{ text string }

var errDetailed = errors.New("detailed")

func (d *detailed) Error() string        { return d.text }
func (d *detailed) Is(target error) bool { return target == errDetailed }

// longestPause is the longest pause after a fetch that failed, or after a refresh that found no
// newer version.
const longestPause = 55 * second

// wantBackoff checks the pauses between fetches. The longest allowed pause doubles from 1 s up to
// longestPause. Each pause is from ¾ of it to all of it, and at least 1 s. The caller polls
// every step.
func wantBackoff(t *testing.T, times []time.Time, step time.Duration) (pauses []time.Duration) {
	t.Helper()
	full := second
	for i, at := range times[1:] {
		pause := at.Sub(times[i])
		if pause < max(second, full*3/4) || pause > full+step {
			t.Errorf("pause %d is %v, want %v to %v", i, pause, max(second, full*3/4), full)
		}
		pauses = append(pauses, pause)
		full = min(2*full, longestPause)
	}
	return pauses
}

func TestGetBacksOff(t *testing.T) {
	const step = 10 * time.Millisecond
	for _, cached := range []bool{false, true} {
		inBubble(t, fmt.Sprintf("cached=%v", cached), func(t *testing.T) {
			pauses := map[string]bool{}
			for range 5 {
				src, c := sourceOfV1(t, &secretcache.Options{TTL: time.Minute})
				get := func() { wantErr(t, c, "a", "", errDown) }
				if cached {
					want(t, c, "a", "", "v1")
					time.Sleep(time.Minute)
					get = func() { want(t, c, "a", "", "v1") }
				}
				src.fail(errDown)
				before := src.count()
				for src.count() < before+12 {
					get()
					time.Sleep(step)
				}
				pauses[fmt.Sprint(wantBackoff(t, src.times[before:], step))] = true

				// A fetch that succeeds ends the backoff.
				src.fail(nil)
				time.Sleep(time.Minute)
				_, _ = c.Get(t.Context(), "a", "")
				synctest.Wait()
				want(t, c, "a", "", "v1")
				src.fail(errDown)
				time.Sleep(time.Minute)
				before = src.count()
				for src.count() < before+2 {
					want(t, c, "a", "", "v1")
					time.Sleep(step)
				}
				wantBackoff(t, src.times[before:], step)
			}
			if len(pauses) < 5 {
				t.Errorf("caches that fail together ask together: %v", pauses)
			}
		})
	}
}

func TestStaleIsServedUntilMaxStale(t *testing.T) {
	for _, tt := range []struct {
		name     string
		maxStale time.Duration
		served   time.Duration // the largest age
	}{
		{"default", 0, time.Minute + 24*time.Hour},
		{"set", time.Hour, time.Minute + time.Hour},
		{"huge", 1<<63 - 1, 100 * 365 * 24 * time.Hour},
	} {
		for _, down := range []error{errDown, secretcache.ErrNotFound, secretcache.ErrNoVersion, secretcache.ErrAccessDenied, secretcache.ErrThrottled} {
			inBubble(t, tt.name+" "+down.Error(), func(t *testing.T) {
				src := newFake(t)
				src.put("a", current, "v1")
				var until time.Time
				c := newCache(t, src, &secretcache.Options{TTL: time.Minute, MaxStale: tt.maxStale, Trace: &secretcache.Trace{
					FetchDone: func(_ context.Context, i secretcache.FetchInfo) { until = i.StaleUntil },
				}})
				want(t, c, "a", "", "v1")
				fetched := time.Now()
				src.fail(down)
				time.Sleep(tt.served)
				want(t, c, "a", "", "v1")
				synctest.Wait()
				if tt.maxStale < 1<<62 {
					if want := fetched.Add(tt.served); !until.Equal(want) {
						t.Errorf("StaleUntil is %v, want %v", until, want)
					}
					time.Sleep(time.Nanosecond)
					wantErr(t, c, "a", "", down)
				} else if until.Before(time.Now()) {
					t.Errorf("StaleUntil is %v", until)
				}
				src.fail(nil)
				time.Sleep(time.Minute)
				src.put("a", current, "v2")
				_, _ = c.Get(t.Context(), "a", "")
				synctest.Wait()
				want(t, c, "a", "", "v2")
			})
		}
	}
}

func TestNegativeMaxStaleServesNothingOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, _ := cacheOfV1(t, &secretcache.Options{TTL: time.Minute, MaxStale: -1})
		time.Sleep(time.Minute)
		src.put("a", current, "v2")
		src.delay(5 * second)
		want(t, c, "a", "", "v2")
		time.Sleep(time.Minute)
		src.fail(errDown)
		took(t, 5*second, func() { wantErr(t, c, "a", "", errDown) })
		took(t, 0, func() { wantErr(t, c, "a", "", errDown) })
	})
}

func TestStopOnEndsServing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		var c *secretcache.Cache
		c = newCache(t, src, &secretcache.Options{TTL: time.Minute, StopOn: func(err error) bool {
			c.Stats() // would block if a lock were held
			return errors.Is(err, secretcache.ErrAccessDenied)
		}})
		want(t, c, "a", "", "v1")
		want(t, c, arn("a"), "", "v1")
		time.Sleep(time.Minute)
		src.fail(errDown)
		want(t, c, "a", "", "v1")
		time.Sleep(2 * second)
		src.fail(secretcache.ErrAccessDenied)
		want(t, c, "a", "", "v1") // the renewal in the background is denied
		synctest.Wait()
		wantErr(t, c, "a", "", secretcache.ErrAccessDenied)
		wantErr(t, c, arn("a"), "", secretcache.ErrAccessDenied)
		wantEntries(t, c, 0)
		src.fail(nil)
		time.Sleep(5 * second)
		want(t, c, "a", "", "v1")
		want(t, c, arn("a"), "", "v1")
	})
}

func TestCallersLeaveWhenTheirContextEnds(t *testing.T) {
	for _, tt := range []struct {
		says string // the beginning of the error
		call func(ctx context.Context, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error)
	}{
		{`wait for secret "a": `, func(ctx context.Context, c *secretcache.Cache, _ *secretcache.Secret) (*secretcache.Secret, error) {
			return c.Get(ctx, "a", "")
		}},
		{`wait to refresh secret "a": `, func(ctx context.Context, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error) {
			return c.Refresh(ctx, "a", "", v1)
		}},
		{`wait to recheck secret "a": `, func(ctx context.Context, c *secretcache.Cache, v1 *secretcache.Secret) (*secretcache.Secret, error) {
			return c.Recheck(ctx, "a", "", v1)
		}},
		{`prefetch secrets: `, func(ctx context.Context, c *secretcache.Cache, _ *secretcache.Secret) (*secretcache.Secret, error) {
			return nil, c.Prefetch(ctx, "a")
		}},
	} {
		inBubble(t, tt.says, func(t *testing.T) {
			src, c, v1 := cacheOfOldV1(t, &secretcache.Options{TTL: -1}) // so that Get waits as well
			src.put("a", current, "v2")
			src.delay(5 * second)
			together(3, func(i int) {
				ctx, end, cause := within(t, 0), 5*second, error(nil) // one caller waits to the end
				switch i {
				case 0: // the caller that started the fetch
					canceled, cancel := context.WithCancel(ctx)
					time.AfterFunc(second, cancel)
					ctx, end, cause = canceled, second, context.Canceled
				case 1:
					time.Sleep(time.Nanosecond)
					ctx, end, cause = within(t, 2*second), 2*second, context.DeadlineExceeded
				}
				took(t, end, func() {
					s, err := tt.call(ctx, c, v1)
					if !errors.Is(err, cause) || err != nil && (s != nil || !strings.HasPrefix(err.Error(), tt.says)) {
						t.Errorf("got %v, %v, want %v", s, err, cause)
					}
				})
			})
			wantCalls(t, src, 2)
		})
	}
}

func TestFetchFillsTheCacheAfterAllCallersHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.delay(second)
		if err := getFor(t, c, "a", second/2); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("Get() = %v, want the deadline of \"a\"", err)
		}
		time.Sleep(second)
		took(t, 0, func() { want(t, c, "a", "", "v1") })
		wantCalls(t, src, 1)
	})
}

func TestGetAfterAHungFetchStartsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		src.change(func(f *fake) { f.hang = true })
		c := secretcache.New(src, &secretcache.Options{FetchTimeout: second})
		for range 3 { // after these failures the next pause is longer than FetchTimeout
			took(t, second, func() { wantErr(t, c, "a", "", context.DeadlineExceeded) })
			time.Sleep(time.Minute)
		}
		took(t, second/5, func() {
			if err := getFor(t, c, "a", second/5); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get() = %v, want the deadline", err)
			}
		})
		src.change(func(f *fake) { f.hang = false }) // new fetches succeed
		took(t, second*4/5, func() { together(100, func(int) { want(t, c, "a", "", "v1") }) })
		wantCalls(t, src, 5)
	}) // the bubble checks that no goroutine is left
}

func TestHungFetchesBackOffFromTheirStart(t *testing.T) {
	const step = 10 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.change(func(f *fake) { f.hang = true })
		c := secretcache.New(src, &secretcache.Options{FetchTimeout: second / 10})
		for src.count() < 10 {
			wantErr(t, c, "a", "", context.DeadlineExceeded)
			time.Sleep(step)
		}
		wantBackoff(t, src.times, step)
	})
}

func TestSourceThatIgnoresItsContextIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		src.put("b", current, "b1")
		deaf := make(chan struct{})
		src.change(func(f *fake) { f.deaf, f.given = deaf, true })
		c := newCache(t, src, &secretcache.Options{FetchTimeout: second, MaxFetches: 1})
		start := time.Now()
		wantErr(t, c, "a", "", context.DeadlineExceeded)
		if d := time.Since(start); d < second || d > second+second/5 {
			t.Errorf("given up after %v, want little more than FetchTimeout", d)
		}
		src.change(func(f *fake) { f.deaf = nil })
		want(t, c, "b", "", "b1") // the hung fetch does not count for MaxFetches
		time.Sleep(2 * second)
		src.put("a", current, "v2")
		want(t, c, "a", "", "v2")
		close(deaf) // the late answer is ignored
		synctest.Wait()
		want(t, c, "a", "", "v2")
		if got := c.Stats(); got.Errors != 1 || got.Fetches != 3 {
			t.Errorf("Stats() = %+v", got)
		}
	})
}

func TestHugeFetchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{FetchTimeout: 1<<63 - 1})
		src.delay(time.Hour)
		took(t, time.Hour, func() { want(t, c, "a", "", "v1") })
	})
}

func TestMaxFetchesBoundsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := names(10)
		src, c := sourceOfV1(t, &secretcache.Options{MaxFetches: 3, FetchTimeout: second + second/2}, ids...)
		src.delay(second)
		// The wait for MaxFetches is not part of FetchTimeout.
		took(t, 4*second, func() { together(10, func(i int) { want(t, c, ids[i], "", "v1") }) })
	})
}

// badSource is a Source that breaks its contract in one way.
var badSources = map[string]func() (*secretcache.Secret, error){
	"panic":         func() (*secretcache.Secret, error) { panic("with the password hunter2") },
	"runtime panic": func() (*secretcache.Secret, error) { var s []int; s[len(s)]++; return nil, nil },
	"Goexit":        func() (*secretcache.Secret, error) { runtime.Goexit(); return nil, nil },
	"nothing":       func() (*secretcache.Secret, error) { return nil, nil },
	"secret and error": func() (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{VersionID: "hunter2"}), errDown
	},
}

func TestBadSourceIsAnError(t *testing.T) {
	for name, bad := range badSources {
		inBubble(t, name, func(t *testing.T) {
			good := newFake(t)
			good.put("a", current, "v1")
			var broken atomic.Bool
			c := newCache(t, secretcache.SourceFunc(func(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
				if broken.Load() {
					return bad()
				}
				return good.Fetch(ctx, id, stage)
			}), &secretcache.Options{TTL: time.Minute, MaxStale: time.Minute, MaxFetches: 1})
			rejected := want(t, c, "a", "", "v1")

			broken.Store(true)
			for _, call := range []func() (*secretcache.Secret, error){
				func() (*secretcache.Secret, error) { return c.Get(t.Context(), "b", "") },
				func() (*secretcache.Secret, error) { return c.Refresh(t.Context(), "a", "", rejected) },
				func() (*secretcache.Secret, error) { return nil, c.Prefetch(t.Context(), "c") },
			} {
				s, err := call()
				if s != nil || err == nil || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v, %v, want an error without a value", s, err)
				}
			}
			want(t, c, "a", "", "v1")
			time.Sleep(time.Minute)
			want(t, c, "a", "", "v1")
			synctest.Wait()

			broken.Store(false)
			time.Sleep(2 * time.Minute)
			want(t, c, "a", "", "v1")
		})
	}
}

func TestSourceWithoutVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.set("a", current, secretcache.Value{String: "one"})
		src.set("b", current, secretcache.Value{String: "one"})
		c := newCache(t, src, &secretcache.Options{TTL: -1})
		get := func(id string) *secretcache.Secret {
			t.Helper()
			s, err := c.Get(t.Context(), id, "")
			if err != nil || s.VersionID() == "" || s.ID() != id {
				t.Fatalf("Get(%q) = %v, %v, want a version", id, s, err)
			}
			return s
		}
		first := get("a")
		if get("a") != first {
			t.Error("an equal value is another object")
		}
		if get("b").VersionID() == first.VersionID() {
			t.Error("the version tells that two secrets have the same value")
		}
		src.set("a", current, secretcache.Value{String: "two"})
		if second := get("a"); second.VersionID() == first.VersionID() || second.Reveal() != "two" {
			t.Errorf("another value has the version %q, as the first", second.VersionID())
		}
		if strings.Contains(first.VersionID(), "one") {
			t.Error("the version shows the value")
		}
	})
}

func TestEmptySecretGetsTheIDAndAVersion(t *testing.T) {
	c := newCache(t, secretcache.SourceFunc(func(context.Context, string, string) (*secretcache.Secret, error) {
		return secretcache.NewSecret(secretcache.Value{}), nil
	}), nil)
	s, err := c.Get(t.Context(), "a", "")
	if err != nil || s.ID() != "a" || s.VersionID() == "" {
		t.Errorf("Get() = %v, %v, want an id and a version", s, err)
	}
}

// canary is a password that no error and no trace may show.
const canary = "hunter2-canary"

func TestNoErrorAndNoTraceShowsTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		v := secretcache.Value{ARN: arn("a"), VersionID: "v1", String: canary}
		src.set("a", current, v)
		var mu sync.Mutex
		var seen []string
		see := func(v any) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprintf("%v %+v %#v", v, v, v))
		}
		hook := &vault{}
		c := newCache(t, src, &secretcache.Options{TTL: -1, Hook: hook, FetchTimeout: second, Trace: &secretcache.Trace{
			FetchStart: func(_ context.Context, i secretcache.FetchInfo) { see(i) }, FetchDone: func(_ context.Context, i secretcache.FetchInfo) { see(i) },
		}})
		all := func(ctx context.Context) {
			for _, id := range []string{"a", "none"} {
				s, err := c.Get(ctx, id, "")
				see(err)
				see(s)
				s, err = c.Refresh(ctx, id, "", s)
				see(err)
				see(s)
				s, err = c.Recheck(ctx, id, "", s)
				see(err)
				see(s)
				_, err = c.Get(ctx, id, pending)
				see(err)
				see(c.Prefetch(ctx, id))
				c.Invalidate(id)
			}
			see(c.Stats())
		}
		for _, change := range []func(){
			func() {},
			func() { hook.getErr = errDown },
			func() { hook.getErr, hook.putErr = nil, errDown; v.VersionID = "v2"; src.set("a", current, v) },
			func() { hook.nothing = true },
			func() { src.fail(errDown) },
			func() { src.change(func(f *fake) { f.hang = true }) },
			func() { _ = c.Close() },
		} {
			change()
			all(t.Context())
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			all(ctx)
			synctest.Wait()
		}
		text := strings.Join(seen, "\n")
		for _, leak := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary)), hex.EncodeToString([]byte(canary))} {
			if strings.Contains(text, leak) {
				t.Errorf("%q shows in %s", leak, text)
			}
		}
	})
}

func TestInvalidateFetchesNext(t *testing.T) {
	for _, tt := range []struct {
		name string
		id   string
		want []string // the results of get, and of a Get of AWSPREVIOUS
	}{
		{"by name", "a", []string{"v2", "p2"}},
		{"by ARN", arn("a"), []string{"v2", "p2"}},
		{"by id", strings.TrimSuffix(arn("a"), "-a1b2c3"), []string{"v2", "p1"}},
		{"another", "b", []string{"v1", "p1"}},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c := sourceOfV1(t, nil)
			src.put("a", previous, "p1")
			partial := strings.TrimSuffix(arn("a"), "-a1b2c3")
			want(t, c, partial, "", "v1")
			want(t, c, arn("a"), previous, "p1")
			src.put("a", current, "v2")
			src.put("a", previous, "p2")
			c.Invalidate(tt.id)
			src.delay(second)
			want(t, c, partial, "", tt.want[0])
			want(t, c, arn("a"), previous, tt.want[1])
			before := src.count()
			want(t, c, partial, "", tt.want[0])
			wantCalls(t, src, before)
		})
	}
}

func TestInvalidateOutdatesFetchesUnderWay(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cached bool
		id     string // the argument of Get
		by     string // the argument of Invalidate
		err    error  // the error of the fetch under way
	}{
		{"first fetch", false, "a", "a", nil},
		{"first fetch, by its ARN", false, "a", arn("a"), nil},
		{"first fetch by ARN, by its name", false, arn("a"), "a", nil},
		{"renewal", true, "a", "a", nil},
		{"renewal, by its ARN", true, "a", arn("a"), nil},
		{"first fetch that fails", false, "a", "a", errDown},
		{"renewal that fails", true, "a", arn("a"), errDown},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src, c := sourceOfV1(t, &secretcache.Options{TTL: time.Minute})
			if tt.cached {
				want(t, c, tt.id, "", "v1")
				time.Sleep(61 * second)
			}
			before := src.count()
			src.delay(2 * second)
			src.fail(tt.err)
			go func() { _, _ = c.Get(t.Context(), tt.id, "") }()
			synctest.Wait()
			src.fail(nil)
			src.put("a", current, "v2")
			c.Invalidate(tt.by)
			took(t, 4*second, func() { together(10, func(int) { want(t, c, tt.id, "", "v2") }) })
			wantCalls(t, src, before+2)
		})
	}
}

func TestInvalidateOutdatesFetchesOfWhatIsEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{MaxSize: 1})
		src.put("b", current, "b1")
		src.delay(2 * second)
		go want(t, c, arn("a"), "", "v1")
		synctest.Wait()
		src.delay(0)
		want(t, c, "a", "", "v1") // the entry is in the cache now,
		src.put("a", current, "v2")
		c.Invalidate("a")
		want(t, c, "b", "", "b1") // and is evicted again
		time.Sleep(3 * second)    // then the first fetch lands
		want(t, c, arn("a"), "", "v2")
	})
}

func TestInvalidateOutdatesFetchesThatFindAnotherEntry(t *testing.T) {
	partial := strings.TrimSuffix(arn("a"), "-a1b2c3")
	for _, tt := range []struct {
		name string
		id   string
		arn  string // the ARN that the fetch finds
	}{
		{"a cached secret", partial, arn("a")},
		{"a new one", "a", arn("a") + "new"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src := newFake(t)
			src.put("a", current, "v0")
			c := newCache(t, src, &secretcache.Options{TTL: time.Minute})
			want(t, c, "a", "", "v0")
			time.Sleep(61 * second)
			src.delay(2 * second)
			src.set("a", current, secretcache.Value{ARN: tt.arn, Name: "a", VersionID: "v1"})
			go func() { _, _ = c.Get(t.Context(), tt.id, "") }()
			synctest.Wait()
			src.set("a", current, secretcache.Value{ARN: tt.arn, Name: "a", VersionID: "v2"})
			c.Invalidate(tt.id)
			want(t, c, tt.id, "", "v2")
			wantCalls(t, src, 3)
		})
	}
}

func TestInvalidatedSecretIsServedIfTheSourceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c, _ := cacheOfV1(t, nil)
		src.fail(errDown)
		src.delay(5 * second)
		c.Invalidate("a")
		took(t, 5*second, func() { want(t, c, "a", "", "v1") })
		for range 20 { // later Gets do not wait for another fetch
			took(t, 0, func() { want(t, c, "a", "", "v1") })
			time.Sleep(second)
		}
		// Another Invalidate starts another fetch, even during the pause.
		src.fail(nil)
		src.put("a", current, "v2")
		time.Sleep(10 * second)
		c.Invalidate("a")
		want(t, c, "a", "", "v2")
	})
}

func TestInvalidateEndsTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		c := newCache(t, src, nil)
		wantErr(t, c, "a", "", secretcache.ErrNotFound)
		src.put("a", current, "v1")
		wantErr(t, c, "a", "", secretcache.ErrNotFound)
		c.Invalidate("a")
		want(t, c, "a", "", "v1")
	})
}

func TestLeastRecentlyUsedSecretIsEvictedFirst(t *testing.T) {
	for _, tt := range []struct {
		size int // MaxSize
		kept int // how many of ten secrets are kept
	}{{1, 1}, {2, 2}, {9, 9}, {10, 10}, {0, 10}, {-1, 10}} {
		inBubble(t, fmt.Sprint(tt.size), func(t *testing.T) {
			src := newFake(t)
			ids := names(10)
			c := newCache(t, src, &secretcache.Options{MaxSize: tt.size})
			for _, id := range ids {
				src.put(id, current, "v1")
				want(t, c, id, "", "v1")
				time.Sleep(second)
			}
			wantEntries(t, c, tt.kept)
			for _, id := range ids[10-tt.kept:] {
				want(t, c, id, "", "v1")
			}
			wantCalls(t, src, 10) // all secrets were still cached
		})
	}
}

func TestUseKeepsASecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := names(100)
		src, c := sourceOfV1(t, &secretcache.Options{MaxSize: 3}, ids...)
		want(t, c, ids[0], "", "v1")
		want(t, c, arn(ids[0]), "", "v1") // the name and the ARN share an entry
		for _, id := range ids[1:] {
			want(t, c, id, "", "v1")
			want(t, c, ids[0], "", "v1")
			want(t, c, arn(ids[0]), "", "v1")
		}
		wantCalls(t, src, 100)
	})
}

func TestFailingIDsEvictNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("good", current, "v1")
		c := newCache(t, src, &secretcache.Options{MaxSize: 1})
		want(t, c, "good", "", "v1")
		for i := range 1000 {
			wantErr(t, c, fmt.Sprint("bad", i), "", secretcache.ErrNotFound)
			wantErr(t, c, "good", fmt.Sprint("stage", i), secretcache.ErrNoVersion)
		}
		before := src.count()
		want(t, c, "good", "", "v1")
		wantCalls(t, src, before)
	})
}

func TestFailingIDWhosePauseEndsFirstIsForgottenFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		c := newCache(t, src, &secretcache.Options{MaxSize: 2})
		wantErr(t, c, "often", "", secretcache.ErrNotFound)
		time.Sleep(2 * second)
		wantErr(t, c, "often", "", secretcache.ErrNotFound)
		for i := range 100 {
			wantErr(t, c, fmt.Sprint("once", i), "", secretcache.ErrNotFound)
		}
		before := src.count()
		wantErr(t, c, "often", "", secretcache.ErrNotFound)
		wantCalls(t, src, before)
		wantErr(t, c, "once0", "", secretcache.ErrNotFound) // the cache remembers only two of them
		wantCalls(t, src, before+1)
	})
}

func TestMaxSizeHoldsDuringRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{MaxSize: 2, TTL: time.Minute}, names(4)...)
		ids := names(4)
		want(t, c, ids[0], "", "v1")
		want(t, c, ids[1], "", "v1")
		time.Sleep(time.Minute)
		src.delay(5 * second)
		src.fail(errDown)
		want(t, c, ids[0], "", "v1") // the renewals begin here and will fail
		want(t, c, ids[1], "", "v1")
		synctest.Wait()
		src.delay(0)
		src.fail(nil)
		want(t, c, ids[2], "", "v1")
		want(t, c, ids[3], "", "v1")
		time.Sleep(6 * second)
		if n := c.Stats().Entries; n > 2 {
			t.Errorf("%d entries, want 2", n)
		}
	})
}

// vault is a Hook that keeps values as base64.
type vault struct {
	puts, gets     atomic.Int64
	putErr, getErr error
	nothing, exits bool
}

func (v *vault) Put(s *secretcache.Secret) (*secretcache.Secret, error) {
	v.puts.Add(1)
	if v.exits {
		runtime.Goexit()
	}
	if v.putErr != nil || v.nothing {
		return nil, v.putErr
	}
	return s.WithBinary([]byte(base64.StdEncoding.EncodeToString(s.Bytes()))), nil
}

func (v *vault) Get(s *secretcache.Secret) (*secretcache.Secret, error) {
	v.gets.Add(1)
	if v.getErr != nil {
		return nil, v.getErr
	}
	b, err := base64.StdEncoding.DecodeString(s.Reveal())
	return s.WithString(string(b)), err
}

func TestHookSeesEachStoreAndRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		hook := &vault{}
		c := newCache(t, src, &secretcache.Options{Hook: hook, TTL: time.Minute})
		check := func(s *secretcache.Secret, version string, puts, gets int64) {
			t.Helper()
			if s.Reveal() != "value of "+version || s.ARN() != arn("a") {
				t.Errorf("got %v with the value %q", s, s.Reveal())
			}
			if hook.puts.Load() != puts || hook.gets.Load() != gets {
				t.Errorf("%d puts and %d gets, want %d and %d", hook.puts.Load(), hook.gets.Load(), puts, gets)
			}
		}
		check(want(t, c, "a", "", "v1"), "v1", 1, 1)
		s := want(t, c, "a", "", "v1")
		check(s, "v1", 1, 2)
		check(wantRefresh(t, c, "a", "", s, "v1"), "v1", 1, 3) // the same version is not stored again
		src.put("a", current, "v2")
		time.Sleep(second)
		check(wantRefresh(t, c, "a", "", s, "v2"), "v2", 2, 4)
		check(wantRefresh(t, c, "a", "", s, "v2"), "v2", 2, 5)
		time.Sleep(time.Minute)
		check(want(t, c, "a", "", "v2"), "v2", 2, 6)
	})
}

func TestHookErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		hook := &vault{putErr: errDown}
		c := newCache(t, src, &secretcache.Options{Hook: hook})
		wantErr(t, c, "a", "", errDown)
		wantErr(t, c, "a", "", errDown)
		wantCalls(t, src, 1) // the second Get is in the pause
		wantEntries(t, c, 0)
		time.Sleep(2 * second)
		hook.putErr, hook.nothing = nil, true
		if s, err := c.Get(t.Context(), "a", ""); s != nil || err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("Get() = %v, %v, want an error that names the secret", s, err)
		}
		time.Sleep(5 * second)
		hook.nothing, hook.exits = false, true
		if s, err := c.Get(t.Context(), "a", ""); s != nil || err == nil {
			t.Errorf("Get() = %v, %v, want an error", s, err)
		}
		time.Sleep(10 * second)
		hook.exits = false
		want(t, c, "a", "", "v1")
		hook.getErr = errDown
		wantErr(t, c, "a", "", errDown)
		hook.getErr = nil
		want(t, c, "a", "", "v1")
		wantCalls(t, src, 4)
	})
}

// A locker is a Hook that keeps values outside the secret.
type locker struct{}

func (locker) Put(s *secretcache.Secret) (*secretcache.Secret, error) {
	return s.WithHeld(map[string]string{"value": s.Reveal()}), nil
}

func (locker) Get(s *secretcache.Secret) (*secretcache.Secret, error) {
	if s.Reveal() != "" || len(s.Bytes()) != 0 || s.IsBinary() {
		return nil, errors.New("a secret with something held has a value besides")
	}
	return s.WithString(s.Held().(map[string]string)["value"]), nil
}

func TestHookMayStoreAnything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{Hook: locker{}})
		for range 2 {
			if s := want(t, c, "a", "", "v1"); s.Reveal() != "value of v1" || s.Held() != nil {
				t.Errorf("got the value %q and %v, want that of v1 and nothing held", s.Reveal(), s.Held())
			}
		}
		wantCalls(t, src, 1)
	})
}

func TestTraceSeesEachFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		src.delay(second)
		var c *secretcache.Cache
		var events []string
		c = newCache(t, src, &secretcache.Options{TTL: time.Minute, Trace: &secretcache.Trace{
			FetchStart: func(_ context.Context, i secretcache.FetchInfo) {
				c.Stats() // would block if a lock were held
				events = append(events, fmt.Sprintf("start %s %s", i.ID, i.Stage))
			},
			FetchDone: func(_ context.Context, i secretcache.FetchInfo) {
				c.Stats()
				events = append(events, fmt.Sprintf("done %s %s %q %v %v %v", i.ID, i.Stage, i.VersionID, i.Changed, i.Duration, i.Err))
			},
		}})
		s := want(t, c, "a", "", "v1")
		wantRefresh(t, c, arn("a"), "", s, "v1")
		time.Sleep(second)
		src.fail(errDown)
		_, _ = c.Refresh(t.Context(), "a", "", s)
		got := strings.Join(events, "\n")
		want := `start a AWSCURRENT
done a AWSCURRENT "v1" true 1s <nil>
start ` + arn("a") + ` AWSCURRENT
done ` + arn("a") + ` AWSCURRENT "v1" false 1s <nil>
start a AWSCURRENT
done a AWSCURRENT "" false 1s source is down`
		if got != want {
			t.Errorf("events\n%s\nwant\n%s", got, want)
		}
	})
}

// The tracing span of the call that started the fetch is the parent of the fetch's span.
func TestTraceAndSourceGetTheValuesOfTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		var got []any
		see := func(ctx context.Context) { got = append(got, ctx.Value(key{}), ctx.Err()) }
		src := newFake(t)
		src.put("a", current, "v1")
		src.delay(second)
		c := newCache(t, secretcache.SourceFunc(func(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
			defer see(ctx)
			return src.Fetch(ctx, id, stage)
		}), &secretcache.Options{Trace: &secretcache.Trace{
			FetchStart: func(ctx context.Context, _ secretcache.FetchInfo) { see(ctx) },
			FetchDone:  func(ctx context.Context, _ secretcache.FetchInfo) { see(ctx) },
		}})
		first, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "first"), second/2)
		defer cancel()
		go func() { _, _ = c.Get(first, "a", "") }()
		synctest.Wait()
		if _, err := c.Get(context.WithValue(t.Context(), key{}, "second"), "a", ""); err != nil {
			t.Fatal(err)
		}
		if want := []any{"first", nil, "first", nil, "first", nil}; !slices.Equal(got, want) {
			t.Errorf("values and errors of the contexts: %v, want %v", got, want)
		}
	})
}

func TestOptionsAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		trace := &secretcache.Trace{}
		opts := &secretcache.Options{Trace: trace}
		c := newCache(t, src, opts)
		trace.FetchStart = func(context.Context, secretcache.FetchInfo) { t.Error("the caller's trace changed the cache") }
		opts.TTL = -1
		want(t, c, "a", "", "v1")
		want(t, c, "a", "", "v1")
		wantCalls(t, src, 1)
	})
}

func TestNewWithoutSourcePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	secretcache.New(nil, nil)
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		src.put("b", current, "b1")
		src.put("c", current, "c1")
		started, done := 0, 0
		c := secretcache.New(src, &secretcache.Options{MaxFetches: 1, Trace: &secretcache.Trace{
			FetchStart: func(context.Context, secretcache.FetchInfo) { started++ },
			FetchDone:  func(context.Context, secretcache.FetchInfo) { done++ },
		}})
		old := want(t, c, "c", "", "c1")
		time.Sleep(2 * time.Minute)
		s := want(t, c, "a", "", "v1")
		wantRefresh(t, c, "a", "", s, "v1")
		src.delay(5 * second)
		var ended atomic.Int64
		for _, call := range []func() error{
			func() error { _, err := c.Get(t.Context(), "b", ""); return err },            // under way
			func() error { _, err := c.Refresh(t.Context(), "b", "", nil); return err },   // waits for that fetch
			func() error { _, err := c.Get(t.Context(), "waits", ""); return err },        // waits for MaxFetches
			func() error { return c.Prefetch(t.Context(), "b", "waits", "more") },         //
			func() error { _, err := c.Refresh(t.Context(), "a", "", s); return err },     // waits for a pause to end
			func() error { _, err := c.Get(t.Context(), "a", "AWSPREVIOUS"); return err }, //
			func() error { _, err := c.Recheck(t.Context(), "c", "", old); return err },   //
		} {
			go func() {
				if err := call(); !errors.Is(err, secretcache.ErrClosed) {
					t.Errorf("a call that waits ended with %v, want ErrClosed", err)
				}
				ended.Add(1)
			}()
			synctest.Wait()
		}
		took(t, 0, func() {
			if err := errors.Join(c.Close(), c.Close()); err != nil {
				t.Errorf("Close: %v", err)
			}
			synctest.Wait()
		})
		if n := ended.Load(); n != 7 {
			t.Errorf("%d calls ended at Close, want 7", n)
		}
		wantErr(t, c, "a", "", secretcache.ErrClosed)
		wantRefreshErr(t, c, "a", s, secretcache.ErrClosed)
		if err := c.Prefetch(t.Context(), "a"); !errors.Is(err, secretcache.ErrClosed) {
			t.Errorf("Prefetch: %v, want ErrClosed", err)
		}
		c.Invalidate("a")
		wantEntries(t, c, 0)
		if started != done {
			t.Errorf("%d fetches started and %d are done", started, done)
		}
		if s.Reveal() != "value of v1" {
			t.Error("Close changed a secret that a caller has")
		}
	}) // the bubble checks that no goroutine is left
}

// Two fetches of one secret, by its name and its ARN, are under way; one lands.
func TestNothingIsStoredAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		deaf := make(chan struct{})
		src.change(func(f *fake) { f.deaf = deaf })
		go wantErr(t, c, arn("a"), "", secretcache.ErrClosed)
		synctest.Wait()
		src.change(func(f *fake) { f.deaf = nil })
		want(t, c, "a", "", "v1")
		_ = c.Close()
		close(deaf)
		synctest.Wait()
		wantErr(t, c, arn("a"), "", secretcache.ErrClosed)
		wantErr(t, c, "a", "", secretcache.ErrClosed)
		wantEntries(t, c, 0)
	})
}
