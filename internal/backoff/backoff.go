// Package backoff spaces attempts that do not succeed.
package backoff

import (
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

// A Backoff says when the next attempt is due. Nil allows one at once. It is
// immutable.
type Backoff struct {
	n   int // attempts without success
	due time.Time
}

// Next returns the backoff after one more attempt without success, at since: base,
// doubled for each attempt before it and limit at most, less up to a quarter by
// chance, but base at least.
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

// Wait returns how long it is until the next attempt is due, zero if it is.
func (b *Backoff) Wait(now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	return max(0, b.due.Sub(now))
}

// Jitter returns d less up to a quarter by chance, so that those who began together
// do not go on together.
func Jitter(d time.Duration) time.Duration { return d - chance.UpTo(d/4+1) }
