package driver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	// The pause after a resolution that read the secret and found nothing, until the
	// secret is read again: from the first to the second, doubling.
	refreshBase, refreshMax = time.Second, 30 * time.Second
	// A Connect call waits for the next resolution if that is due within refreshWait.
	refreshWait = time.Second
	// How long a fallback stage that the program may not read is left alone.
	deniedPause = 10 * time.Minute
)

// A resolver knows which version of the secret new connections log in with, the active
// version: the stage's, or one of a fallback stage that the server accepted while it
// rejected the stage's. A Connect call that cannot log in with it joins the resolution,
// of which there is one at a time.
type resolver struct {
	reader    *reader
	gate      *gate
	locate    func(candidate) (loginKey, error) // reads a version's JSON
	fallbacks []string                          // stages
	timeout   time.Duration                     // of one reading; 0 = none

	moves atomic.Uint64 // how often the stage has been seen to move; written under mu

	mu       sync.Mutex
	current  candidate   // that the stage named when it was last read
	fallback candidate   // the active version, if that is not current; else zero
	running  *resolution // or nil
	failure  *failure    // what the last resolution says that found nothing; nil if there is news since
	pause    *backoff.Backoff
	denied   map[string]time.Time // until when a fallback stage is left alone
	joins    uint64               // number of the call that joined last
	news     chan struct{}        // closed when the stage moves, or the server accepts a version that it did not
}

// A failure is what a resolution says that found no version that the server accepts.
type failure struct {
	log      attemptLog
	current  candidate // that the stage named at the end
	also     error     // why no other version could be looked for, or nil
	other    error     // why a login failed that was not rejected, or nil
	culprit  candidate // of that login
	answered uint64    // the calls up to this number joined before the last reading began
	moving   bool      // the secret changed meanwhile: another resolution may find more
}

func newResolver(r *reader, g *gate, fallbacks []string, timeout time.Duration, locate func(candidate) (loginKey, error)) *resolver {
	return &resolver{
		reader: r, gate: g, locate: locate, fallbacks: fallbacks, timeout: max(0, timeout),
		denied: map[string]time.Time{}, news: make(chan struct{}),
	}
}

// observe notes which version the stage names, and returns the active version. moves is
// the number of moves before the secret was read: observe reports false, and notes
// nothing, if the stage has moved since, because what was read may be older.
func (r *resolver) observe(moves uint64, c candidate) (active candidate, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok = r.see(moves, c, nil)
	return r.active(), ok
}

// observed is observe for one who wants to know whether the stage has moved.
func (r *resolver) observed(moves uint64, c candidate) (moved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	moved, _ = r.see(moves, c, nil)
	return moved
}

// see is observe. A move ends the resolution that is running, unless that has seen it:
// then by is not nil. r.mu is held.
func (r *resolver) see(moves uint64, c candidate, by *resolution) (moved, ok bool) {
	switch {
	case c.id == r.current.id:
		r.current = c
		return false, true
	case moves != r.moves.Load():
		return false, false
	case r.current.id == "":
		r.gate.stageIs(c.id)
	default:
		r.gate.stageMoved(c.id)
	}
	r.current, r.fallback, r.failure, r.pause = c, candidate{}, nil, nil
	r.moves.Add(1)
	r.tell()
	if r.running != nil && r.running != by {
		r.end(r.running, result{kind: stageMoved})
	}
	return true, true
}

// tell wakes those who wait for news. r.mu is held.
func (r *resolver) tell() {
	close(r.news)
	r.news = make(chan struct{})
}

// active returns the version that new connections log in with. r.mu is held.
func (r *resolver) active() candidate {
	if r.fallback.secret != nil {
		return r.fallback
	}
	return r.current
}

// use returns the active version.
func (r *resolver) use() candidate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.active()
}

// rejected says that the server rejected a version.
func (r *resolver) rejected(c candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.id == r.fallback.id {
		r.fallback = candidate{}
	}
}

