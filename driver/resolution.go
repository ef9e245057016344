package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A resolution finds a version that the server accepts, for all Connect calls that need one.
// It reads the stages in a goroutine of its own and offers each candidate to one waiter, who
// logs in and keeps the connection. No single waiter ends it; it ends when the last one leaves.
type resolution struct {
	resolver *resolver
	ctx      context.Context
	cancel   context.CancelFunc
	offers   chan offer // unbuffered: one waiter takes it
	done     chan struct{}

	// Guarded by resolver.mu:
	waiters    int
	retriesFor time.Time // begin of the last call that joined: retries that were due then are due
	over       bool
	result     result    // set once, before done is closed
	failure    *findings // likewise, if result is foundNothing
	reading    string    // the stage that is read, or empty
	trying     candidate // that is offered, or that a waiter logs in with; or zero

	// For its own goroutine:
	findings           // but resolver.mu guards the log
	rejected candidate // a refresh is to find another version than this
	tried    map[loginKey]bool
	moved    bool // the stage moved
}

// Findings are what a resolution has met so far. Where it found no version that the server
// accepts, they are the failure that its waiters and later calls get.
type findings struct {
	log      attemptLog
	current  candidate // that the stage names
	answered uint64    // calls up to this number joined before the last reading began
	moving   bool      // a version that nothing was known of was rejected: another resolution may find more
}

// A result is how a resolution ended.
type result int

const (
	deserted     result = iota // nobody waits any more, or Secrets does not answer
	found                      // the active version is accepted
	foundNothing               // failure says what was tried
	setFree                    // nothing is known of the active version: each waiter tries on its own
	stageMoved                 // another call saw the stage on another version
)

// An offer is a candidate for one waiter, who reports how the login ended.
type offer struct {
	candidate
	report chan<- report // buffered
}

type report struct {
	outcome outcome
	err     error // what the server said, or why the login failed
}

// run goes through the candidates until one is accepted. A panic, of a log handler or of
// Secrets, must not end the program: the waiters get it as an error.
func (s *resolution) run() {
	defer s.cancel()
	defer func() {
		if p := recover(); p != nil { // its text may hold a secret
			s.note(attempt{text: fmt.Sprintf("panic with a value of type %T", p)})
			s.settle(true)
		}
	}()
	again, due := s.resolver.begin(s)
	s.noteRejection(s.rejected)
	switch {
	case s.consider(s.current, false):
	case due && s.refreshAll(again):
	case !due && s.consider(s.current, true):
	default:
		s.fail(due)
	}
}

// refreshAll reads the stage and the fallback stages, and considers what they name. again:
// resolutions before found nothing, so nothing will do that was fetched before.
func (s *resolution) refreshAll(again bool) (over bool) {
	own := s.resolver.reader.stage
	_, err := s.refresh(own, again)
	if over = s.consider(s.current, true); over || err != nil {
		return over // if the source fails, other stages will not help
	}
	vanished := false // a stage that may have named a version before
	for _, stage := range s.resolver.fallbacks {
		c, err := s.refresh(stage, true)
		vanished = vanished || errors.Is(err, secretcache.ErrNoVersion)
		if err == nil && s.consider(c, true) {
			return true
		}
	}
	// A rotation that finished between the two readings took AWSPENDING away and gave its
	// version to the stage.
	if vanished && !again {
		_, err = s.refresh(own, true)
		return err == nil && s.consider(s.current, true)
	}
	return false
}

// errNothing is the error of a refresh that brought nothing, which the attempt log tells.
var errNothing = errors.New("nothing to log in with")

// refresh reads a stage, unless the resolution is over. With anew it is read past the cache.
func (s *resolution) refresh(stage string, anew bool) (candidate, error) {
	r := s.resolver
	ctx, cancel := s.ctx, context.CancelFunc(func() {})
	if r.timeout > 0 {
		ctx, cancel = context.WithTimeout(s.ctx, r.timeout)
	}
	defer cancel()
	// Secrets may ignore their context: then the waiters go on without this resolution.
	defer context.AfterFunc(ctx, func() { s.end(deserted) })()

	if !r.startReading(s, stage) {
		return candidate{}, errNothing
	}
	start, moves := time.Now(), r.moves.Load()
	c, err := r.reader.refresh(ctx, stage, s.rejected, anew)
	if !r.stopReading(s, moves, c) {
		return candidate{}, errNothing
	}
	r.reader.refreshed(s.ctx, stage, s.rejected, c, start, err)
	return c, s.noteReading(stage, c, err)
}

