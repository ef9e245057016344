// Package clock measures how much time has passed, including the time for which the machine was
// frozen.
package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Clock counts the time since it was made. It never goes back, even if somebody sets the wall
// clock. Unlike the monotonic clock, it counts the time for which the machine was frozen, for
// example a Lambda function between two calls or a laptop with its lid closed. A Clock learns about
// that from the wall clock, which it reads at most once a second.
//
// A Clock may be used from several goroutines at once.
type Clock struct {
	start  time.Time
	frozen atomic.Int64 // nanoseconds for which the machine was frozen
	due    atomic.Int64 // when the wall clock is read next, in nanoseconds of the monotonic clock

	mu         sync.Mutex
	mono, wall time.Duration // both clocks when the wall clock was read last; guarded by mu
}

const (
	readEvery = time.Second // between two readings of the wall clock, by the monotonic clock
	// The wall clock has to gain this much on the monotonic clock between two readings to count as
	// a freeze. A smaller gain is the drift of two clocks.
	leastFreeze = time.Second
)

// New returns a Clock that starts at zero.
func New() *Clock {
	now := time.Now()
	c := &Clock{start: now, wall: wall(now)}
	c.due.Store(int64(readEvery))
	return c
}

// Now returns the time since the Clock was made.
func (c *Clock) Now() time.Duration {
	mono := time.Since(c.start) // reads only the monotonic clock
	if int64(mono) >= c.due.Load() {
		c.readWall(time.Now())
	}
	return mono + time.Duration(c.frozen.Load())
}

// Exact reads the wall clock and then returns the same as Now. Use it for the time at which
// something is made whose age is measured later, because a freeze immediately before that is no
// part of its age. now is time.Now().
func (c *Clock) Exact(now time.Time) time.Duration {
	c.readWall(now)
	return now.Sub(c.start) + time.Duration(c.frozen.Load())
}

// readWall reads the wall clock. It adds the time that the wall clock has gained on the monotonic
// clock to frozen.
func (c *Clock) readWall(now time.Time) {
	if !c.mu.TryLock() {
		return // another goroutine is reading it
	}
	defer c.mu.Unlock()
	mono, wall := now.Sub(c.start), wall(now)
	if gained := (wall - c.wall) - (mono - c.mono); gained >= leastFreeze {
		c.frozen.Add(int64(gained))
	}
	c.mono, c.wall = mono, wall
	c.due.Store(int64(mono + readEvery))
}

func wall(t time.Time) time.Duration {
	return time.Duration(t.UnixNano() + stepped.Load())
}

// stepped is the time that tests have added to the wall clock, in nanoseconds.
var stepped atomic.Int64

// Step sets the wall clock of all Clocks forward by d, or back if d is negative. It is for tests,
// because the wall clock of a synctest bubble cannot be set.
func Step(d time.Duration) { stepped.Add(int64(d)) }