// accepted says that the server accepted a version that it had not accepted before. That
// does not make the next refresh due: a server that lags behind would cause one each time
// it is dialled.
func (r *resolver) accepted(c candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.id != r.active().id {
		return
	}
	r.failure = nil
	r.tell()
	if r.running != nil {
		r.end(r.running, result{kind: found})
	}
}

// join makes a Connect call, which began at began and may not log in with used, a waiter of
// the resolution, and begins one if none is running. If the last one found nothing and it
// is too early for another, it returns that failure instead, and how long it is until the
// secret may be read again.
func (r *resolver) join(ctx context.Context, began time.Time, used candidate) (s *resolution, number uint64, f *failure, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s = r.running
	if s == nil {
		wait = r.pause.Wait(time.Now())
		if r.failure != nil && wait > 0 && (canWait(ctx, wait) || r.retryWait(began) > 0) {
			return nil, 0, r.failure, wait
		}
		s = newResolution(ctx, r, used)
		s.retriesFor = began
		r.running = s
		go s.run()
	}
	r.joins++
	s.waiters++
	if began.After(s.retriesFor) {
		s.retriesFor = began
	}
	return s, r.joins, nil, 0
}

// canWait reports whether a call waits for the next refresh: it is due soon, and before
// ctx's deadline.
func canWait(ctx context.Context, wait time.Duration) bool {
	end, ok := ctx.Deadline()
	return wait <= refreshWait && !(ok && end.Before(time.Now().Add(wait)))
}

// retryWait returns how long after began a retry with the active version is due. r.mu is
// held.
func (r *resolver) retryWait(began time.Time) time.Duration {
	k, err := r.locate(r.active())
	if err != nil {
		return 0
	}
	return r.gate.retryWait(k, began)
}

// leave is the end of join.
func (r *resolver) leave(s *resolution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.waiters--
	if s.waiters == 0 {
		r.end(s, result{kind: deserted})
	}
}

// progress returns what a resolution has tried, what it is doing, and the version that the
// stage names.
func (r *resolver) progress(s *resolution) (log attemptLog, reading string, trying, current candidate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.log, s.reading, s.trying, r.current
}

// end ends a resolution: its waiters go on, and what it reads is given up. Later calls do
// nothing. r.mu is held.
func (r *resolver) end(s *resolution, res result) {
	if s.over {
		return
	}
	s.over, s.result = true, res
	if r.running == s {
		r.running = nil
	}
	close(s.done)
	s.cancel()
}

// nextDue returns how long it is until the next resolution is due.
func (r *resolver) nextDue() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	return min(r.pause.Wait(now), r.retryWait(now))
}

// newsChannel returns a channel that is closed when the stage moves, or the server accepts
// a version that it did not.
func (r *resolver) newsChannel() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.news
}

// isSuperseded reports whether a version is neither the stage's nor the active one; proven
// whether the server accepts one that is.
func (r *resolver) isSuperseded(version string) (superseded, proven bool) {
	r.mu.Lock()
	current, active := r.current.id, r.active().id
	r.mu.Unlock()
	if version == current || version == active {
		return false, false
	}
	return true, r.gate.acceptsAny(current, active)
}

// rotating reports whether the active version is a fallback stage's.
func (r *resolver) rotating() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fallback.secret != nil
}

// peek reads the stage and notes which version it names. In a rotation it reads past the
// cache: what that has until its TTL is rejected.
func (r *resolver) peek(ctx context.Context, rotating bool) {
	secrets, err := r.reader.open(ctx)
	if err != nil {
		return
	}
	moves := r.moves.Load()
	r.mu.Lock()
	current := r.current
	r.mu.Unlock()
	var s *secretcache.Secret
	if rotating {
		s, err = secrets.Refresh(ctx, r.reader.id, r.reader.stage, current.secret)
	} else {
		s, err = secrets.Get(ctx, r.reader.id, r.reader.stage)
	}
	if err == nil {
		r.observed(moves, r.reader.candidate(s, r.reader.stage))
	}
}
