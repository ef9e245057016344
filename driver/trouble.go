package driver

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// How long logins fail for other reasons than the credentials before the secret is
// looked at: from the first to the second, by chance. A failover is over by then, or
// does not make a fleet look together.
const troubleMin, troubleMax = time.Minute, 5 * time.Minute

// A trouble is a time in which no login gets as far as its credentials: the database
// is down, or it has moved.
type trouble struct {
	look atomic.Int64 // when a look is due: nanoseconds of the wall clock; 0 without trouble
}

// note says that a login failed.
func (t *trouble) note(now time.Time) {
	t.look.CompareAndSwap(0, now.Add(troubleMin+rand.N(troubleMax-troubleMin)).UnixNano())
}

// over says that a login succeeded.
func (t *trouble) over() {
	if t.look.Load() != 0 {
		t.look.Store(0)
	}
}

// lookDue reports whether the secret is to be looked at, if the cache finds so too.
func (t *trouble) lookDue(now time.Time) bool {
	look := t.look.Load()
	return look != 0 && now.UnixNano() >= look
}
