package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func TestPendingVersionIsTriedBeforeItIsCurrent(t *testing.T) {
	tests := []struct {
		name, dsn string
		pending   bool
		want      bool
	}{
		{"pending version by default", "prod/app", true, true},
		{"no fallback", "prod/app?fallback=none", true, false},
		{"no pending version", "prod/app", false, false},
	}
	for _, test := range tests {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t, withDSN(test.dsn))
			b.mustPing(t)
			if test.pending {
				b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
			}
			b.db.set("app", "pw2")
			start := time.Now()
			err := b.ping(t.Context())
			if !test.want {
				isAuthFailed(t, err, "v1")
				want := 2
				if !test.pending {
					want = 3 // a rotation may have finished between the readings of the two stages
				}
				b.wantFetches(t, "AWSCURRENT", want)
				wantEqual(t, "time", time.Since(start), 0)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			// It is the active version from now on, and causes no more calls.
			calls := b.store.calls("")
			for range 10 {
				time.Sleep(time.Minute)
				b.mustPing(t)
			}
			b.wantLogins(t, 13, 1)
			b.wantFetches(t, "", calls)
			// This lasts until the stage names another version.
			b.store.move("AWSCURRENT", "v2")
			b.rotate("v3", "pw3")
			b.mustPing(t)
			wantEqual(t, "rejected logins", b.rejections(), 2)
		})
	}
}

func TestAlternatingUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.db.set("app_clone", "pw2")
		b.store.put("v2", credentials("app_clone", "pw2"), "AWSCURRENT")
		b.mustPing(t)
		time.Sleep(61 * time.Minute) // past the TTL: the cache serves the old version while it fetches the new one
		for range 2 {
			b.mustPing(t)
			synctest.Wait()
		}
		log := b.db.log()
		if got := log[len(log)-1].user; got != "app_clone" {
			t.Errorf("last login as %q, want app_clone", got)
		}
		wantEqual(t, "rejected logins", b.rejections(), 0)
	})
}

func TestServerThatLagsTakesThePreviousVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, dsn *string) {
			*dsn = "prod/app?fallback=AWSPREVIOUS"
			b.store.put("v2", credentials("app_clone", "pw2"), "AWSCURRENT")
		})
		b.mustPing(t) // the server does not know the new user
		b.mustPing(t)
		log := b.db.log()
		if len(log) != 3 || log[0].user != "app_clone" || log[1].user != "app" || log[2].user != "app" {
			t.Errorf("logins %+v, want app_clone once and app twice", log)
		}
	})
}

func TestEmptyPendingVersionIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.store.put("v2", "", "AWSPENDING")
		b.mustPing(t)
		b.wantFetches(t, "AWSPENDING", 0)
		b.db.set("app", "other")
		err := b.ping(t.Context())
		isAuthFailed(t, err, "v1")
		if all, _ := b.db.count(); all != 2 || strings.Contains(err.Error(), "malformed") {
			t.Errorf("%d logins, want 2: none with the empty version; %v", all, err)
		}
	})
}

func TestPendingThatIsCurrentIsNotTriedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		b.store.move("AWSPENDING", "v1")
		err := b.ping(t.Context())
		isAuthFailed(t, err, "v1")
		if all, _ := b.db.count(); all != 1 || strings.Count(err.Error(), "access denied") != 1 {
			t.Errorf("%d logins, want 1; %v", all, err)
		}
	})
}

func TestRollbackIsFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.rotate("v2", "pw2")
		b.mustPing(t)
		// v1 works at once, although its pause is not over: the move of the stage clears the pause.
		b.db.set("app", "pw1")
		b.store.move("AWSCURRENT", "v1")
		b.mustPing(t)
		b.wantLogins(t, 5, 2)
	})
}

func TestStaleVersionServesWhileThePasswordWorks(t *testing.T) {
	for name, fault := range map[string]error{"Secrets Manager is down": secretcache.ErrThrottled, "the secret is deleted": secretcache.ErrNotFound} {
		inBubble(t, name, func(t *testing.T) {
			b := newBench(t)
			b.mustPing(t)
			b.store.setFault(func(context.Context, string) error { return fault })
			time.Sleep(2 * time.Hour)
			b.mustPing(t)
			time.Sleep(2 * time.Minute)
			b.db.set("app", "pw2")
			err := b.ping(t.Context())
			isAuthFailed(t, err, "v1")
			if !errors.Is(err, fault) || !strings.Contains(err.Error(), "refresh the secret") {
				t.Errorf("error %v does not say that the refresh failed, and why", err)
			}
			b.wantFetches(t, "AWSPENDING", 0) // the source fails
		})
	}
}

func TestOpenConnectionsSurviveARotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		c, err := b.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.rotate("v2", "pw2")
		b.mustPing(t)
		if own, ok := c.(*conn); !ok || own.closed {
			t.Errorf("%T, closed: want the vendor's own connection, still open", c)
		}
	})
}

func TestManyRejectedTogetherRefreshOnce(t *testing.T) {
	for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(b *bench, _ *string) {
				b.store.latency = latency
				b.db.latency = func(n int) time.Duration { return time.Duration(n%7) * time.Millisecond }
			})
			b.mustPing(t)
			b.rotate("v2", "pw2")
			b.mustPingTogether(t, 200)
			b.wantFetches(t, "", 2) // one of them after the rotation
		})
	}
}

func TestManyInSequenceAreRejectedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.rotate("v2", "pw2")
		for range 200 {
			b.mustPing(t)
		}
		b.wantLogins(t, 202, 1)
		b.wantFetches(t, "", 2)
	})
}

func TestWrongPasswordIsTriedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		for range 100 {
			isAuthFailed(t, b.ping(t.Context()), "v1")
			time.Sleep(10 * time.Millisecond)
		}
		wantBetween(t, "logins", b.logins(), 0, 3)
		wantBetween(t, "fetches", b.store.calls(""), 0, 12)
	})
}

func TestOtherFailuresNeitherRefreshNorRetry(t *testing.T) {
	network := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, test := range []struct {
		name string
		err  error
	}{
		{"network", network},
		{"no such database", &vendorError{codeNoDatabase, "unknown database"}},
		{"account locked", &vendorError{codeLocked, "account is locked"}},
		{"TLS required", errors.New("vendor: server does not support TLS")},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t)
			b.db.setFault(always(test.err))
			err := b.ping(t.Context())
			if !errors.Is(err, test.err) || errors.Is(err, driver.ErrAuthFailed) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			wantEqual(t, "logins", b.logins(), 1)
			b.wantFetches(t, "", 1)
		})
	}
}

