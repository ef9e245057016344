package driver_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Calls that wait for the resolution go on when another call sees the stage move. This holds even while a
// reading of AWSPENDING, or a login with its version, hangs.
func TestWaitingCallsGoOnWhenTheStageMoves(t *testing.T) {
	for _, test := range []struct {
		name  string
		hangs func(b *bench)
	}{
		{"the reading of AWSPENDING hangs", func(b *bench) {
			b.store.setFault(func(ctx context.Context, stage string) error {
				if stage == "AWSPENDING" {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			})
		}},
		{"the login with AWSPENDING hangs", func(b *bench) {
			b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
			b.db.setFault(forPassword("pw2", hang))
		}},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t)
			b.mustPing(t)
			b.db.set("app", "pw3")
			test.hangs(b)
			start := time.Now()
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					b.wantPing(t)
					wantBetween(t, "time", time.Since(start), 0, 3*time.Second) // after which AWSCURRENT works
				})
			}
			time.Sleep(3 * time.Second)
			b.store.put("v3", credentials("app", "pw3"), "AWSCURRENT")
			b.cache.Invalidate("prod/app")
			b.wantPing(t) // a new call
			wg.Wait()
		})
	}
}

// anonymous returns versions without ids.
type anonymous struct{ driver.Secrets }

func (s anonymous) Get(ctx context.Context, id, stage string) (*secretcache.Secret, error) {
	return withoutID(s.Secrets.Get(ctx, id, stage))
}

func (s anonymous) Refresh(ctx context.Context, id, stage string, _ *secretcache.Secret) (*secretcache.Secret, error) {
	return withoutID(s.Secrets.Refresh(ctx, id, stage, nil))
}

func withoutID(s *secretcache.Secret, err error) (*secretcache.Secret, error) {
	if err != nil {
		return nil, err
	}
	return secretcache.NewSecret(secretcache.Value{ID: s.ID(), String: s.Reveal()}), nil
}

func TestVersionsWithoutIDsRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withSecrets(func(s driver.Secrets) driver.Secrets { return anonymous{s} }))
		for i := range 5 {
			if err := b.ping(t.Context()); err != nil {
				t.Fatalf("after %d rotations: %v", i, err)
			}
			b.rotate(fmt.Sprint("v", i+2), fmt.Sprint("pw", i+2))
		}
		b.db.set("app", "other")
		if err := b.ping(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("got %v, want ErrAuthFailed", err)
		}
		b.store.put("v7", credentials("app", "other"), "AWSCURRENT")
		time.Sleep(time.Minute)
		b.wantPing(t) // after the secret was corrected
	})
}

// A record counts the records of a logger by level.
type records struct {
	mu   sync.Mutex
	text bytes.Buffer
	n    int // of level INFO and above
}

func (r *records) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	return r.text.Write(line)
}

func (r *records) logTo(b *bench) { b.opts.Logger = slog.New(slog.NewTextHandler(r, nil)) }

