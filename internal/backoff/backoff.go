// Package backoff puts growing pauses between attempts that fail.
package backoff

import (
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

// A Backoff says when the next attempt is due. A nil Backoff allows an attempt at once. A Backoff
// is immutable.
type Backoff struct {
	n   int // attempts that failed
	due time.Time
}

// Next returns the Backoff after one more attempt that failed, at the time since. The pause is
// base, doubled for each earlier attempt, and at most limit. Then it is shortened by a random time
// of up to a quarter, but is never below base.
func (b *Backoff) Next(since time.Time, base, limit time.Duration) *Backoff {
	n := 0
	if b != nil {
		n = b.n
	}
	d := limit
	if n < 32 && base < limit>>n {
		d = base << n
	}
	return &Backoff{n + 1, since.Add(max(base, Jitter(d)))}
}

// Wait returns the time until the next attempt is due. It returns zero if the attempt is due now.
func (b *Backoff) Wait(now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	return max(0, b.due.Sub(now))
}

// Jitter returns d, shortened by a random time of up to a quarter, so that processes that began
// together do not continue together.
func Jitter(d time.Duration) time.Duration { return d - chance.UpTo(d/4+1) }
