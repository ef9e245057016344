package driver_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// sent returns how many logins were sent with a password.
func (db *database) sent(password string) (n int) {
	for _, l := range db.log() {
		if l.password == password {
			n++
		}
	}
	return n
}

// otherStages returns the fallback stages S1 to Sn.
func otherStages(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("S%d", i+1))
	}
	return names
}

// newBenchOfStages returns a connector with those fallback stages, whose database rejects
// every version.
func newBenchOfStages(t *testing.T, stages []string, setup ...func(*bench, *string)) *bench {
	return newBench(t, append(setup, wrongPassword, withDSN("prod/app?fallback="+strings.Join(stages, ",")))...)
}

// hasOtherVersions gives each of the stages its own version, with a wrong password.
func (b *bench) hasOtherVersions(stages []string) {
	for _, stage := range stages {
		b.store.put("version of "+stage, credentials("app", "password of "+stage), stage)
	}
}

// A login is sent before the stage moves to its version, and rejected after that. The rejection does not
// count, because the database may have got the password in between.
func TestRejectionFromBeforeTheStageMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
		b.db.set("app", "pw0") // neither version has this password
		b.db.early = true
		b.db.latency = func(int) time.Duration { return 100 * time.Millisecond }
		b.db.setFault(func(_ context.Context, l *login) error {
			if l.n == 2 { // the first login with v2
				time.Sleep(100 * time.Millisecond)
				return &vendorError{codeRejected, "access denied for user app"}
			}
			return nil
		})
		var wg sync.WaitGroup
		wg.Go(func() { b.wantPing(t) })    // the call that tried v2 too early
		time.Sleep(150 * time.Millisecond) // v1 was rejected, a login with v2 is under way
		b.db.set("app", "pw2")
		b.store.move("AWSCURRENT", "v2")
		b.cache.Invalidate("prod/app")
		start := time.Now()
		b.wantPing(t) // this call sees the stage move
		wg.Wait()
		wantBetween(t, "time", time.Since(start), 0, 1500*time.Millisecond)
	})
}

// Three logins with a version that the server has accepted are in flight. The stage moves to that version,
// because a rotation has finished. The next rotation has begun, so the logins are rejected. That counts: the
// call that waits for its turn sends no fourth login.
func TestRejectionCountsIfTheStageMovesToAnAcceptedVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
		b.db.set("app", "pw2")
		b.wantPing(t) // the server accepts v2 as a fallback version
		b.store.move("AWSCURRENT", "v2")
		b.store.put("v3", credentials("app", "pw3"), "AWSPENDING")
		b.db.set("app", "pw3")
		before := b.db.sent("pw2")
		b.db.latency = func(int) time.Duration { return 100 * time.Millisecond }
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { b.wantPing(t) })
		}
		time.Sleep(50 * time.Millisecond)
		b.cache.Invalidate("prod/app")
		wg.Go(func() { b.wantPing(t) }) // this call sees the stage move
		wg.Wait()
		if n := b.db.sent("pw2") - before; n != 3 {
			t.Errorf("%d logins with the rejected version, want the 3 that were in flight", n)
		}
	})
}

// The version that the stage names is not sent again before its pause is over, however many other
// versions are rejected.
func TestManyRejectedVersionsDoNotBringTheCurrentOneBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stages := otherStages(100)
		b := newBenchOfStages(t, stages, withLatency(5*time.Millisecond))
		b.hasOtherVersions(stages)
		isAuthFailed(t, b.ping(t.Context()), "v1")
		wantEqual(t, "logins", b.logins(), 101)                  // one login with each version
		isAuthFailed(t, b.pingFor(t, 20*time.Millisecond), "v1") // within half a second of the first login
		wantEqual(t, "logins with the current version", b.db.sent("pw1"), 1)
	})
}

// If there are more versions than the gate remembers, it forgets those with a short pause first.
func TestLongPausesAreRememberedLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stages := otherStages(40)
		b := newBenchOfStages(t, append([]string{"AWSPENDING"}, stages...))
		b.store.put("v2", credentials("app", "pw2"), "AWSPENDING")
		try := func() {
			_ = b.pingFor(t, 10*time.Millisecond)
			time.Sleep(time.Second)
		}
		for b.db.sent("pw2") < 8 { // until the next pause is about two minutes
			try()
		}
		b.hasOtherVersions(stages)
		for range 70 {
			try()
		}
		if n := b.db.sent("password of S40"); n == 0 {
			t.Fatal("the versions of the other stages were not tried")
		}
		wantEqual(t, "logins with the pending version", b.db.sent("pw2"), 8)
	})
}