func TestRotationLogsAHandfulOfRecords(t *testing.T) {
	inBubble(t, "200 connections in the middle of a rotation", func(t *testing.T) {
		var log records
		var cancelled atomic.Int32
		b := newBench(t, func(b *bench, _ *string) {
			log.logTo(b)
			b.store.latency = 20 * time.Millisecond
			b.db.latency = func(n int) time.Duration { return time.Duration(1+n%9) * time.Millisecond }
			b.opts.Trace = &driver.Trace{RefreshDone: func(_ context.Context, i driver.RefreshInfo) {
				if errors.Is(i.Err, context.Canceled) {
					cancelled.Add(1)
				}
			}}
		})
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		b.mustPingTogether(t, 200)
		b.wantFetches(t, "AWSPENDING", 1)
		// Logins that are rejected after the first refresh began cause another refresh.
		wantBetween(t, "fetches of AWSCURRENT", b.store.calls("AWSCURRENT"), 0, 3)
		if log.n > 20 {
			t.Errorf("%d records of level INFO or above, want 20 at most:\n%s", log.n, log.text.String())
		}
		if strings.Contains(log.text.String(), "level=WARN") {
			t.Errorf("a rotation logs a WARN:\n%s", log.text.String())
		}
		if n := cancelled.Load(); n > 0 {
			t.Errorf("%d refreshes were cancelled, want none: no caller gave up", n)
		}
	})
	t.Run("10,000 connections wait in a rotation window", func(t *testing.T) {
		if raceEnabled {
			t.Skip("the race detector allows 8,128 goroutines")
		}
		synctest.Test(t, func(t *testing.T) {
			const n = 10000
			var log records
			b := newBench(t, withDSN("prod/app?fallback=none&rotationWindow=1m"), withLatency(5*time.Millisecond), func(b *bench, _ *string) {
				log.logTo(b)
				b.store.latency = 20 * time.Millisecond
			})
			b.mustPing(t)
			b.db.set("app", "pw2")
			peak := 0
			time.AfterFunc(2500*time.Millisecond, func() { peak = runtime.NumGoroutine() })
			time.AfterFunc(20*time.Second, func() { b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT") })
			b.mustPingTogether(t, n)
			if log.n > 50 {
				t.Errorf("%d records, want 50 at most", log.n)
			}
			if calls := b.store.calls(""); calls > 10 {
				t.Errorf("%d fetches, want 10 at most", calls)
			}
			if peak > n+20 {
				t.Errorf("%d goroutines, want one for each of %d callers and a few", peak, n)
			}
		})
	})
}

// One version is rejected, and the login with another version fails for another reason. Then the error is
// that failure, and it lists the rejection too.
func TestTimeOutOfAnotherCredentialIsNotErrAuthFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		b.db.setFault(forPassword("pw2", hang))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		errs := b.together(ctx, 5) // one call logs in, the others wait for that login
		ended := strings.Count(fmt.Sprint(errs), "AWSPENDING version v2: vendor: handshake: context deadline exceeded")
		wantEqual(t, "calls that tell how the login ended", ended, 1)
		for i, err := range errs {
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrAuthFailed) {
				t.Errorf("call %d: got %v, want the time-out and not ErrAuthFailed", i, err)
			}
			for _, want := range []string{"db.example.com:3306 rejected AWSCURRENT version v1", "access denied", "AWSPENDING version v2"} {
				if err != nil && strings.Count(err.Error(), want) != 1 {
					t.Errorf("call %d: %q does not contain %s exactly once", i, err, want)
				}
			}
		}
	})
}

// A stage that cannot be read is not a credential, so the error is still ErrAuthFailed.
func TestUnreadableStageIsErrAuthFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		b.store.failStage("AWSPENDING", secretcache.ErrThrottled)
		err := b.ping(t.Context())
		isAuthFailed(t, err, "v1")
		if !errors.Is(err, secretcache.ErrThrottled) || !strings.Contains(err.Error(), "AWSPENDING could not be read: too many requests") {
			t.Errorf("%v does not say why AWSPENDING could not be read", err)
		}
	})
}

// With slow logins and quick rotations, a call that waits for the resolution does not use up its
// attempts.
func TestSlowLoginsOutlastQuickRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) {
			b.db.latency = func(int) time.Duration { return time.Second }
			b.db.early = true // the first login and those that wait for it fit into a rotation
			b.opts.ConnectTimeout = 5 * time.Minute
			b.store.latency = 20 * time.Millisecond
		})
		db := sql.OpenDB(b.Connector)
		defer db.Close()
		db.SetMaxOpenConns(16)
		db.SetMaxIdleConns(1)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() { checkOut(ctx, t, db, 10*time.Millisecond) })
		}
		for i := range 50 {
			time.Sleep(1200 * time.Millisecond)
			version, password := fmt.Sprint("v", i+2), fmt.Sprint("pw", i+2)
			b.startRotation(version, password)
			time.Sleep(20 * time.Millisecond)
			b.store.move("AWSCURRENT", version)
		}
		stop()
		wg.Wait()
	})
}

