package driver_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// These schedules were found by TestModel. Here each of them is deterministic.

// If the server accepts a rejected version again, all calls that are under way can use it.
func TestVersionAcceptedAgainServesWaitingCalls(t *testing.T) {
	for _, test := range []struct {
		name  string
		after time.Duration // from the begin of the retry's call to the begin of this call
		limit time.Duration // of this call
	}{
		{"the call began before the retry", -100 * time.Millisecond, 300 * time.Millisecond},
		{"the call waits for the next refresh", 20 * time.Millisecond, 200 * time.Millisecond},
	} {
		inBubble(t, test.name, func(t *testing.T) {
			b := newBench(t, wrongPassword)
			isAuthFailed(t, b.ping(t.Context()), "v1")
			b.store.latency = 50 * time.Millisecond
			b.db.latency = func(int) time.Duration { return 10 * time.Millisecond }
			time.Sleep(500 * time.Millisecond)
			b.db.set("app", "pw1")
			var retry sync.WaitGroup
			retry.Go(func() {
				time.Sleep(500 * time.Millisecond) // the pause is over
				b.wantPing(t)
			})
			time.Sleep(500*time.Millisecond + test.after)
			start := time.Now()
			b.wantPing(t)
			wantBetween(t, "time", time.Since(start), 0, test.limit)
			retry.Wait()
		})
	}
}

// In the middle of a rotation, a fetch may return the old version once more. The pending version is still
// the newer one.
func TestVersionFetchedAgainIsNotNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withTTL(4*time.Second))
		ping := func() {
			t.Helper()
			b.mustPing(t)
			synctest.Wait()
		}
		ping()
		b.startRotation("v2", "pw2")
		ping()
		time.Sleep(5 * time.Second)
		ping() // fetches v1 once more
		b.store.move("AWSCURRENT", "v2")
		time.Sleep(time.Second)
		b.startRotation("v3", "pw3")
		ping()
		wantEqual(t, "rejected logins", b.rejections(), 2) // v1 and v2, each once
	})
}

// A Connect call that waits for a refresh of a fallback stage goes on when the stage itself has moved.
func TestNoCallWaitsForAFallbackWhenTheStageHasMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		isAuthFailed(t, b.ping(t.Context()), "v1")
		time.Sleep(200 * time.Millisecond)
		b.cache.Invalidate("prod/app") // a refresh of the stage is due, one of the fallback stage is not
		done := make(chan error)
		go func() { done <- b.ping(t.Context()) }()
		time.Sleep(200 * time.Millisecond)
		b.db.set("app", "pw2")
		b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
		b.cache.Invalidate("prod/app")
		b.mustPing(t)
		start := time.Now()
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantEqual(t, "time", time.Since(start), 0)
	})
}

// Refreshes that found nothing in an outage long ago do not delay or replace refreshes now.
func TestOldOutageIsForgotten(t *testing.T) {
	outage := func(t *testing.T, b *bench) {
		t.Helper()
		b.db.set("app", "other")
		for start := time.Now(); time.Since(start) < 5*time.Minute; time.Sleep(time.Second) {
			if err := b.ping(t.Context()); err == nil {
				t.Fatal("no error")
			}
		}
		b.db.set("app", "pw1")
		time.Sleep(2 * time.Hour)
		b.mustPing(t)
		time.Sleep(2 * time.Hour)
	}
	setup := func(window time.Duration, fallback []string) func(*bench, *string) {
		return func(b *bench, _ *string) {
			b.opts = driver.Options{RotationWindow: window, FallbackStages: fallback}
			b.cache = secretcache.New(b.store, &secretcache.Options{TTL: 24 * time.Hour})
		}
	}
	inBubble(t, "a rotation finishes between the refreshes", func(t *testing.T) {
		b := newBench(t, setup(0, nil))
		outage(t, b)
		b.store.latency = 10 * time.Millisecond
		b.startRotation("v2", "pw2")
		time.AfterFunc(7*time.Millisecond, func() { b.store.move("AWSCURRENT", "v2") })
		b.wantPing(t)
	})
	inBubble(t, "a Connect call waits for a rotation", func(t *testing.T) {
		b := newBench(t, setup(time.Second, []string{}))
		outage(t, b)
		c := must(driver.NewConnector(b.engine, "prod/app?rotationWindow=1m&fallback=none", &b.opts))
		b.Connector = c
		b.db.set("app", "pw2")
		const gap = 1100 * time.Millisecond
		time.AfterFunc(gap, func() { b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT") })
		start := time.Now()
		b.wantPing(t)
		wantBetween(t, "time", time.Since(start), 0, gap+3*time.Second) // refreshes are due after 1 s and 2 s
	})
}
