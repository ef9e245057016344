// Package deadline tells whether a context has ended before the context knows it, and
// waits no longer than a context lasts.
package deadline

import (
	"context"
	"time"
)

// Err returns what ctx.Err does, or context.DeadlineExceeded once the deadline has
// passed: a dialer's own timer may be a moment ahead of the context's.
func Err(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) && ctx.Err() == nil {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// Sleep waits for d, or until ctx ends. Its error is ctx's.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