// A password that stays wrong costs as many calls as docs/rotation.md says, whatever the size of the cache.
func TestSmallCacheDoesNotForgetTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword, func(b *bench, _ *string) {
			b.cache = secretcache.New(b.store, &secretcache.Options{MaxSize: 1})
		})
		b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(time.Second) {
			isAuthFailed(t, b.pingFor(t, 100*time.Millisecond), "v1")
		}
		wantBetween(t, "fetches", b.store.calls(""), 0, 340)
	})
}

func TestSecretsAtIsCalledOnce(t *testing.T) {
	for _, fails := range []bool{false, true} {
		inBubble(t, fmt.Sprint("fails ", fails), func(t *testing.T) {
			var calls atomic.Int32
			store := newStore(credentials("app", "pw1"))
			cache := secretcache.New(store, nil)
			defer cache.Close()
			unready := errors.New("no region")
			c, err := driver.NewConnector(newEngine("mysql", newDatabase("app", "pw1")), "prod/app", &driver.Options{
				SecretsAt: func(driver.Location) (driver.Secrets, error) {
					time.Sleep(time.Second)
					if calls.Add(1) == 1 && fails {
						return nil, unready
					}
					return cache, nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			connect := func() {
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						if _, err := c.Connect(t.Context()); err != nil && !errors.Is(err, unready) {
							t.Error(err)
						}
					})
				}
				wg.Wait()
			}
			connect()
			if n := calls.Load(); n != 1 {
				t.Errorf("SecretsAt was called %d times for 100 Connect calls at once, want 1", n)
			}
			connect() // calls SecretsAt again if the first call failed
			if n, want := calls.Load(), map[bool]int32{false: 1, true: 2}[fails]; n != want {
				t.Errorf("SecretsAt was called %d times, want %d", n, want)
			}
		})
	}
}

// A panic in the goroutine of the resolution ends neither the program nor the calls that wait.
func TestPanicsInAResolution(t *testing.T) {
	for _, test := range []struct {
		name  string
		setup func(b *bench)
		fail  int // how many of 20 calls fail; negative means any number
	}{
		{"of RefreshDone", func(b *bench) {
			b.opts.Trace = &driver.Trace{RefreshDone: func(context.Context, driver.RefreshInfo) { panic("pw2") }}
		}, 0},
		{"of Secrets", func(b *bench) { b.opts.Secrets = panicking{b.opts.Secrets} }, 20},
		{"of the log's handler", func(b *bench) { b.opts.Logger = slog.New(panickingHandler{}) }, -1},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t, withSecrets(func(s driver.Secrets) driver.Secrets { return s }), func(b *bench, _ *string) { test.setup(b) })
			b.mustPing(t)
			b.rotate("v2", "pw2")
			failed := 0
			for _, err := range b.together(t.Context(), 20) {
				if err == nil {
					continue
				}
				failed++
				if !strings.Contains(err.Error(), "panicked") || strings.Contains(err.Error(), "pw2") {
					t.Errorf("%q does not report the panic, or shows its text", err)
				}
			}
			if test.fail >= 0 && failed != test.fail {
				t.Errorf("%d of 20 calls failed, want %d", failed, test.fail)
			}
		})
	}
}

type panicking struct{ driver.Secrets }

func (panicking) Refresh(context.Context, string, string, *secretcache.Secret) (*secretcache.Secret, error) {
	panic("pw2")
}

// A panickingHandler panics at a log record of the resolution's goroutine.
type panickingHandler struct{}

func (panickingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (panickingHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the secret has") {
		panic("pw2")
	}
	return nil
}
func (h panickingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h panickingHandler) WithGroup(string) slog.Handler      { return h }

