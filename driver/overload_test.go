package driver_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Rotations are faster than a loaded server answers logins, so some calls fail. But no call waits for the next
// refresh, as it would after a refresh that found nothing, because each rotation moves the stage. And the
// errors say when the server rejected each version.
func TestRotationsFasterThanLogins(t *testing.T) {
	for _, latency := range []time.Duration{500 * time.Millisecond, time.Second, 3 * time.Second, 5 * time.Second} {
		for _, early := range []bool{true, false} {
			inBubble(t, fmt.Sprintf("%v, password checked early: %v", latency, early), func(t *testing.T) {
				b := newBench(t, withLatency(latency))
				b.mustPing(t)
				b.db.early = early
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for range 16 {
					wg.Go(func() { b.connectUntil(t, ctx, latency) })
				}
				for i := range 100 {
					version, password := fmt.Sprintf("v%d", i+2), fmt.Sprintf("pw%d", i+2)
					b.startRotation(version, password)
					time.Sleep(500 * time.Millisecond)
					b.store.move("AWSCURRENT", version)
					time.Sleep(time.Second)
				}
				stop()
				wg.Wait()
			})
		}
	}
}

// connectUntil connects until ctx ends, to a server whose logins take latency.
func (b *bench) connectUntil(t *testing.T, ctx context.Context, latency time.Duration) {
	for ctx.Err() == nil {
		err := b.ping(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case latency < time.Second:
			t.Errorf("Connect = %v", err)
		case strings.Contains(err.Error(), "wait for the next refresh"), strings.Contains(err.Error(), "h47m"):
			t.Errorf("Connect = %v", err)
		}
		_ = wait(ctx, 100*time.Millisecond)
	}
}
