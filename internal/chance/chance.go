// Package chance makes the random choices of the library, so that a test can repeat them.
package chance

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// seeded is the generator that a test has set, or nil.
var seeded atomic.Pointer[generator]

type generator struct {
	mu  sync.Mutex
	rng *rand.Rand // guarded by mu
}

// UpTo returns a random duration in [0, limit). It returns 0 if limit is not positive.
func UpTo(limit time.Duration) time.Duration {
	switch g := seeded.Load(); {
	case limit <= 0:
		return 0
	case g != nil:
		g.mu.Lock()
		defer g.mu.Unlock()
		return time.Duration(g.rng.Int64N(int64(limit)))
	}
	return rand.N(limit)
}

// Seed makes UpTo return the same choices for the same seed, until undo is called. It is for tests.
func Seed(seed uint64) (undo func()) {
	seeded.Store(&generator{rng: rand.New(rand.NewPCG(seed, 0))})
	return func() { seeded.Store(nil) }
}