// Many calls wait for their turn because of MaxLogins. When their context ends, all of them return at once,
// and the next call gets its turn.
func TestCancelledCallsLeaveTheQueueOfMaxLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5000
		b := newBench(t, func(b *bench, _ *string) { b.opts.MaxLogins = 1 })
		b.mustPing(t)
		b.db.setFault(func(_ context.Context, l *login) error { time.Sleep(10 * time.Second); return nil })
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.ping(t.Context()) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		for range n {
			wg.Go(func() {
				if err := b.ping(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want %v", err, context.Canceled)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		cancel()
		b.db.setFault(nil)
		b.wantPing(t)
		wantBetween(t, "time", time.Since(start), 0, 10*time.Second) // it is the next one after the login in flight
		wg.Wait()
		wantEqual(t, "logins", b.logins(), 3)
	})
}

// If Secrets ignore their context, a call still ends after ConnectTimeout.
func TestSecretsThatIgnoreTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBench(t, withSecrets(func(s driver.Secrets) driver.Secrets { return stuck{s, release} }))
		b.mustPing(t)
		b.db.set("app", "other")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		start := time.Now()
		for _, err := range b.together(ctx, 10) {
			isAuthFailed(t, err, "v1")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the deadline's error in it", err)
			}
		}
		wantEqual(t, "time", time.Since(start), 5*time.Second)
		b.rotate("v2", "other")
		b.cache.Invalidate("prod/app")
		b.wantPing(t) // while the first reading still hangs
		close(release)
	})
}

type stuck struct {
	driver.Secrets
	release chan struct{}
}

func (s stuck) Refresh(context.Context, string, string, *secretcache.Secret) (*secretcache.Secret, error) {
	<-s.release
	return nil, errors.New("too late")
}

// A dialer may return context.Canceled although the context of the call has not ended. That is a failure
// like any other, and the call returns it.
func TestCancellationOfTheDialersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.db.setFault(always(fmt.Errorf("dial through a tunnel: %w", context.Canceled)))
		start := time.Now()
		if err := b.ping(t.Context()); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "tunnel") {
			t.Errorf("got %v, want the dialer's error", err)
		}
		if all, _ := b.db.count(); all != 1 || time.Since(start) > 0 {
			t.Errorf("%d logins in %v, want 1 at once", all, time.Since(start))
		}
	})
}

// A version is rejected while a waiter logs in with it. It is not offered to the next waiter before its
// pause is over.
func TestCandidateRejectedWhileItsWaiterHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword, withDSN("prod/app?fallback=none"))
		b.db.setFault(func(ctx context.Context, l *login) error {
			switch l.n {
			case 0: // the verdict stays unknown: each call tries on its own
				_ = wait(ctx, time.Millisecond)
				return errors.New("connection reset")
			case 1:
				return wait(ctx, 300*time.Millisecond) // then it is rejected
			case 2:
				return hang(ctx, l)
			}
			return nil
		})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _ = b.ping(t.Context()) })
		}
		time.Sleep(50 * time.Millisecond)
		wg.Go(func() {
			_ = b.pingFor(t, 450*time.Millisecond)
		})
		time.Sleep(10 * time.Millisecond)
		wg.Go(func() { isAuthFailed(t, b.ping(t.Context()), "v1") })
		wg.Wait()
		b.wantLogins(t, 3, 1)
	})
}

// Many logins with the old version are in flight, and are rejected one after the other when the new version
// is known. They cause no refresh and no log record.
func TestLateRejectionsAreQuiet(t *testing.T) {
	for _, pending := range []bool{false, true} {
		inBubble(t, fmt.Sprint("in the middle of the rotation ", pending), func(t *testing.T) {
			var log records
			b := newBench(t, func(b *bench, _ *string) {
				log.logTo(b)
				b.store.latency = 5 * time.Millisecond
			})
			b.mustPing(t)
			b.db.early = true
			b.db.latency = func(n int) time.Duration {
				if n > 100 {
					return time.Millisecond
				}
				return time.Duration(n) * 20 * time.Millisecond
			}
			b.startRotation("v2", "pw2")
			if !pending {
				b.store.move("AWSCURRENT", "v2")
			}
			b.mustPingTogether(t, 100)
			if log.n > 6 {
				t.Errorf("%d records, want 6 at most:\n%s", log.n, log.text.String())
			}
			wantBetween(t, "fetches", b.store.calls(""), 0, 3)
		})
	}
}