// If the gate remembers all versions, it tries each version as seldom as a single one.
func TestVersionsOfManyStagesAreTriedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stages := otherStages(31)
		b := newBenchOfStages(t, stages)
		b.hasOtherVersions(stages)
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(5 * time.Second) {
			isAuthFailed(t, b.pingFor(t, 10*time.Millisecond), "v1")
		}
		for _, stage := range stages {
			if n := b.db.sent("password of " + stage); n < 2 || n > 26 {
				t.Errorf("%d logins with the version of %s in an hour, want 26 at most", n, stage)
			}
		}
	})
}

// A login that hangs counts for MaxLogins until it ends, however many versions have been current
// meanwhile.
func TestHangingLoginKeepsItsPlaceInMaxLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) {
			b.opts.MaxLogins = 1
			b.opts.ConnectTimeout = -1
		})
		b.mustPing(t)
		release := make(chan struct{})
		b.db.setFault(forLogin(1, func(context.Context, *login) error { <-release; return nil }))
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.ping(t.Context()) })
		synctest.Wait()
		for i := range 50 {
			b.rotate(fmt.Sprintf("v%d", i+2), fmt.Sprintf("pw%d", i+2))
			b.cache.Invalidate("prod/app")
			b.mustPing(t)
		}
		b.store.move("AWSCURRENT", "v1")
		b.db.set("app", "pw1")
		b.cache.Invalidate("prod/app")
		wg.Go(func() { b.wantPing(t) })
		time.Sleep(time.Minute)
		wantEqual(t, "logins with v1 while the second one hangs", b.db.sent("pw1"), 2)
		close(release)
		wg.Wait()
		wantEqual(t, "logins with v1 after the second one ended", b.db.sent("pw1"), 3)
	})
}

// However long the password has been wrong, a new version is found within a minute.
func TestNewVersionIsFoundWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		try := func() error { return b.pingFor(t, 10*time.Millisecond) }
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(time.Second) {
			isAuthFailed(t, try(), "v1")
		}
		b.rotate("v2", "pw2")
		var err error
		start := time.Now()
		for time.Since(start) <= longestPause+time.Second {
			if err = try(); err == nil {
				return
			}
			time.Sleep(time.Second)
		}
		t.Errorf("after %v: %v", time.Since(start), err)
	})
}

// After the server has accepted a fallback version, pauses begin at 1 s again. So after the next change
// of the password, a new version is found within two seconds.
func TestPausesAreShortAgainAfterAFallbackVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, wrongPassword)
		try := func() error { return b.pingFor(t, 10*time.Millisecond) }
		for range 600 {
			isAuthFailed(t, try(), "v1")
			time.Sleep(time.Second)
		}
		b.startRotation("v2", "pw2")
		for start := time.Now(); try() != nil; time.Sleep(time.Second) {
			if time.Since(start) > time.Minute {
				t.Fatal("the pending version was not found")
			}
		}
		b.db.set("app", "pw3")
		if err := try(); !errors.Is(err, driver.ErrAuthFailed) {
			t.Fatalf("got %v, want ErrAuthFailed", err)
		}
		b.store.put("v3", credentials("app", "pw3"), "AWSPENDING")
		time.Sleep(2 * time.Second)
		if err := try(); err != nil {
			t.Errorf("two seconds later: %v", err)
		}
	})
}

// A rejection counts even if it arrives after the deadline of the call.
func TestRejectionThatArrivesLateCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.db.setFault(func(ctx context.Context, _ *login) error {
			<-ctx.Done() // the answer arrives when the context has ended
			return &vendorError{codeRejected, "access denied for user app"}
		})
		for range 5 {
			_ = b.pingFor(t, 50*time.Millisecond)
		}
		wantEqual(t, "logins", b.logins(), 1) // the server rejected the version
	})
}
