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

	// Guarded by resolver.mu, which the resolution's goroutine holds unless it reads, waits
	// for a waiter, or calls the program's trace and log.
	waiters    int
	retriesFor time.Time // when the round of the latest waiter began; a retry whose pause was over then is due
	over       bool
	result     result    // set once, before done is closed
	failure    *findings // likewise, if result is foundNothing
	reading    string    // the stage that is read, or empty
	trying     candidate // that is offered, or that a waiter logs in with; or zero
	findings
	rejected candidate // a refresh is to find another version than this
	tried    map[loginKey]bool
	moved    bool // the stage moved
	searched bool // a resolution since the pause began has read the fallback stages, too
}

// Findings are what a resolution has met so far. Where it found no version that the server
// accepts, they are the failure that its waiters and later calls get.
type findings struct {
	log      attemptLog
	current  candidate // that the stage names
	answered uint64    // calls up to this number joined before the last reading began
	moving   bool      // a version with an unknown verdict was rejected: the secret may have changed again
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
func (s *resolution) run(again, due bool) {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	text := "Secrets ended the goroutine of the resolution"
	defer func() {
		if p := recover(); p != nil { // its text may hold a secret
			text = fmt.Sprintf("the resolution panicked with a value of type %T", p)
		}
		if text != "" {
			s.note(attempt{text: text})
			s.settle(true)
		}
	}()
	switch {
	case s.consider(s.current, false):
	case due && s.refreshAll(again):
	case !due && s.consider(s.current, true):
	default:
		s.fail(due)
	}
	text = ""
}

// unlocked runs f without resolver.mu.
func (s *resolution) unlocked(f func()) {
	s.resolver.mu.Unlock()
	defer s.resolver.mu.Lock()
	f()
}

// begin says whether a refresh is due, and whether resolutions before found nothing. It runs
// before the first waiter can give up, whose error tells of the rejection.
func (s *resolution) begin() (again, due bool) {
	r := s.resolver
	_, s.current = r.use()
	now := time.Now()
	if r.pause.Wait(now.Add(-refreshMax)) == 0 {
		r.pause = nil // it ended long ago and belongs to an earlier rotation
	}
	if due = r.pause.Wait(now) == 0; !due && r.failure != nil {
		s.log = r.failure.log
	}
	again = r.pause != nil
	s.searched = again && r.searched
	s.noteRejection(s.rejected, r.gate.verdict(s.rejected.key()))
	return again, due
}

// refreshAll reads the stage and the fallback stages, and considers what they name. again:
// resolutions before found nothing, so a cached version is not enough.
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
		if err == nil && c.id != s.current.id && s.consider(c, true) {
			return true
		}
	}
	// A rotation that finished between the two readings took AWSPENDING away and gave its
	// version to the stage.
	if vanished && !s.searched {
		s.searched = true
		_, err = s.refresh(own, true)
		return err == nil && s.consider(s.current, true)
	}
	s.searched = true
	return false
}

// errNothing is the error of a refresh that brought nothing, which the attempt log tells.
var errNothing = errors.New("nothing to log in with")

// refresh reads a stage, unless access to it was denied a short time ago or the resolution is
// over. With anew it is read past the cache.
func (s *resolution) refresh(stage string, anew bool) (c candidate, err error) {
	r := s.resolver
	if a, denied := r.denied[stage]; denied && time.Since(a.at) < deniedPause {
		s.note(a)
		return candidate{}, errNothing
	}
	s.answered, s.reading = r.joins, stage
	start, moves := time.Now(), r.moves.Load()
	if !s.over {
		s.unlocked(func() { c, err = s.read(stage, anew) })
	}
	s.reading = ""
	if s.over {
		return candidate{}, errNothing
	}
	if c.stage == r.reader.stage {
		r.see(moves, c, s)
		s.moved, s.current = s.moved || c.id != s.current.id, c
	}
	s.unlocked(func() { r.reader.refreshed(s.ctx, stage, s.rejected, c, start, err) })
	return c, s.noteReading(stage, c, err)
}

// read reads a stage, for as long as a Connect call may take.
func (s *resolution) read(stage string, anew bool) (candidate, error) {
	r, ctx := s.resolver, s.ctx
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(s.ctx, r.timeout)
		defer cancel()
		// Secrets may ignore their context: then the waiters go on without this resolution.
		defer time.AfterFunc(r.timeout+abandonAfter, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(s, deserted)
		}).Stop()
	}
	return r.reader.refresh(ctx, stage, s.rejected, anew)
}