// While a fallback version is active, a login that fails because of the secret is not repeated.
func TestFallbackVersionIsNotRetriedAfterARecheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.startRotation("v2", "pw2")
		b.mustPing(t)
		time.Sleep(2 * time.Minute)
		b.db.setFault(always(errNoHost))
		before, _ := b.db.count()
		if err := b.ping(t.Context()); !errors.Is(err, errNoHost) {
			t.Errorf("got %v, want %v", err, errNoHost)
		}
		wantEqual(t, "logins", b.logins(), before+1)
	})
}

// If Secrets end the goroutine of the resolution, as t.FailNow in a fake does, the resolution ends too.
func TestSecretsThatEndTheirGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword, withSecrets(func(s driver.Secrets) driver.Secrets { return goexit{s} }))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, err := range b.together(ctx, 3) {
			isAuthFailed(t, err, "v1")
		}
	})
}

type goexit struct{ driver.Secrets }

func (goexit) Refresh(context.Context, string, string, *secretcache.Secret) (*secretcache.Secret, error) {
	runtime.Goexit()
	return nil, nil
}

// The stage moves to the version with which a waiter is logging in. That login decides, and no second one is
// sent at the same time.
func TestStageMovesToTheVersionThatIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		b.db.latency = func(int) time.Duration { return 100 * time.Millisecond }
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { b.wantPing(t) })
		}
		time.Sleep(150 * time.Millisecond) // v1 was rejected, a login with v2 is under way
		b.store.move("AWSCURRENT", "v2")
		b.cache.Invalidate("prod/app")
		b.wantPing(t)
		wg.Wait()
		var first login
		for _, l := range b.db.log() {
			switch {
			case l.password != "pw2":
			case first.password == "":
				first = l
			case l.begin.Before(first.end):
				t.Errorf("a login with v2 began %v before the first one ended", first.end.Sub(l.begin))
			}
		}
	})
}

// A call arrives while a reading is under way. If the reading does not return in time, the call does not
// fail: another reading begins.
func TestCallsOutliveAReadingThatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stuckOnce{release: make(chan struct{})}
		wrap := func(under driver.Secrets) driver.Secrets { s.Secrets = under; return s }
		b := newBench(t, withDSN("prod/app?fallback=none"), withSecrets(wrap), func(b *bench, _ *string) {
			b.opts.ConnectTimeout = 3 * time.Second
		})
		b.mustPing(t)
		b.rotate("v2", "pw2")
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := b.ping(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the call that began the reading: %v, want its deadline's error", err)
			}
		})
		time.Sleep(2 * time.Second)
		start := time.Now()
		b.wantPing(t)
		wantBetween(t, "time", time.Since(start), 0, 1200*time.Millisecond) // the rest of the first call's time, and a moment
		wg.Wait()
		close(s.release)
	})
}

// stuckOnce are secrets whose first reading does not return.
type stuckOnce struct {
	driver.Secrets
	release chan struct{}
	begun   atomic.Bool
}

func (s *stuckOnce) Refresh(ctx context.Context, id, stage string, rejected *secretcache.Secret) (*secretcache.Secret, error) {
	if s.begun.CompareAndSwap(false, true) {
		<-s.release
		return nil, errors.New("too late")
	}
	return s.Secrets.Refresh(ctx, id, stage, rejected)
}

// If SecretsAt does not return, a call still ends with its context, and the error says what took so long.
func TestSecretsAtThatDoesNotReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cache := secretcache.New(newStore(credentials("app", "pw1")), nil)
		defer cache.Close()
		c, err := driver.NewConnector(newEngine("mysql", newDatabase("app", "pw1")), "app", &driver.Options{SecretsAt: func(driver.Location) (driver.Secrets, error) {
			<-release
			return cache, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Connect(t.Context()); err != nil {
				t.Errorf("the call that opens the secrets: %v", err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `open secrets for "app"`) || time.Since(start) != time.Second {
			t.Errorf("a call meanwhile: %v after %v, want its context's error after 1s", err, time.Since(start))
		}
		close(release)
		wg.Wait()
	})
}
