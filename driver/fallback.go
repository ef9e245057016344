package driver

import (
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	// How long a fall-back stage that the caller may not read is left alone.
	deniedPause = 10 * time.Minute
	// Looks at a fall-back stage that helped nobody: from the first to the second,
	// doubling. A search waits for the next look if it is due within lookWait.
	lookBase, lookMax, lookWait = time.Second, 30 * time.Second, time.Second
)

// A search is one look through the fall-back stages, for all who need it.
type search struct {
	version string // which the stage names; the server rejected it
	done    chan struct{}
	// Set before done is closed:
	found     *choice // what the server accepted, or nil
	story     []step
	rejects   int  // rejections that the server sent now
	moved     bool // the stage has another version now
	abandoned bool // its caller gave up: somebody else has to search
}

// fallBack tries the versions of the fall-back stages; current is the stage's
// version, which was rejected. It returns no connection and a nil error if none
// was accepted, whatever the reason: the rejection is what matters.
func (a *attempt) fallBack(ctx context.Context, secrets Secrets, current *secretcache.Secret) (sqldriver.Conn, error) {
	ch := a.guard.first(choice{current, a.source.stage})
	for {
		if !a.tried(ch.secret) {
			conn, err := a.login(ctx, ch, ifDue)
			if err == nil || !isRefusal(err) {
				return conn, err
			}
			a.guard.unprefer(ch)
		}
		a.mu.Lock()
		s := a.search
		if s == nil {
			s = &search{version: current.VersionID(), done: make(chan struct{})}
			a.search = s
			a.mu.Unlock()
			return a.lead(ctx, s, secrets, current), nil
		}
		a.mu.Unlock()
		select {
		case <-s.done:
		case <-ctx.Done():
			return nil, a.rejected(fmt.Errorf("wait for a look at the fall-back stages: %w", ctx.Err()))
		}
		switch {
		case s.found != nil:
			ch = *s.found
		case !s.abandoned && s.version == current.VersionID():
			a.story = append(a.story, s.story...)
			a.rejects += s.rejects
			a.moved = s.moved
			return nil, nil
		}
	}
}

// lead does the search s for those who wait for it.
func (a *attempt) lead(ctx context.Context, s *search, secrets Secrets, current *secretcache.Secret) (conn sqldriver.Conn) {
	version, before, rejects := a.version, len(a.story), a.rejects
	defer func() {
		if conn == nil {
			a.version = version // the error names the stage's version
		}
		s.story, s.rejects, s.moved = slices.Clone(a.story[before:]), a.rejects-rejects, a.moved
		s.abandoned = ctx.Err() != nil
		a.mu.Lock()
		a.search = nil
		a.mu.Unlock()
		close(s.done)
	}()
	gone := false // a stage that may have had a version before
	for _, stage := range a.o.FallbackStages {
		if stage == a.source.stage {
			continue
		}
		first := a.idling(stage, s.version, time.Now()).looks == nil
		if !a.lookDue(ctx, stage, s.version) {
			a.note("%s not looked at again yet", stage)
			continue
		}
		secret, err := a.refresh(ctx, secrets, stage, current, true)
		switch {
		case err != nil:
			gone = gone || first && errors.Is(err, secretcache.ErrNoVersion)
		case secret.Reveal() == "":
			// A rotation that failed can leave a stage on a version without a value.
			a.note("%s version %s has no value", stage, secret.VersionID())
		case !a.tried(secret):
			ch := choice{secret, stage}
			if conn, err = a.login(ctx, ch, ifDue); err == nil {
				s.found = &ch
				a.guard.prefer(current, ch)
				a.rest(stage, idling{})
				a.o.Logger.InfoContext(ctx, "the server accepted a fall-back version", "secret", a.source.secretID, "stage", stage, "version", a.version)
				return conn
			}
			if e := (*Error)(nil); errors.As(err, &e) {
				// Its kind is not what is wrong with the stage's version.
				a.story = append(a.story, step{text: stage + " version " + a.version, err: e.plain(), version: a.version})
			}
		}
		if ctx.Err() == nil {
			a.lookedInVain(stage, s.version, errors.Is(err, secretcache.ErrAccessDenied))
		}
	}
	if gone {
		// A rotation that finished between the two looks takes AWSPENDING away and
		// gives its version to the stage.
		newest, err := a.refresh(ctx, secrets, a.source.stage, current, true)
		a.moved = err == nil && newest.VersionID() != s.version
	}
	return nil
}

// idling says for how long a fall-back stage that helped nobody is left alone.
type idling struct {
	version string // of the stage that was rejected: a look for another one is due at once
	looks   *backoff.Backoff
	denied  time.Time // the caller may not read the stage: until then it is left alone
}

// idling returns what is known of a fall-back stage while the server rejects a version
// of the stage. What is older than any pause was another rejection's.
func (a *attempt) idling(stage, version string, now time.Time) idling {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := a.idle[stage]
	if i.version != version || i.looks.Wait(now.Add(-lookMax)) == 0 {
		i.version, i.looks = version, nil
	}
	return i
}

// lookDue reports whether a fall-back stage is to be looked at. It waits if that
// is so within lookWait and ctx allows, unless the stage turns out to name another version.
func (a *attempt) lookDue(ctx context.Context, stage, version string) bool {
	now, news := time.Now(), a.guard.news()
	i := a.idling(stage, version, now)
	if now.Before(i.denied) {
		return false
	}
	wait := i.looks.Wait(now)
	if wait == 0 {
		return true
	}
	if deadline, ok := ctx.Deadline(); wait > lookWait || ok && deadline.Before(now.Add(wait)) {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-news:
			if a.guard.stageVersion() != version {
				return false
			}
			news = a.guard.news()
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// lookedInVain notes that a look at a fall-back stage brought nothing that the
// server accepts.
func (a *attempt) lookedInVain(stage, version string, denied bool) {
	now := time.Now()
	i := a.idling(stage, version, now)
	i.looks = i.looks.Next(now, lookBase, lookMax)
	if denied {
		i.denied = now.Add(deniedPause)
	}
	a.rest(stage, i)
}

func (a *attempt) rest(stage string, i idling) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle[stage] = i
}
