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

// A rotation that finishes after a connect has looked at AWSCURRENT and before it
// looks at AWSPENDING, which then names no version, or the new one.
func TestRotationFinishesBetweenTheRefreshes(t *testing.T) {
	for _, n := range []int{1, 50} {
		inBubble(t, fmt.Sprint(n, " connects"), func(t *testing.T) {
			b := newBench(t)
			b.mustPing(t)
			b.store.latency = 10 * time.Millisecond
			b.startRotation("v2", "pw2")
			// The first look begins at once, and is answered after 5 ms.
			time.AfterFunc(7*time.Millisecond, func() { b.store.move("AWSCURRENT", "v2") })
			start := time.Now()
			b.mustPingTogether(t, n)
			wantBetween(t, "time", time.Since(start), 0, 50*time.Millisecond) // three looks
			b.wantFetches(t, "AWSPENDING", 1)
			b.wantFetches(t, "AWSCURRENT", 3) // the first, the look, and the one after AWSPENDING had gone
		})
	}
	inBubble(t, "not looked at again for as long as nothing changes", func(t *testing.T) {
		b := newBench(t, wrongPassword)
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(10 * time.Second) {
			isAuthFailed(t, b.ping(t.Context()), "v1")
		}
		pending, current := b.store.calls("AWSPENDING"), b.store.calls("AWSCURRENT")
		if current > pending+3 {
			t.Errorf("%d looks at AWSPENDING, %d at AWSCURRENT: more than one of them twice", pending, current)
		}
	})
}

// A burst from a cold start costs one login, also of those who come while the others
// look for another version.
func TestBurstFromAColdStart(t *testing.T) {
	for name, info := range infos {
		inBubble(t, name, func(t *testing.T) {
			var looks atomic.Int32 // at fall-back stages
			counted := withRefreshDone(func(i driver.RefreshInfo) {
				if i.Stage != "AWSCURRENT" {
					looks.Add(1)
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
			wantBetween(t, "looks at AWSPENDING", looks.Load(), 0, 2) // for all that were rejected together
		})
	}
}

// What one connect finds wakes those who wait for their next round.
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
		// By then refreshes are up to a minute apart.
		time.Sleep(2*time.Minute + 300*time.Millisecond)
		b.store.put("v2", credentials("app", "pw2"), "AWSCURRENT")
		b.cache.Invalidate("prod/app")
		b.mustPing(t)
		now := time.Now()
		if at := <-done; at.After(now) {
			t.Errorf("the one who waited went on %v after another had found the version", at.Sub(now))
		}
	})
}

// The error says what was tried, where, and how long it took.
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
