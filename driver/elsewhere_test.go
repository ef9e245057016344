package driver_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A directory that is down gives the same error as a wrong password, and a directory that is up may lock the
// account.
func TestPauseBeginsAt30sWhereAnotherServerChecksThePassword(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(b *bench, _ *string) {
			b.engine.elsewhere = true
			b.db.set("app", "other")
		})
		for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(time.Second) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			isAuthFailed(t, b.ping(ctx), "v1")
			cancel()
		}
		log, want := b.db.log(), 30*time.Second
		for i := 1; i < len(log); i++ {
			if got := log[i].begin.Sub(log[i-1].end); got < want*3/4 || i == 1 && got < want || got > want+2*time.Second {
				t.Errorf("pause %d is %v, want %v, less up to a quarter except for the first", i, got, want)
			}
			want = min(2*want, 5*time.Minute)
		}
		if len(log) < 4 || len(log) > 7 {
			t.Errorf("%d logins in 10 minutes", len(log))
		}
	})
}