func TestFallbackStages(t *testing.T) {
	inBubble(t, "a stage is not read for 10 minutes after access was denied", func(t *testing.T) {
		b := newBench(t, wrongPassword)
		b.store.failStage("AWSPENDING", secretcache.ErrAccessDenied)
		for range 9 {
			isAuthFailed(t, b.ping(t.Context()), "v1")
			time.Sleep(time.Minute)
		}
		b.wantFetches(t, "AWSPENDING", 1)
		time.Sleep(time.Minute)
		isAuthFailed(t, b.ping(t.Context()), "v1")
		b.wantFetches(t, "AWSPENDING", 2)
	})
	inBubble(t, "a stage without a version is read seldom", func(t *testing.T) {
		b := newBench(t, wrongPassword)
		for range 600 {
			isAuthFailed(t, b.pingFor(t, time.Millisecond), "v1")
			time.Sleep(100 * time.Millisecond)
		}
		// after 1, 2, 4, 8, 16 and 32 s
		wantBetween(t, "fetches of AWSPENDING", b.store.calls("AWSPENDING"), 5, 8)
	})
	inBubble(t, "a new current version has its own refresh", func(t *testing.T) {
		b := newBench(t, wrongPassword, withTTL(-1))
		for _, pause := range []time.Duration{1, 2, 4, 8, 0} { // after the last refresh, the next one is due in 12 s
			isAuthFailed(t, b.pingFor(t, time.Millisecond), "v1")
			time.Sleep(pause * time.Second)
		}
		if n := b.store.calls("AWSPENDING"); n != 5 {
			t.Fatalf("%d fetches of AWSPENDING, want 5", n)
		}
		b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
		b.startRotation("v3", "pw3")
		b.wantPing(t)
	})
	inBubble(t, "the next stage is tried if one cannot be read", func(t *testing.T) {
		b := newBench(t, wrongPassword, withDSN("prod/app?fallback=AWSPENDING,AWSPREVIOUS"))
		b.store.put("v0", credentials("app", "other"), "AWSPREVIOUS")
		b.store.failStage("AWSPENDING", secretcache.ErrThrottled)
		b.wantPing(t) // with the version of the next stage
	})
	inBubble(t, "a malformed version does not hide the rejection", func(t *testing.T) {
		b := newBench(t, wrongPassword)
		b.store.put("v2", `{"password":"x"}`, "AWSPENDING")
		err := b.ping(t.Context())
		isAuthFailed(t, err, "v1")
		if errors.Is(err, driver.ErrMalformedSecret) {
			t.Errorf("%v: the stage's own version is well-formed", err)
		}
		if !strings.Contains(err.Error(), `AWSPENDING version v2: malformed secret: key "host" is missing`) {
			t.Errorf("error %q does not say what is wrong with AWSPENDING", err)
		}
	})
	inBubble(t, "the error lists all rejected versions", func(t *testing.T) {
		b := newBench(t, wrongPassword)
		b.store.put("v2", credentials("app2", "pw2"), "AWSPENDING")
		err := b.ping(t.Context())
		isAuthFailed(t, err, "v1")
		for _, want := range []string{"db.example.com:3306 rejected AWSCURRENT version v1: vendor: access denied for user app ", "db.example.com:3306 rejected AWSPENDING version v2: vendor: access denied for user app2 "} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not contain %q", err, want)
			}
		}
	})
	inBubble(t, "network failure with the fallback version", func(t *testing.T) {
		b := newBench(t)
		b.startRotation("v2", "pw2")
		reset := errors.New("connection reset")
		b.db.setFault(forPassword("pw2", always(reset)))
		if err := b.ping(t.Context()); !errors.Is(err, reset) || errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("got %v, want %v and not ErrAuthFailed: the server did not reject v2", err, reset)
		}
		b.db.setFault(nil)
		b.wantPing(t) // within a second
	})
	inBubble(t, "a caller that gives up during a refresh does not fail the others", func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		first := true
		b.store.setFault(func(ctx context.Context, stage string) error {
			if stage == "AWSPENDING" && first {
				first = false
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { isAuthFailed(t, b.pingFor(t, 3*time.Second), "v1") })
		synctest.Wait()
		for range 10 {
			wg.Go(func() { b.wantPing(t) })
		}
		wg.Wait()
	})
	inBubble(t, "the active version is rejected and the refresh fails", func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		b.mustPing(t)
		time.Sleep(time.Minute)
		b.db.set("app", "pw1") // the rotation is rolled back
		b.store.setFault(func(context.Context, string) error { return secretcache.ErrThrottled })
		b.wantPing(t) // the stage's own version works
		all, _ := b.db.count()
		calls := b.store.calls("")
		b.wantPing(t)
		if n, _ := b.db.count(); n != all+1 || b.store.calls("") != calls {
			t.Errorf("%d logins and %d fetches, want one login with the stage's own version", n-all, b.store.calls("")-calls)
		}
	})
	inBubble(t, "the next version of the stage takes precedence over a fallback version", func(t *testing.T) {
		b := newBench(t, func(b *bench, dsn *string) {
			*dsn = "prod/app?fallback=AWSPREVIOUS"
			b.store.put("v2", credentials("app_clone", "pw2"), "AWSCURRENT")
		}, withTTL(-1))
		b.mustPing(t)
		b.db.set("app3", "pw3")
		b.store.put("v3", credentials("app3", "pw3"), "AWSCURRENT")
		for range 2 {
			b.mustPing(t)
		}
		log := b.db.log()
		if n := len(log); n != 4 || log[2].user != "app3" || log[3].user != "app3" {
			t.Errorf("logins %+v, want the last two as app3", log)
		}
	})
	inBubble(t, "a network failure with the active version is the error of the Connect call", func(t *testing.T) {
		b := newBench(t)
		b.startRotation("v2", "pw2")
		b.mustPing(t)
		reset := errors.New("connection reset")
		b.db.setFault(always(reset))
		if err := b.ping(t.Context()); !errors.Is(err, reset) || errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("got %v, want %v", err, reset)
		}
		b.db.setFault(nil)
		all, _ := b.db.count()
		b.wantPing(t)
		if n, _ := b.db.count(); n != all+1 {
			t.Errorf("%d logins, want 1: v2 is still active", n-all)
		}
	})
	inBubble(t, "the stage of the data source name is not a fallback stage", func(t *testing.T) {
		b := newBench(t, withDSN("prod/app?stage=AWSPENDING"))
		b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
		isAuthFailed(t, b.ping(t.Context()), "v2")
		b.wantFetches(t, "", 2)
	})
}