// noteReading adds to the attempt log what a reading did not bring. It returns an error if
// that was a candidate.
func (s *resolution) noteReading(stage string, c candidate, err error) error {
	switch {
	case errors.Is(err, secretcache.ErrNoVersion):
		s.note(attempt{text: stage + " names no version"})
	case err != nil && stage == s.resolver.reader.stage:
		s.note(attempt{text: "look for a newer version", err: err})
	case err != nil:
		a := attempt{text: stage + " could not be read", err: err, at: time.Now()}
		s.note(a)
		if errors.Is(err, secretcache.ErrAccessDenied) {
			s.resolver.deny(stage, a)
		}
	case c.id == s.rejected.id:
		s.note(attempt{text: stage + " names no other version"})
	case c.secret.Reveal() == "" && stage != s.resolver.reader.stage:
		// A rotation that failed can leave a stage on a version without a value.
		s.note(attempt{text: c.name() + " has no value"})
		return errNothing
	}
	return err
}

// consider offers a candidate to the waiters, unless it was tried in this resolution or is
// held back: it was rejected, and a retry is not due or not allowed.
func (s *resolution) consider(c candidate, retries bool) (over bool) {
	k, v, err := s.resolver.verdict(c)
	switch {
	case err != nil && s.isOwn(c):
		return s.end(setFree) // each waiter finds out for itself
	case err != nil:
		s.note(attempt{text: c.name(), err: plain(err)})
		return false
	case s.tried[k]:
		return false
	case v.state == verdictAccepted:
		return s.accept(c)
	case v.state == verdictRejected && !(retries && s.retryDue(v)):
		s.noteRejection(c)
		return false
	}
	s.tried[k] = true
	return s.conclude(c, k, v.state == verdictUnknown)
}

// conclude offers a candidate and notes what came of it.
func (s *resolution) conclude(c candidate, k loginKey, unknown bool) (over bool) {
	got, ok := s.offer(c)
	switch {
	case !ok || got.outcome == accepted:
		return true // the waiter has told the resolver
	case got.outcome == heldBack:
		s.noteRejection(c) // by another login, while this one waited for its turn
	case got.outcome == rejected:
		s.moving = s.moving || unknown && c.id != s.rejected.id
		s.note(rejectedAttempt(c, k, verdict{err: got.err}))
	case !s.isOwn(c):
		s.note(attempt{text: c.name(), err: plain(got.err), key: k, version: c.version(), open: got.outcome == failed})
	case unknown:
		return s.end(setFree)
	}
	return false // if a retry failed, that is the business of the call that sent it
}

// isOwn reports whether c is the stage's own version, and not a fallback stage's.
func (s *resolution) isOwn(c candidate) bool { return c.stage == s.resolver.reader.stage }

// offer gives a candidate to one waiter after the other, until one reports what the server
// said. ok is false if the resolution is over.
func (s *resolution) offer(c candidate) (got report, ok bool) {
	s.setTrying(c)
	defer s.setTrying(candidate{})
	for {
		reports := make(chan report, 1)
		select {
		case s.offers <- offer{c, reports}:
		case <-s.ctx.Done():
			return report{}, false
		}
		select {
		case got = <-reports:
		case <-s.ctx.Done():
			return report{}, false
		}
		if got.outcome != abandoned {
			return got, true
		}
	}
}

func (s *resolution) setTrying(c candidate) {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	s.trying = c
}

// retryDue reports whether a retry was due when the last call that joined began. A call must
// not send one because it waited for a refresh that found nothing.
func (s *resolution) retryDue(v verdict) bool {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	return v.pause.Wait(s.retriesFor) == 0
}

// note adds to the attempt log.
func (s *resolution) note(a attempt) {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	s.log = s.log.add(a)
}

// noteRejection adds to the attempt log that a version is rejected, if it is.
func (s *resolution) noteRejection(c candidate) {
	if k, v, _ := s.resolver.verdict(c); v.state == verdictRejected && !s.log.has(k) {
		s.note(rejectedAttempt(c, k, v))
	}
}

// accept ends the resolution: the server accepts c. The waiter that logged in calls it.
func (s *resolution) accept(c candidate) (over bool) {
	r := s.resolver
	text := "found a version that the server accepts"
	if !s.isOwn(c) {
		text = "the server accepted a fall-back version"
	}
	log, _, _, _ := r.progress(s)
	if r.accepted(s, c) && len(log) > 0 {
		r.reader.log.InfoContext(s.ctx, text, "stage", c.stage, "version", c.version())
	}
	return true
}

// fail ends the resolution without a version. It logs that first: when the waiters go on,
// the record is written.
func (s *resolution) fail(read bool) {
	if s.ctx.Err() == nil {
		s.resolver.reader.log.WarnContext(s.ctx, "no version of the secret is accepted", "version", s.current.version(),
			"error", s.log.text(time.Time{}, time.Now()))
	}
	s.settle(read)
}

// settle ends the resolution without a version, with a pause until the next refresh if it
// read the secret.
func (s *resolution) settle(read bool) {
	r := s.resolver
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.over {
		return
	}
	if read && !(s.moved && s.moving) {
		r.pause = r.pause.Next(time.Now(), refreshBase, refreshMax)
	}
	f := s.findings // a copy, which does not keep the resolution's context
	s.failure, r.failure = &f, &f
	r.end(s, foundNothing)
}

// end ends the resolution.
func (s *resolution) end(as result) (over bool) {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	s.resolver.end(s, as)
	return true
}
