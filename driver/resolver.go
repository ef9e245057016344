package driver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
)

const (
	// The pause between a resolution that read the secret and found nothing, and the next reading.
	// It begins at refreshBase and doubles up to refreshMax. So a program that asks every few
	// seconds works again within a minute after the end of a fault.
	refreshBase, refreshMax = time.Second, 55 * time.Second
	// A Connect call waits for the next resolution if that is due within refreshWait.
	refreshWait = time.Second
	// After access to a fallback stage was denied, the stage is not read for this long.
	deniedPause = 10 * time.Minute
	// If Secrets does not return when its context ends, the callers give up after this time.
	abandonAfter = 100 * time.Millisecond
)

// A resolver knows the active version, with which new connections log in. It is the stage's version,
// or a fallback stage's version that the server has accepted while it rejected the stage's. A Connect
// call that cannot log in with the active version joins the resolution. There is one resolution at a
// time.
type resolver struct {
	reader    *reader
	gate      *gate
	fallbacks []string      // stages
	timeout   time.Duration // of one reading; 0 or negative means none

	moves    atomic.Uint64            // how often the stage has been seen to move; written under mu
	versions atomic.Pointer[versions] // nil before the first reading; see use and set

	mu       sync.Mutex
	running  *resolution        // or nil
	failure  *findings          // of the last resolution, if that found nothing and nothing has changed since; or nil
	pause    *backoff.Backoff   // until the next refresh
	searched bool               // since the pause began, a resolution has read the fallback stages
	denied   map[string]attempt // by fallback stage, the reading to which access was denied
	joins    uint64             // number of the call that joined last
	news     chan struct{}      // closed when the stage moves, or when the server accepts a version
}

// versions are the two versions that a resolver knows. They are immutable.
type versions struct {
	active  candidate // new connections log in with it: current, or a fallback stage's
	current candidate // the stage named it when it was last read
}

// use returns the active version, and the version that the stage names. It takes no lock.
func (r *resolver) use() (active, current candidate) {
	if v := r.versions.Load(); v != nil {
		return v.active, v.current
	}
	return candidate{}, candidate{}
}

// set sets what use returns. r.mu is held.
func (r *resolver) set(active, current candidate) { r.versions.Store(&versions{active, current}) }

// observe records that the stage names c. moves is the value of r.moves before c was read. If the
// stage has moved since, c may be out of date: ok is false, and nothing is recorded. moved reports
// whether the stage moved to c.
func (r *resolver) observe(moves uint64, c candidate) (moved, ok bool) {
	if v := r.versions.Load(); v != nil && v.current.secret == c.secret {
		return false, true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.see(moves, c, nil)
}

// see does the work of observe. If the stage moved, it ends the running resolution, unless that is by,
// the resolution that has read c. by may be nil. r.mu is held.
func (r *resolver) see(moves uint64, c candidate, by *resolution) (moved, ok bool) {
	if active, current := r.use(); c.id == current.id {
		if active.id == current.id {
			active = c
		}
		r.set(active, c)
		return false, true
	}
	if moves != r.moves.Load() {
		return false, false
	}
	r.gate.stageMoved(c.id)
	r.set(c, c)
	r.failure, r.pause = nil, nil
	r.moves.Add(1)
	r.tell()
	if s := r.running; s != nil && s != by && s.trying.id != c.id { // otherwise it is trying c already
		r.end(s, stageMoved)
	}
	return true, true
}

// tell wakes the calls that wait for news. r.mu is held.
func (r *resolver) tell() {
	close(r.news)
	r.news = make(chan struct{})
}

// rejected is called when the server has rejected a version.
func (r *resolver) rejected(c candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if active, current := r.use(); c.id == active.id && c.id != current.id {
		r.set(current, current)
	}
}

// accepted is called when the server has accepted a version. s is the resolution that offered it; if s
// is nil or over, a call has logged in on its own. accepted ends the running resolution. first reports
// whether that was s, and s had tried something else before. The pause stays, except for a fallback
// version. Otherwise a server that lags behind would cause a refresh at each login.
func (r *resolver) accepted(s *resolution, c candidate) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ours := s != nil && !s.over
	switch active, current := r.use(); {
	case ours && c.id != current.id:
		r.set(c, current)
		r.pause = nil
	case ours:
		r.set(current, current)
	case c.id != active.id:
		return false
	}
	r.failure = nil
	r.tell()
	if r.running != nil {
		r.end(r.running, found)
	}
	return ours && len(s.log) > 0
}

// A membership is what a Connect call gets from join. Either it is a waiter of the resolution, or, if
// the last resolution found nothing and the next one is not due, it has the failure of the last one.
type membership struct {
	resolution *resolution
	number     uint64 // of the call

	failure *findings
	wait    time.Duration   // until the next refresh is due
	news    <-chan struct{} // closed when the call should stop waiting earlier
}

// join makes a Connect call a waiter of the resolution, and begins a resolution if none is running. The
// call may not log in with used. The membership is empty if the server has accepted another version
// by now; the call may log in with that.
func (r *resolver) join(ctx context.Context, began time.Time, used candidate) membership {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.running
	if s == nil {
		if c, _ := r.use(); c.id != used.id && r.gate.verdict(c.key()).state == verdictAccepted {
			return membership{}
		}
		wait := r.pause.Wait(time.Now())
		if r.failure != nil && wait > 0 && (canWait(ctx, wait) || r.retryWait(began) > 0) {
			return membership{failure: r.failure, wait: wait, news: r.news}
		}
		s = &resolution{resolver: r, offers: make(chan offer), done: make(chan struct{}), rejected: used, tried: map[loginKey]bool{}}
		s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
		r.running = s
		go s.run(s.begin())
	}
	r.joins++
	s.waiters++
	if began.After(s.retriesFor) {
		s.retriesFor = began
	}
	return membership{resolution: s, number: r.joins}
}

// canWait reports whether a call should wait for the next refresh, because that is due soon and before
// the deadline of ctx.
func canWait(ctx context.Context, wait time.Duration) bool {
	end, ok := ctx.Deadline()
	return wait <= refreshWait && !(ok && end.Before(time.Now().Add(wait)))
}

// leave removes a waiter. When the last one leaves, the resolution ends.
func (r *resolver) leave(s *resolution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.waiters--; s.waiters == 0 {
		r.end(s, deserted)
	}
}

// end ends a resolution. Its waiters go on, and a reading that is under way is given up. A second end
// does nothing. r.mu is held.
func (r *resolver) end(s *resolution, as result) {
	if s.over {
		return
	}
	s.over, s.result = true, as
	if r.running == s {
		r.running = nil
	}
	close(s.done)
	s.cancel()
}

// retryWait returns how long after at a retry with the active version is due.
func (r *resolver) retryWait(at time.Time) time.Duration {
	active, _ := r.use()
	return r.gate.verdict(active.key()).pause.Wait(at)
}

// nextDue returns the time until the next refresh or retry is due.
func (r *resolver) nextDue() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	return min(r.pause.Wait(now), r.retryWait(now))
}

// nextNews returns a channel that is closed when a call may succeed before nextDue.
func (r *resolver) nextNews() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.news
}
