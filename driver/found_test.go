package driver_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Connect calls that wait for the next refresh go on when another call has found a version that works.
func TestCallsThatCanLogInDoNotWaitForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		b.store.latency = 20 * time.Millisecond
		start := time.Now()
		var wg sync.WaitGroup
		for range 10 { // all are in flight when the first login is rejected; then they are rejected one after the other
			wg.Go(func() { b.wantPing(t) })
			time.Sleep(3 * time.Millisecond)
		}
		wg.Wait()
		// A refresh, a refresh of the fallback stage, and the pauses between the Connect calls.
		wantBetween(t, "time", time.Since(start), 0, 100*time.Millisecond)
	})
}

// The same holds for a Connect call that has read the version from before the last rotation. The
// fallback version that is active is the one that works.
func TestCallsWithAnOlderVersionDoNotWaitForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		b.mustPing(t) // v2 is active, v1 is cached
		b.store.move("AWSCURRENT", "v2")
		time.Sleep(time.Minute)

		b.startRotation("v3", "pw3")
		b.db.latency = func(n int) time.Duration { return time.Duration(10+n) * time.Millisecond }
		start := time.Now()
		for _, err := range b.together(t.Context(), 10) { // they are rejected one after the other
			if err != nil {
				t.Error(err)
			}
		}
		wantBetween(t, "time", time.Since(start), 0, 100*time.Millisecond)
	})
}

// If AWSPENDING has gone, the current version is read once more, even if an earlier resolution could not
// read the stages at all.
func TestRotationFinishesBetweenTheReadingsAfterTheSourceFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mustPing(t)
		b.startRotation("v2", "pw2")
		b.store.setFault(func(context.Context, string) error { return errors.New("HTTP status 500") })
		isAuthFailed(t, b.ping(t.Context()), "v1")
		b.store.setFault(nil)
		b.store.latency = 10 * time.Millisecond
		time.Sleep(time.Second)
		// The first reading begins at once, and is answered after 5 ms.
		time.AfterFunc(7*time.Millisecond, func() { b.store.move("AWSCURRENT", "v2") })
		b.wantPing(t)
	})
}