// noteReading records why a reading brought nothing new. It returns an error if there is no
// version to log in with.
func (s *resolution) noteReading(stage string, c candidate, err error) error {
	switch {
	case errors.Is(err, secretcache.ErrNoVersion):
		s.note(attempt{text: "the secret has no " + stage + " version"})
	case err != nil && stage == s.resolver.reader.stage:
		s.note(attempt{text: "refresh the secret", err: err})
	case err != nil:
		a := attempt{text: stage + " could not be read", err: err, at: time.Now()}
		s.note(a)
		if errors.Is(err, secretcache.ErrAccessDenied) {
			s.resolver.denied[stage] = a
		}
	case c.id == s.rejected.id:
		s.note(attempt{text: "the secret has no other " + stage + " version"})
	case c.secret.Reveal() == "" && stage != s.resolver.reader.stage:
		// A rotation that failed can leave a stage on a version without a value.
		s.note(attempt{text: c.name() + " has no value"})
		return errNothing
	}
	return err
}

// consider offers a candidate to the waiters, unless it was tried in this resolution or is
// held back: it was rejected, and a retry is not due or not allowed. If a waiter gives up,
// the candidate is considered again for another one.
func (s *resolution) consider(c candidate, retries bool) (over bool) {
	r := s.resolver
	for {
		v := r.gate.verdict(c.key())
		switch {
		case c.err != nil && s.isOwn(c):
			r.end(s, setFree) // each waiter finds out for itself
			return true
		case c.err != nil:
			s.note(attempt{text: c.name(), err: plain(c.err)})
			return false
		case s.tried[c.key()]:
			return false
		case v.state == verdictAccepted:
			s.unlocked(func() { s.accept(c) })
			return true
		case v.state == verdictRejected && !(retries && v.pause.Wait(s.retriesFor) == 0):
			s.noteRejection(c, v)
			return false
		}
		got := s.offer(c)
		if s.over {
			return true
		}
		if got.outcome != abandoned {
			s.tried[c.key()] = true
			return s.conclude(c, got, v.state == verdictUnknown)
		}
	}
}

// conclude notes what came of an offer.
func (s *resolution) conclude(c candidate, got report, unknown bool) (over bool) {
	switch {
	case got.outcome == heldBack: // another login was rejected while this one waited for a slot
		s.noteRejection(c, s.resolver.gate.verdict(c.key()))
	case got.outcome == rejected:
		s.moving = s.moving || unknown && c.id != s.rejected.id
		s.note(rejectedAttempt(c, verdict{err: got.err, at: time.Now()}))
	case !s.isOwn(c):
		s.note(attempt{text: c.name(), err: plain(got.err), key: c.key(), version: c.version(), open: got.outcome == failed})
	case unknown:
		s.resolver.end(s, setFree)
	}
	return s.over // only the call that sent a retry returns its failure
}

// isOwn reports whether c is the stage's own version, and not a fallback stage's.
func (s *resolution) isOwn(c candidate) bool { return c.stage == s.resolver.reader.stage }

// offer gives a candidate to one waiter and returns how its login ended, if the resolution is
// not over by then.
func (s *resolution) offer(c candidate) (got report) {
	s.trying = c
	s.unlocked(func() {
		reports := make(chan report, 1)
		select {
		case s.offers <- offer{c, reports}:
		case <-s.ctx.Done():
			return
		}
		select {
		case got = <-reports:
		case <-s.ctx.Done():
		}
	})
	s.trying = candidate{}
	return got
}

// note adds to the attempt log.
func (s *resolution) note(a attempt) { s.log = s.log.add(a) }

// noteRejection adds to the attempt log that a version is rejected, if it is.
func (s *resolution) noteRejection(c candidate, v verdict) {
	if v.state == verdictRejected && !s.log.has(c.key()) {
		s.note(rejectedAttempt(c, v))
	}
}

// progress returns what a resolution has tried and is doing, and what the stage names.
func (s *resolution) progress() (log attemptLog, reading string, trying, current candidate) {
	r := s.resolver
	r.mu.Lock()
	defer r.mu.Unlock()
	_, current = r.use()
	return s.log, s.reading, s.trying, current
}

// accept ends the resolution: the server accepts c. The waiter that logged in calls it.
// resolver.mu is not held.
func (s *resolution) accept(c candidate) {
	text := msgFound
	if !s.isOwn(c) {
		text = msgFallback
	}
	if s.resolver.accepted(s, c) {
		s.resolver.reader.log.InfoContext(s.ctx, text, "stage", c.stage, "version", c.version())
	}
}

// fail ends the resolution without a version. It logs first, so the record is
// written before the waiters return.
func (s *resolution) fail(read bool) {
	if !s.over {
		text := s.log.text(time.Time{}, time.Now())
		s.unlocked(func() {
			s.resolver.reader.log.WarnContext(s.ctx, msgNothing, "version", s.current.version(), "error", text)
		})
	}
	s.settle(read)
}

// settle ends the resolution without a version, with a pause until the next refresh if it
// read the secret.
func (s *resolution) settle(read bool) {
	if s.over {
		return
	}
	r := s.resolver
	if read && !(s.moved && s.moving) {
		r.pause = r.pause.Next(time.Now(), refreshBase, refreshMax)
	}
	r.searched = s.searched
	f := s.findings // a copy, which does not keep the resolution's context
	s.failure, r.failure = &f, &f
	r.end(s, foundNothing)
}
