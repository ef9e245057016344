package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A resolution finds a version that the server accepts, for all Connect calls that need one, its
// waiters. It reads the stages in its own goroutine. It offers each candidate to one waiter, which
// logs in and keeps the connection. No single waiter can end it; it ends when the last one leaves.
type resolution struct {
	resolver *resolver
	ctx      context.Context
	cancel   context.CancelFunc
	offers   chan offer // unbuffered: one waiter takes it
	done     chan struct{}

	// resolver.mu guards these fields. The resolution's goroutine holds it, except while it reads,
	// waits for a waiter, or calls the program's trace and log.
	waiters    int
	retriesFor time.Time // when the latest round of a waiter began; a retry is due if its pause was over by then
	over       bool
	result     result    // set once, before done is closed
	failure    *findings // set with result, if that is foundNothing
	reading    string    // the stage that is being read, or empty
	trying     candidate // the one that is offered, or that a waiter logs in with; or zero
	findings
	rejected candidate // refreshes are to find another version than this one
	tried    map[loginKey]bool
	moved    bool // this resolution has seen the stage move
	searched bool // since the pause began, a resolution has read the fallback stages
}

// findings are what a resolution has found so far. If it ends without a version that the server
// accepts, they are the failure that its waiters and later calls get.
type findings struct {
	log      attemptLog
	current  candidate // the version that the stage names
	answered uint64    // calls with a number up to this one joined before the last reading began
	moving   bool      // the server rejected a version whose verdict was unknown: the secret may have changed again
}

// A result is how a resolution ended.
type result int

const (
	deserted     result = iota // the last waiter has left, or Secrets did not answer
	found                      // the server accepts the active version
	foundNothing               // no version works; failure says what was tried
	setFree                    // the verdict on the active version is unknown, and each waiter tries it on its own
	stageMoved                 // another call saw that the stage names another version
)

// An offer is a candidate for one waiter, which reports how the login ended.
type offer struct {
	candidate
	report chan<- report // buffered
}

type report struct {
	outcome outcome
	err     error // the server's error, or why the login failed
}

// run goes through the candidates until the server accepts one. A panic of a log handler or of Secrets
// must not end the program, so the waiters get it as an error.
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

// begin returns whether a refresh is due, and whether earlier resolutions found nothing. It runs
// before the first waiter can give up, because the error of that waiter must list the rejection.
func (s *resolution) begin() (again, due bool) {
	r := s.resolver
	_, s.current = r.use()
	now := time.Now()
	if r.pause.Wait(now.Add(-refreshMax)) == 0 {
		r.pause = nil // it ended long ago, so it belongs to an earlier rotation
	}
	if due = r.pause.Wait(now) == 0; !due && r.failure != nil {
		s.log = r.failure.log
	}
	again = r.pause != nil
	s.searched = again && r.searched
	s.noteRejection(s.rejected, r.gate.verdict(s.rejected.key()))
	return again, due
}

// refreshAll refreshes the stage and the fallback stages, and considers the versions that they name.
// If again is true, earlier resolutions found nothing, so a cached version is not enough.
func (s *resolution) refreshAll(again bool) (over bool) {
	own := s.resolver.reader.stage
	_, err := s.refresh(own, again)
	if over = s.consider(s.current, true); over || err != nil {
		return over // if the source fails, it fails for other stages too
	}
	vanished := false // a fallback stage names no version; it may have named one before
	for _, stage := range s.resolver.fallbacks {
		c, err := s.refresh(stage, true)
		vanished = vanished || errors.Is(err, secretcache.ErrNoVersion)
		if err == nil && c.id != s.current.id && s.consider(c, true) {
			return true
		}
	}
	// A rotation that finished between the two readings has moved the stage to the version that
	// AWSPENDING named, and has removed AWSPENDING.
	if vanished && !s.searched {
		s.searched = true
		_, err = s.refresh(own, true)
		return err == nil && s.consider(s.current, true)
	}
	s.searched = true
	return false
}

// errNothing is the error of a refresh that found no usable version. The attempt log says why.
var errNothing = errors.New("nothing to log in with")

// refresh reads a stage. It does not read it if access was denied a short time ago, or if the
// resolution is over. If anew is true, a cached version is not enough.
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

// read reads a stage. It takes at most as long as a Connect call may take.
func (s *resolution) read(stage string, anew bool) (candidate, error) {
	r, ctx := s.resolver, s.ctx
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(s.ctx, r.timeout)
		defer cancel()
		// If Secrets ignore their context, the waiters go on without this resolution.
		defer time.AfterFunc(r.timeout+abandonAfter, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.end(s, deserted)
		}).Stop()
	}
	return r.reader.refresh(ctx, stage, s.rejected, anew)
}

// noteReading records in the attempt log why a reading found no new version. It returns an error if
// the reading found no version to log in with.
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

// consider offers a candidate to the waiters. It does not offer one that this resolution has tried,
// or a rejected one whose retry is not due. retries allows retries. If the waiter that took the offer
// gives up, consider offers the candidate again.
func (s *resolution) consider(c candidate, retries bool) (over bool) {
	r := s.resolver
	for {
		v := r.gate.verdict(c.key())
		switch {
		case c.err != nil && s.isOwn(c):
			r.end(s, setFree) // each waiter gets the error on its own
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

// conclude records the result of an offer. unknown reports whether the verdict was unknown before.
func (s *resolution) conclude(c candidate, got report, unknown bool) (over bool) {
	switch {
	case got.outcome == heldBack: // another login was rejected while this one waited for its turn
		s.noteRejection(c, s.resolver.gate.verdict(c.key()))
	case got.outcome == rejected:
		s.moving = s.moving || unknown && c.id != s.rejected.id
		s.note(rejectedAttempt(c, verdict{err: got.err, at: time.Now()}))
	case !s.isOwn(c):
		s.note(attempt{text: c.name(), err: plain(got.err), key: c.key(), version: c.version(), open: got.outcome == failed})
	case unknown:
		s.resolver.end(s, setFree)
	}
	return s.over // a retry that failed for another reason is the failure of the call that sent it
}

// isOwn reports whether c is the version of the connector's own stage, not of a fallback stage.
func (s *resolution) isOwn(c candidate) bool { return c.stage == s.resolver.reader.stage }

// offer gives a candidate to one waiter and returns how its login ended. If the resolution ends first,
// got is zero.
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

// note adds an attempt to the attempt log.
func (s *resolution) note(a attempt) { s.log = s.log.add(a) }

// noteRejection adds the rejection of a version to the attempt log, if v is a rejection.
func (s *resolution) noteRejection(c candidate, v verdict) {
	if v.state == verdictRejected && !s.log.has(c.key()) {
		s.note(rejectedAttempt(c, v))
	}
}

// progress returns what the resolution has tried, what it is doing, and which version the stage names.
func (s *resolution) progress() (log attemptLog, reading string, trying, current candidate) {
	r := s.resolver
	r.mu.Lock()
	defer r.mu.Unlock()
	_, current = r.use()
	return s.log, s.reading, s.trying, current
}

// accept ends the resolution, because the server accepts c. The waiter that logged in calls it.
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

// fail ends the resolution without a version. It logs first, so that the record is written before
// the waiters return. read reports whether the resolution has read the secret.
func (s *resolution) fail(read bool) {
	if !s.over {
		text := s.log.text(time.Time{}, time.Now())
		s.unlocked(func() {
			s.resolver.reader.log.WarnContext(s.ctx, msgNothing, "version", s.current.version(), "error", text)
		})
	}
	s.settle(read)
}

// settle ends the resolution without a version. If the resolution has read the secret, a pause begins
// until the next refresh.
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
