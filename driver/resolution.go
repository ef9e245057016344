package driver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// A resolution finds a version of the secret that the server accepts, for all Connect
// calls that need one. It runs in a goroutine of its own, with a context that none of its
// waiters can end, and ends when the last of them leaves. It reads the stages and offers
// each candidate to one waiter, who logs in and keeps the connection.
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
	result     result // set once, before done is closed
	log        attemptLog
	reading    string    // the stage that is read, or empty
	trying     candidate // that is offered, or that a waiter logs in with; or zero

	// What the resolution has met so far. Only its own goroutine uses it.
	current  candidate // that the stage names
	rejected candidate // a refresh is to find another version than this
	tried    map[loginKey]bool
	answered uint64    // the calls up to this number joined before the last reading began
	also     error     // why no other version can be looked for, or nil
	other    error     // why a login failed that was not rejected, or nil
	culprit  candidate // of that login
	moved    bool      // the stage moved to a version that was rejected
	moving   bool      // a version that nothing was known of was rejected
}

// A result is how a resolution ended.
type result struct {
	kind    resultKind
	failure *failure // of foundNothing
}

type resultKind int

const (
	deserted     resultKind = iota // nobody waits any more, or Secrets does not answer
	found                          // the active version is accepted
	foundNothing                   // failure says what was tried
	setFree                        // the active version is unknown still: each waiter tries on its own
	stageMoved                     // another call saw the stage on another version
)

// An offer is a candidate for one waiter, who reports the login's outcome.
type offer struct {
	candidate
	report chan<- report // buffered
}

type report struct {
	outcome outcome
	err     error // what the server said, or why the login failed
}

