package secretcache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// getFor calls Get with a context that ends after d.
func getFor(t *testing.T, c *secretcache.Cache, id string, d time.Duration) error {
	_, err := c.Get(within(t, d), id, "")
	return err
}

// goroutines returns the lowest of several counts, because a count while goroutines end may be
// too high.
func goroutines() int {
	n := runtime.NumGoroutine()
	for range 20 {
		runtime.Gosched()
		n = min(n, runtime.NumGoroutine())
	}
	return n
}

func TestFetchesThatNobodyWaitsForAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.change(func(f *fake) { f.hang = true })
		before := goroutines()
		together(5000, func(i int) {
			if err := getFor(t, c, fmt.Sprint("id", i), 10*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Get() = %v, want the deadline", err)
			}
		})
		synctest.Wait()
		if err := getFor(t, c, "a", second); err == nil || !strings.Contains(err.Error(), "before the fetch could begin (32 others are under way)") {
			t.Errorf("Get() = %v, want an error that says that the fetch had not begun", err)
		}
		if n := goroutines() - before; n > secretcache.DefaultMaxFetches+5 {
			t.Errorf("%d goroutines are left, want %d for the fetches under way", n, secretcache.DefaultMaxFetches)
		}
		src.change(func(f *fake) { f.hang = false })
		took(t, secretcache.DefaultFetchTimeout-10*time.Millisecond-second, func() { want(t, c, "a", "", "v1") })
		wantCalls(t, src, secretcache.DefaultMaxFetches+1)
		if got := c.Stats(); got.Fetches != secretcache.DefaultMaxFetches+1 {
			t.Errorf("Stats() = %+v, want the fetches that began", got)
		}
	})
}

func TestQueuedFetchWithOneWaitingCallerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		for _, id := range []string{"first", "a", "b", "c"} {
			src.put(id, current, "v1")
		}
		src.delay(2 * second)
		c := newCache(t, &batchFake{fake: src, size: 20}, &secretcache.Options{MaxFetches: 1})
		go want(t, c, "first", "", "v1")
		synctest.Wait()
		src.delay(0)
		go func() { _ = c.Prefetch(within(t, second), "a", "b", "c") }()
		synctest.Wait()
		took(t, 2*second, func() {
			together(2, func(i int) {
				if i == 0 {
					_ = getFor(t, c, "b", second)
				} else {
					want(t, c, "b", "", "v1") // in a batch with two that no caller wants
				}
			})
		})
		wantCalls(t, src, 2)
		took(t, 0, func() { want(t, c, "a", "", "v1") }) // a dropped fetch can be made again
		wantCalls(t, src, 3)
	})
}

// Renewals of secrets that are being served are not dropped, and need no goroutine each.
func TestQueuedRenewalsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := names(500)
		src, c := sourceOfV1(t, &secretcache.Options{TTL: time.Minute, MaxFetches: 2}, ids...)
		for _, id := range ids {
			want(t, c, id, "", "v1")
		}
		time.Sleep(time.Minute)
		for _, id := range ids {
			src.put(id, current, "v2")
		}
		src.delay(10 * time.Millisecond)
		before := goroutines()
		for range 2 {
			for _, id := range ids {
				want(t, c, id, "", "v1")
			}
		}
		if n := goroutines() - before; n > 2+5 {
			t.Errorf("%d goroutines for renewals, want 2", n)
		}
		time.Sleep(5 * second)
		for _, id := range ids {
			want(t, c, id, "", "v2")
		}
		wantCalls(t, src, 2*len(ids))
	})
}

func TestTenThousandGetsTogetherAreOneFetch(t *testing.T) {
	const callers = 10_000
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, nil)
		src.delay(second)
		before := goroutines()
		time.AfterFunc(second/2, func() {
			if n := goroutines() - before; n > callers+5 {
				t.Errorf("%d goroutines for %d callers", n, callers)
			}
		})
		together(callers, func(int) { want(t, c, "a", "", "v1") })
		wantCalls(t, src, 1)
	})
}

