package driver_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// A rotation may finish after the resolution has read AWSCURRENT and before it reads AWSPENDING, which
// then names no version any more.
func TestRotationFinishesBetweenTheRefreshes(t *testing.T) {
	for _, n := range []int{1, 50} {
		inBubble(t, fmt.Sprint(n, " Connect calls"), func(t *testing.T) {
			b := newBench(t)
			b.mustPing(t)
			b.store.latency = 10 * time.Millisecond
			b.startRotation("v2", "pw2")
			// The first refresh begins at once, and is answered after 5 ms.
			time.AfterFunc(7*time.Millisecond, func() { b.store.move("AWSCURRENT", "v2") })
			start := time.Now()
			b.mustPingTogether(t, n)
			wantBetween(t, "time", time.Since(start), 0, 50*time.Millisecond) // three refreshes
			b.wantFetches(t, "AWSPENDING", 1)
			b.wantFetches(t, "AWSCURRENT", 3) // the first reading, the refresh, and the one after AWSPENDING had gone
		})
	}
	inBubble(t, "it is not read again while nothing changes", func(t *testing.T) {
		b := newBench(t, wrongPassword)
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(10 * time.Second) {
			isAuthFailed(t, b.ping(t.Context()), "v1")
		}
		pending, current := b.store.calls("AWSPENDING"), b.store.calls("AWSCURRENT")
		if current > pending+3 {
			t.Errorf("AWSPENDING was read %d times, AWSCURRENT %d times: want AWSCURRENT read twice by one resolution at most", pending, current)
		}
	})
}

// A burst from a cold start costs one login. This includes calls that arrive while others wait for the
// refresh.
func TestBurstFromAColdStart(t *testing.T) {
	for name, info := range infos {
		inBubble(t, name, func(t *testing.T) {
			var refreshes atomic.Int32 // of fallback stages
			counted := withRefreshDone(func(i driver.RefreshInfo) {
				if i.Stage != "AWSCURRENT" {
					refreshes.Add(1)
				}
			})
			b := newBench(t, wrongPassword, withLatency(20*time.Millisecond), counted, func(b *bench, dsn *string) {
				b.engine = newEngine(name, b.db)
				if info.DatabaseRequired {
					*dsn += "?dbname=app"
				}
				b.store.latency = 10 * time.Millisecond
			})
			var wg sync.WaitGroup
			for range 200 {
				wg.Go(func() {
					if err := b.ping(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
						t.Errorf("got %v", err)
					}
				})
				time.Sleep(time.Millisecond / 2)
			}
			wg.Wait()
			wantEqual(t, "logins", b.logins(), 1)
			wantBetween(t, "fetches", b.store.calls(""), 0, 6)
			wantBetween(t, "refreshes of AWSPENDING", refreshes.Load(), 0, 2) // for all that were rejected together
		})
	}
}

// If one Connect call finds a version, the calls that wait for their next round go on.
func TestFoundVersionWakesWaitingCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, withDSN("prod/app?fallback=none&rotationWindow=10m"))
		b.mustPing(t)
		b.db.set("app", "pw2")
		done := make(chan time.Time, 1)
		go func() {
			b.wantPing(t)
			done <- time.Now()
		}()
		// Until then, the time between refreshes has grown to a minute.
		time.Sleep(2*time.Minute + 300*time.Millisecond)
		b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
		b.cache.Invalidate("prod/app")
		b.mustPing(t)
		now := time.Now()
		if at := <-done; at.After(now) {
			t.Errorf("the waiting call went on %v after another call had found the version", at.Sub(now))
		}
	})
}

// The error lists what was tried, at which server, and how long it took.
func TestErrorListsWhatWasTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, dsn *string) {
			*dsn = "prod/app?fallback=AWSPENDING,AWSPREVIOUS,OTHER"
			b.db.set("app", "other")
			b.db.latency = func(int) time.Duration { return 3 * time.Millisecond }
			b.store.put("v0", "pw0", "AWSPREVIOUS")
			b.store.put("v2", "", "AWSPENDING")
			b.store.failStage("OTHER", errors.New("not allowed"))
		})
		check := func(want string) {
			t.Helper()
			err := b.ping(t.Context())
			if err == nil || err.Error() != want {
				t.Errorf("got\n%v\nwant\n%v", err, want)
			}
		}
		check(`connect with secret "prod/app": credentials rejected: ` +
			`db.example.com:3306 rejected AWSCURRENT version v1: vendor: access denied for user app (1045); ` +
			`the secret has no other AWSCURRENT version; ` +
			`AWSPENDING version v2 has no value; ` +
			`AWSPREVIOUS version v0: malformed secret: it is not a JSON object; ` +
			`OTHER could not be read: not allowed; check that the user and the password in the secret match the database (1 login in 3ms)`)
		time.Sleep(200 * time.Millisecond)
		err := b.ping(t.Context())
		for _, want := range []string{
			`db.example.com:3306 rejected AWSCURRENT version v1 1s ago, and it is not sent again yet: vendor: access denied`,
			`(0 logins in `,
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %s", err, want)
			}
		}
	})
}
