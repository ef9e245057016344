package driver_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/clock"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Superseded connections are closed even if the pool hands out connections less often than the cache's TTL,
// and if the cache keeps nothing.
func TestCloseSupersededWithRareCheckouts(t *testing.T) {
	for name, ttl := range map[string]time.Duration{"TTL of a minute": time.Minute, "no TTL": -1} {
		inBubble(t, name, func(t *testing.T) {
			p := newPool(t, 1, withTTL(ttl))
			p.rotate("v2", "pw2")
			for range 4 { // to read the secret, to prove the new version, to close the connection
				time.Sleep(5 * time.Minute)
				p.use(1)
				synctest.Wait()
			}
			if got := p.use(1); !slices.Equal(got, []string{"pw2"}) {
				t.Errorf("after 20 minutes the pool has a connection of %q, want pw2", got)
			}
		})
	}
}

// If the wall clock is set back, nothing waits for it.
func TestWallClockSetBack(t *testing.T) {
	inBubble(t, "connections are closed", func(t *testing.T) {
		p := newPool(t, 1)
		time.Sleep(time.Minute)
		p.use(1)
		clock.Step(-time.Hour)
		defer clock.Step(time.Hour)
		p.rotateAndInvalidate("v2", "pw2")
		p.until(1, "pw2", 5*time.Second)
	})
	inBubble(t, "the secret is read again in an outage", func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.db.setFault(gone(errRefusedConn))
		_ = b.ping(t.Context())
		clock.Step(-time.Hour)
		defer clock.Step(time.Hour)
		b.store.put("v2", movedSecret, "AWSCURRENT")
		start := time.Now()
		for b.ping(t.Context()) != nil {
			if took := time.Since(start); took > 5*time.Minute+10*time.Second {
				t.Fatalf("not recovered after %v", took)
			}
			time.Sleep(time.Second)
		}
	})
}

// If a machine was frozen during an outage, the time of the freeze counts for the pause.
func TestFreezeCountsInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.db.setFault(gone(errRefusedConn))
		_ = b.ping(t.Context())
		b.store.put("v2", movedSecret, "AWSCURRENT")
		time.Sleep(2 * time.Second)
		clock.Step(10 * time.Minute)
		defer clock.Step(-10 * time.Minute)
		b.wantPing(t) // 10 minutes later by the wall clock
	})
}

// A stale secret is served. The log and the trace say why, and until when.
func TestStaleSecretIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log records
		var traced []driver.SecretInfo
		b := newBench(t, func(b *bench, _ *string) {
			log.logTo(b)
			b.opts.Trace = &driver.Trace{SecretDone: func(_ context.Context, i driver.SecretInfo) { traced = append(traced, i) }}
		})
		b.mustPing(t)
		fetched := time.Now()
		b.store.setFault(func(context.Context, string) error { return secretcache.ErrAccessDenied })
		time.Sleep(3 * time.Hour)
		_ = b.ping(t.Context()) // begins a fetch
		synctest.Wait()
		traced, log.n = nil, 0
		log.text.Reset()
		pings := 0
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(10 * time.Second) {
			b.mustPing(t)
			pings++
		}
		if log.n < 5 || log.n > 7 {
			t.Errorf("%d records in an hour, want one in 10 minutes:\n%s", log.n, log.text.String())
		}
		for _, want := range []string{"level=WARN", "prod/app", "access to the secret denied", "served_until"} {
			if !strings.Contains(log.text.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, log.text.String())
			}
		}
		if len(traced) != pings {
			t.Fatalf("%d readings traced, want %d", len(traced), pings)
		}
		for _, i := range traced {
			if !errors.Is(i.StaleCause, secretcache.ErrAccessDenied) || i.Err != nil {
				t.Fatalf("traced %+v, want the cause that the secret is stale", i)
			}
			if want := fetched.Add(25 * time.Hour); i.StaleUntil.Before(want.Add(-time.Minute)) || i.StaleUntil.After(want.Add(time.Minute)) {
				t.Fatalf("served until %v, want %v", i.StaleUntil, want)
			}
		}
	})
}

// If a caller's deadline ends a Connect call, the error also says why the source did not answer.
func TestDeadlineTellsTheLastFailure(t *testing.T) {
	throttled := func(ctx context.Context, _ string) error {
		secretcache.AttemptFailed(ctx, secretcache.ErrThrottled)
		<-ctx.Done()
		return ctx.Err()
	}
	check := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, secretcache.ErrThrottled) || !strings.Contains(err.Error(), "too many requests") {
			t.Errorf("got %v, want the deadline and why the secret had not come", err)
		}
	}
	inBubble(t, "at the first reading", func(t *testing.T) {
		b := newBench(t)
		b.store.setFault(throttled)
		check(t, b.pingFor(t, time.Second))
	})
	inBubble(t, "at a refresh", func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.db.set("app", "other")
		b.store.setFault(throttled)
		err := b.pingFor(t, time.Second)
		check(t, err)
		isAuthFailed(t, err, "v1")
	})
}
