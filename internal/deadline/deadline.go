// Package deadline has helpers for the deadline of a context.
package deadline

import (
	"context"
	"time"
)

// Err returns the same as ctx.Err, except that it returns context.DeadlineExceeded as soon as the
// deadline has passed. The timer of a dialer may fire a moment before that of the context.
func Err(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) && ctx.Err() == nil {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// Sleep waits for d, or until ctx ends. It returns ctx.Err().
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
