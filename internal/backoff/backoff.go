// Package backoff spaces attempts that do not succeed.
package backoff

import (
	"math/rand/v2"
	"time"
)

// A Backoff says when the next attempt is due. The zero value allows one at once.
// It is not safe for use by several goroutines.
type Backoff struct {
	n  int // attempts without success
	at time.Time
}

// Fail notes an attempt without success: the next is due after base, doubled for
// each attempt before it, max at most, less up to a quarter by chance.
func (b *Backoff) Fail(now time.Time, base, max time.Duration) {
	d := max
	if b.n < 32 && base < max>>b.n {
		d = base << b.n
	}
	b.n++
	b.at = now.Add(Jitter(d))
}

// Jitter returns d less up to a quarter by chance, so that callers that began
// together do not go on together.
func Jitter(d time.Duration) time.Duration { return d - rand.N(d/4+1) }

// Wait returns how long it is until the next attempt is due, zero if it is.
func (b *Backoff) Wait(now time.Time) time.Duration {
	return max(0, b.at.Sub(now))
}

// Due returns when the next attempt is due; zero if none has failed.
func (b *Backoff) Due() time.Time { return b.at }