// attempts is a Source that makes an attempt each second. All attempts fail.
func attempts(ctx context.Context, id, _ string) (*secretcache.Secret, error) {
	for n := 1; ; n++ {
		select {
		case <-time.After(second):
			secretcache.AttemptFailed(ctx, fmt.Errorf("attempt %d for %s: %w", n, id, errDown))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func TestDeadlineCarriesTheLastFailure(t *testing.T) {
	good := secretcache.NewSecret(secretcache.Value{ID: "a", VersionID: "v1"})
	for _, tt := range []struct {
		name string
		call func(ctx context.Context, c *secretcache.Cache) error
		want string
	}{
		{"Get", func(ctx context.Context, c *secretcache.Cache) error { _, err := c.Get(ctx, "a", ""); return err },
			`wait for secret "a": context deadline exceeded; the last attempt failed: attempt 2 for a: source is down`},
		{"Read", func(ctx context.Context, c *secretcache.Cache) error { _, err := c.Read(ctx, "a", ""); return err },
			`wait for secret "a": context deadline exceeded; the last attempt failed: attempt 2 for a: source is down`},
		{"Refresh", func(ctx context.Context, c *secretcache.Cache) error {
			_, err := c.Refresh(ctx, "a", "", good)
			return err
		},
			`wait to refresh secret "a": context deadline exceeded; the last attempt failed: attempt 2 for a: source is down`},
		{"Prefetch", func(ctx context.Context, c *secretcache.Cache) error { return c.Prefetch(ctx, "a", "b") },
			`prefetch secrets: context deadline exceeded; the last attempt failed: attempt 2 for a: source is down`},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			c := newCache(t, secretcache.SourceFunc(attempts), nil)
			err := tt.call(within(t, 5*second/2), c)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errDown) || err.Error() != tt.want {
				t.Errorf("%s() = %v, want %s", tt.name, err, tt.want)
			}
			// A later caller gets the last failure at once.
			if err := tt.call(within(t, 1), c); !errors.Is(err, errDown) {
				t.Errorf("%s() = %v, want it to say why", tt.name, err)
			}
		})
	}
}

func TestDeadlineOfARecheckCarriesTheLastFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.put("a", current, "v1")
		var broken atomic.Bool
		c := newCache(t, secretcache.SourceFunc(func(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
			if broken.Load() {
				return attempts(ctx, id, stage)
			}
			return src.Fetch(ctx, id, stage)
		}), nil)
		v1 := want(t, c, "a", "", "v1")
		time.Sleep(2 * time.Minute)
		broken.Store(true)
		if _, err := c.Recheck(within(t, 3*second/2), "a", "", v1); !errors.Is(err, errDown) {
			t.Errorf("Recheck() = %v, want it to say why", err)
		}
		if err := c.LastFailure("a", ""); !errors.Is(err, errDown) {
			t.Errorf("LastFailure() = %v, want %v", err, errDown)
		}
	})
}

// The last fetch failed, and the next one has not answered yet.
func TestDeadlineCarriesTheFailureOfTheFetchBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.fail(errDown)
		c := newCache(t, src, nil)
		wantErr(t, c, "a", "", errDown)
		time.Sleep(second)
		src.change(func(f *fake) { f.hang = true })
		if err := getFor(t, c, "a", second); !errors.Is(err, errDown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get() = %v, want the deadline and why", err)
		}
	})
}

func TestGivenUpFetchCarriesTheLastAttempt(t *testing.T) {
	for name, fetch := range map[string]secretcache.SourceFunc{
		"returns": attempts,
		"is deaf": func(ctx context.Context, _, _ string) (*secretcache.Secret, error) {
			secretcache.AttemptFailed(ctx, errDown)
			time.Sleep(time.Minute)
			return nil, nil
		},
	} {
		inBubble(t, name, func(t *testing.T) {
			c := newCache(t, fetch, nil)
			_, err := c.Get(t.Context(), "a", "")
			if !errors.Is(err, errDown) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), errDown.Error()) {
				t.Errorf("Get() = %v, want the time-out and the last attempt", err)
			}
			time.Sleep(time.Minute)
		})
	}
}

func TestLastFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{TTL: time.Minute})
		check := func(when string, id string, target error) {
			t.Helper()
			if err := c.LastFailure(id, ""); !errors.Is(err, target) {
				t.Errorf("%s: LastFailure(%q) = %v, want %v", when, id, err, target)
			}
		}
		check("before any fetch", "a", nil)
		want(t, c, "a", "", "v1")
		check("after a success", "a", nil)
		time.Sleep(time.Minute)
		src.fail(errDown)
		want(t, c, "a", "", "v1")
		synctest.Wait()
		check("after a failed renewal", "a", errDown)
		check("after a failed renewal", arn("a"), errDown)
		src.fail(nil)
		time.Sleep(2 * second)
		want(t, c, "a", "", "v1")
		synctest.Wait()
		check("after the next renewal", "a", nil)
		wantErr(t, c, "none", "", secretcache.ErrNotFound)
		check("after a failed fetch", "none", secretcache.ErrNotFound)
		_ = c.Close()
		check("closed", "a", nil)
		wantCalls(t, src, 4)
	})
}

func TestAttemptFailedOutsideAFetchDoesNothing(t *testing.T) {
	secretcache.AttemptFailed(t.Context(), errDown)
	secretcache.AttemptFailed(t.Context(), nil)
}

func TestReadTellsWhyASecretIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, c := sourceOfV1(t, &secretcache.Options{TTL: time.Minute, MaxStale: time.Hour})
		check := func(when, version string, cause error, until time.Time) {
			t.Helper()
			r, err := c.Read(t.Context(), "a", "")
			if err != nil || r.Secret.VersionID() != version || !errors.Is(r.StaleCause, cause) || !r.StaleUntil.Equal(until) {
				t.Errorf("%s: Read() = %v, %v, want version %q, cause %v, until %v", when, r, err, version, cause, until)
			}
			synctest.Wait()
		}
		check("fetched", "v1", nil, time.Time{})
		until := time.Now().Add(time.Minute + time.Hour)
		check("hit", "v1", nil, time.Time{})
		time.Sleep(time.Minute)
		src.fail(errDown)
		check("expired, and not fetched yet", "v1", nil, time.Time{})
		check("failed", "v1", errDown, until)
		time.Sleep(time.Minute) // older than 2*TTL, so it waits for the fetch
		check("failed again", "v1", errDown, until)
		src.fail(nil)
		src.put("a", current, "v2")
		time.Sleep(time.Minute)
		check("renewed", "v2", nil, time.Time{})
		src.fail(errDown)
		c.Invalidate("a")
		check("invalidated", "v2", errDown, time.Now().Add(time.Minute+time.Hour))
		time.Sleep(2 * time.Hour)
		if r, err := c.Read(t.Context(), "a", ""); !errors.Is(err, errDown) || r != (secretcache.Reading{}) {
			t.Errorf("after MaxStale, Read() = %v, %v, want %v alone", r, err, errDown)
		}
	})
}

// bad has a Hook and funcs for the other options, all of which panic.
type bad struct{ put, get, stopOn, start, done bool }

func (b bad) Put(s *secretcache.Secret) (*secretcache.Secret, error) {
	if b.put {
		panic("hunter2")
	}
	return s, nil
}

func (b bad) Get(s *secretcache.Secret) (*secretcache.Secret, error) {
	if b.get {
		panic(errors.New("hunter2"))
	}
	return s, nil
}

func TestPanicsAreErrorsThatNameWhatPanicked(t *testing.T) {
	for _, tt := range []struct {
		name string
		bad  bad
		down bool // the source fails
		want []string
	}{
		{name: "Hook.Put", bad: bad{put: true}, want: []string{"panic in the hook", "string", `"a"`}},
		{name: "Hook.Get", bad: bad{get: true}, want: []string{"panic in the hook", "*errors.errorString", `"a"`}},
		{name: "StopOn", bad: bad{stopOn: true}, down: true, want: []string{"panic in StopOn", "source is down"}},
		{name: "StopOn that is not asked", bad: bad{stopOn: true}},
		{name: "FetchStart", bad: bad{start: true}},
		{name: "FetchDone", bad: bad{done: true}},
		{name: "FetchDone of a failure", bad: bad{done: true}, down: true, want: []string{"panic in Trace.FetchDone", "source is down"}},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			src := newFake(t)
			src.put("a", current, "v1")
			if tt.down {
				src.fail(errDown)
			}
			boom := func(is bool) {
				if is {
					panic("hunter2")
				}
			}
			c := newCache(t, src, &secretcache.Options{
				Hook:   tt.bad,
				StopOn: func(error) bool { boom(tt.bad.stopOn); return false },
				Trace: &secretcache.Trace{
					FetchStart: func(context.Context, secretcache.FetchInfo) { boom(tt.bad.start) },
					FetchDone:  func(context.Context, secretcache.FetchInfo) { boom(tt.bad.done) },
				},
			})
			_, err := c.Get(t.Context(), "a", "")
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("Get() = %v, want an error with %q", err, tt.want)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "the source ")) {
				t.Errorf("Get() = %v: it shows the value, or blames the source", err)
			}
			if i := slices.IndexFunc(tt.want, func(s string) bool { return !strings.Contains(err.Error(), s) }); i >= 0 {
				t.Errorf("Get() = %v, want %q in it", err, tt.want[i])
			}
		})
	}
}

// t.Fatal in a callback ends the goroutine of the fetch.
func TestCallbackThatEndsTheGoroutineEndsNoCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(t)
		src.fail(errDown)
		c := newCache(t, src, &secretcache.Options{
			StopOn: func(error) bool { runtime.Goexit(); return true },
			Trace:  &secretcache.Trace{FetchDone: func(context.Context, secretcache.FetchInfo) { runtime.Goexit() }},
		})
		wantErr(t, c, "a", "", errDown)
		if err := c.Prefetch(t.Context(), "b", "c"); !errors.Is(err, errDown) {
			t.Errorf("Prefetch() = %v, want %v", err, errDown)
		}
	})
}