func TestOptionsFallbackStages(t *testing.T) {
	for _, test := range []struct {
		name   string
		stages []string
		dsn    string
		want   []string // that are read
	}{
		{"nil", nil, "prod/app", []string{"AWSPENDING"}},
		{"empty", []string{}, "prod/app", nil},
		{"one", []string{"AWSPREVIOUS"}, "prod/app", []string{"AWSPREVIOUS"}},
		{"the data source name takes precedence", []string{"AWSPREVIOUS"}, "prod/app?fallback=A,B", []string{"A", "B"}},
		{"none in the data source name takes precedence", []string{"AWSPREVIOUS"}, "prod/app?fallback=none", nil},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t, wrongPassword, withDSN(test.dsn), func(b *bench, _ *string) { b.opts.FallbackStages = test.stages })
			isAuthFailed(t, b.ping(t.Context()), "v1")
			var got []string
			for _, f := range b.store.fetches {
				if f.stage != "AWSCURRENT" {
					got = append(got, f.stage)
				}
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("stages %q were read, want %q", got, test.want)
			}
		})
	}
}

func TestRotationWindow(t *testing.T) {
	inBubble(t, "waits until the rotation finishes", func(t *testing.T) {
		b := newBench(t, withDSN("prod/app?fallback=none&rotationWindow=30s"))
		b.db.set("app", "pw2")
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT") })
		b.mustPing(t)
		wantBetween(t, "time", time.Since(start), 3*time.Second, 8*time.Second) // the next refresh is at most 5 s later
	})
	inBubble(t, "ends", func(t *testing.T) {
		b := newBench(t, wrongPassword, withDSN("prod/app?rotationWindow=90s"))
		start := time.Now()
		isAuthFailed(t, b.ping(t.Context()), "v1")
		// It is longer than ConnectTimeout, which does not count the wait.
		wantBetween(t, "time", time.Since(start), 90*time.Second, 92*time.Second)
		wantBetween(t, "logins", b.logins(), 0, 8) // the first one, then one after 1, 2, 4 … s
		wantBetween(t, "fetches", b.store.calls(""), 0, 20)
	})
	for name, connect := range map[string]func(*bench, *sql.DB, context.Context) error{
		"by Connect": func(b *bench, _ *sql.DB, ctx context.Context) error { return b.ping(ctx) },
		"through a pool": func(_ *bench, db *sql.DB, ctx context.Context) error {
			c, err := db.Conn(ctx)
			if c != nil {
				defer c.Close()
			}
			return err
		},
	} {
		inBubble(t, "the context ends the wait, and all calls share the refreshes, "+name, func(t *testing.T) {
			const finished = time.Second                   // when the rotation finishes
			const found = finished + 1100*time.Millisecond // when the next refresh has found it
			b := newBench(t, withDSN("prod/app?fallback=none&rotationWindow=1m"), withLatency(time.Millisecond))
			b.store.latency = 5 * time.Millisecond
			b.mustPing(t)
			db := sql.OpenDB(b.Connector)
			defer db.Close()
			b.db.set("app", "pw2")
			begin := time.Now()
			time.AfterFunc(finished, func() { b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT") })
			var wg sync.WaitGroup
			for i := range 500 {
				limit := 10*time.Millisecond + time.Duration(i)*10*time.Millisecond
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					err := connect(b, db, ctx)
					d := time.Since(begin)
					switch {
					case err == nil && d > found:
						t.Errorf("limit %v: it worked, but only after %v", limit, d)
					case err != nil && (d < limit || d > limit+50*time.Millisecond):
						t.Errorf("limit %v: failed after %v: %v", limit, d, err)
					case err != nil && limit > found:
						t.Errorf("limit %v: %v", limit, err)
					case err != nil && !errors.Is(err, context.DeadlineExceeded):
						t.Errorf("limit %v: %v, want the context's error in it", limit, err)
					}
				})
			}
			wg.Wait()
			wantBetween(t, "fetches", b.store.calls(""), 0, 6)
		})
	}
	inBubble(t, "the context's end is reported with the rejection", func(t *testing.T) {
		b := newBench(t, wrongPassword, withDSN("prod/app?rotationWindow=1h"))
		err := b.pingFor(t, 3*time.Second)
		isAuthFailed(t, err, "v1")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v does not match the context's", err)
		}
	})
	inBubble(t, "there is no wait after other failures", func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) { b.opts.RotationWindow = time.Hour })
		b.db.setFault(always(&vendorError{codeLocked, "account is locked"}))
		start := time.Now()
		if err := b.ping(t.Context()); err == nil || errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("got %v", err)
		}
		wantEqual(t, "time", time.Since(start), 0)
	})
}