// newResolution returns a resolution for a first waiter with ctx, which may not log in with
// used.
func newResolution(ctx context.Context, r *resolver, used candidate) *resolution {
	s := &resolution{
		resolver: r, offers: make(chan offer), done: make(chan struct{}),
		rejected: used, tried: map[loginKey]bool{},
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// run goes through the candidates until one is accepted. A panic, of a log handler or of
// Secrets, must not end the program: the waiters get it as an error.
func (s *resolution) run() {
	defer s.cancel()
	defer func() {
		if p := recover(); p != nil {
			s.also = fmt.Errorf("panic with a value of type %T", p) // its text may hold a secret
			s.settle(true)
		}
	}()
	again, due := s.resolver.begin(s)
	if s.consider(s.current, false) {
		return
	}
	if s.rejected.id != s.current.id {
		s.noteVerdict(s.rejected) // of a fallback version that was the active one
	}
	switch {
	case !due:
		s.skip()
	case s.refreshStage(again) || s.refreshFallbacks(again):
		return
	}
	s.fail(due)
}

// begin says whether the secret is to be read, and whether resolutions before have done so
// and found nothing.
func (r *resolver) begin(s *resolution) (again, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.current = r.current
	now := time.Now()
	if r.pause.Wait(now.Add(-refreshMax)) == 0 {
		r.pause = nil // older than any pause: it was another rejection's
	}
	return r.pause != nil, r.pause.Wait(now) == 0
}

// refreshStage reads the stage, and considers what it names. again tells that resolutions
// before found nothing: then nothing will do that was fetched before. It reports whether
// the resolution is over.
func (s *resolution) refreshStage(again bool) (over bool) {
	c, err := s.refresh(s.resolver.reader.stage, again)
	switch {
	case s.ctx.Err() != nil:
		return true
	case err != nil:
		s.also = fmt.Errorf("look for a newer version: %w", err)
	default:
		s.moved, s.current = c.id != s.current.id, c
	}
	return s.consider(s.current, true)
}

// refreshFallbacks reads the fallback stages in turn, and considers what they name. It
// reports whether the resolution is over.
func (s *resolution) refreshFallbacks(again bool) (over bool) {
	if s.also != nil {
		return false // the source fails: asking it for other stages will not help
	}
	vanished := false // a stage that may have named a version before
	for _, stage := range s.resolver.fallbacks {
		if s.resolver.isDenied(stage) {
			s.note(attempt{text: stage + " not read again yet", at: time.Now()})
			continue
		}
		c, err := s.refresh(stage, true)
		switch {
		case s.ctx.Err() != nil:
			return true
		case err != nil:
			vanished = vanished || errors.Is(err, secretcache.ErrNoVersion)
		case c.secret.Reveal() == "":
			// A rotation that failed can leave a stage on a version without a value.
			s.note(attempt{text: c.name() + " has no value", at: time.Now()})
		case s.consider(c, true):
			return true
		}
	}
	if !vanished || again {
		return false
	}
	// A rotation that finished between the two readings took AWSPENDING away and gave its
	// version to the stage.
	c, err := s.refresh(s.resolver.reader.stage, true)
	if err != nil || c.id == s.current.id {
		return s.ctx.Err() != nil
	}
	s.moved, s.current = true, c
	return s.consider(c, true)
}

// refresh reads a stage, unless the resolution is over. It notes what brings nothing.
func (s *resolution) refresh(stage string, anew bool) (candidate, error) {
	r := s.resolver
	ctx, cancel := s.ctx, context.CancelFunc(func() {})
	if r.timeout > 0 {
		ctx, cancel = context.WithTimeout(s.ctx, r.timeout)
	}
	defer cancel()
	// Secrets may ignore their context: then the waiters go on without this resolution.
	defer context.AfterFunc(ctx, func() { r.mu.Lock(); defer r.mu.Unlock(); r.end(s, result{kind: deserted}) })()

	r.mu.Lock()
	s.answered, s.reading = r.joins, stage
	over := s.over
	r.mu.Unlock()
	if over {
		return candidate{}, context.Canceled
	}
	start, moves := time.Now(), r.moves.Load()
	c, err := r.reader.refresh(ctx, stage, s.rejected, anew)
	r.mu.Lock()
	s.reading = ""
	over = s.over
	if err == nil && stage == r.reader.stage && !over {
		r.see(moves, c, s)
	}
	r.mu.Unlock()
	if over {
		return candidate{}, context.Canceled
	}
	r.reader.refreshed(s.ctx, stage, s.rejected, c, start, err)
	switch {
	case errors.Is(err, secretcache.ErrNoVersion):
		s.note(attempt{text: stage + " names no version", at: time.Now()})
	case err != nil && stage != r.reader.stage:
		s.note(attempt{text: stage + " could not be read", err: err, at: time.Now()})
		if errors.Is(err, secretcache.ErrAccessDenied) {
			r.deny(stage)
		}
	case err == nil && c.id == s.rejected.id:
		s.note(attempt{text: stage + " names no other version", at: time.Now()})
	}
	return c, err
}

// consider offers a candidate to the waiters, unless it was tried in this resolution or is
// held back: a rejected version needs a retry that is due, and retries to be allowed. It
// reports whether the resolution is over.
func (s *resolution) consider(c candidate, retries bool) (over bool) {
	k, err := s.resolver.locate(c)
	switch {
	case err != nil && c.stage == s.resolver.reader.stage:
		return s.end(result{kind: setFree}) // each finds out for itself
	case err != nil:
		s.note(attempt{text: c.name(), err: plain(err), at: time.Now()})
		return false
	case s.tried[k]:
		return false
	}
	state, _ := s.resolver.gate.state(k)
	switch {
	case state == verdictAccepted:
		return s.accept(c)
	case state == verdictRejected && !(retries && s.retryDue(k)):
		s.noteVerdict(c)
		return false
	}
	s.tried[k] = true
	s.setTrying(c)
	defer s.setTrying(candidate{})
	for {
		got, ok := s.offer(c)
		if !ok {
			return true
		}
		switch got.outcome {
		case accepted:
			return true // the waiter has told the resolver
		case abandoned:
			continue // for another waiter
		case rejected:
			s.moving = s.moving || state == verdictUnknown && c.id != s.rejected.id
			s.note(rejectedAttempt(c, k, rejection{got.err, time.Now()}))
		case unusable:
			s.note(attempt{text: c.name(), err: plain(got.err), key: k, at: time.Now()})
		case failed:
			if c.stage == s.resolver.reader.stage {
				if state == verdictRejected {
					return false // its failure is the business of the call that sent it
				}
				return s.end(result{kind: setFree})
			}
			s.other, s.culprit = got.err, c
			s.note(attempt{text: c.name(), err: got.err, key: k, at: time.Now()})
		}
		return false
	}
}

// offer gives a candidate to one waiter and returns what that reports. ok is false if the
// resolution is over.
func (s *resolution) offer(c candidate) (got report, ok bool) {
	reports := make(chan report, 1)
	select {
	case s.offers <- offer{c, reports}:
	case <-s.ctx.Done():
		return report{}, false
	}
	select {
	case got = <-reports:
		return got, true
	case <-s.ctx.Done():
		return report{}, false
	}
}

func (s *resolution) setTrying(c candidate) {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	s.trying = c
}

// retryDue reports whether a retry was due when the last call joined. A call that has
// waited for a refresh that found nothing must not send one because of its wait.
func (s *resolution) retryDue(k loginKey) bool {
	s.resolver.mu.Lock()
	began := s.retriesFor
	s.resolver.mu.Unlock()
	return s.resolver.gate.retryWait(k, began) == 0
}

// note adds to the attempt log.
func (s *resolution) note(a attempt) {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	s.log = s.log.add(a)
}

// noteVerdict notes that a version is rejected.
func (s *resolution) noteVerdict(c candidate) {
	k, err := s.resolver.locate(c)
	if err != nil {
		return
	}
	if state, r := s.resolver.gate.state(k); state == verdictRejected && !s.log.has(k) {
		s.note(rejectedAttempt(c, k, r))
	}
}

// accept ends the resolution: the server accepts c. The waiter that logged in calls it,
// before it leaves.
func (s *resolution) accept(c candidate) (over bool) {
	r := s.resolver
	r.mu.Lock()
	ended, rejections := !s.over, s.log.anyRejected()
	if ended {
		r.failure, r.fallback = nil, candidate{}
		if c.stage != r.reader.stage {
			r.fallback, r.pause = c, nil
		}
		r.tell()
		r.end(s, result{kind: found})
	}
	r.mu.Unlock()
	log := r.reader.log.With("secret", r.reader.id, "stage", c.stage, "version", c.secret.VersionID())
	switch {
	case !ended:
		r.accepted(c)
	case c.stage != r.reader.stage:
		log.InfoContext(s.ctx, "the server accepted a fall-back version")
	case rejections:
		log.InfoContext(s.ctx, "found a version that the server accepts")
	}
	return true
}

// skip is what a resolution does that began for a retry before the next refresh is due.
func (s *resolution) skip() {
	r := s.resolver
	if s.consider(s.current, true) {
		return
	}
	for _, stage := range append([]string{r.reader.stage}, r.fallbacks...) {
		s.note(attempt{text: stage + " not read again yet", at: time.Now()})
	}
}

// fail ends the resolution without a version, and logs that.
func (s *resolution) fail(read bool) {
	if f := s.settle(read); f != nil {
		reader := s.resolver.reader
		reader.log.WarnContext(s.ctx, "no version of the secret is accepted", "secret", reader.id,
			"version", f.current.secret.VersionID(), "error", f.log.text(f.also, time.Time{}, time.Now()))
	}
}

// settle ends the resolution without a version. read tells whether it read the secret: then
// the next one pauses before it does. It returns nil if the resolution is over.
func (s *resolution) settle(read bool) *failure {
	r := s.resolver
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.over {
		return nil
	}
	if read && !(s.moved && s.moving) {
		r.pause = r.pause.Next(time.Now(), refreshBase, refreshMax)
	}
	r.failure = &failure{s.log, s.current, s.also, s.other, s.culprit, s.answered, s.moving}
	r.end(s, result{foundNothing, r.failure})
	return r.failure
}

// end ends the resolution.
func (s *resolution) end(res result) (over bool) {
	s.resolver.mu.Lock()
	defer s.resolver.mu.Unlock()
	s.resolver.end(s, res)
	return true
}

func (r *resolver) isDenied(stage string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.denied[stage])
}

func (r *resolver) deny(stage string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied[stage] = time.Now().Add(deniedPause)
}
