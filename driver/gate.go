package driver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
)

const (
	// The pause after a rejected login, before a retry with the same version: from the
	// first to the second, doubling.
	pauseBase, pauseMax = time.Second, 5 * time.Minute
	// The gate remembers this many verdicts. It keeps more only for logins in flight.
	maxVerdicts = 32
)

// A gate decides whether a login may be sent. It keeps a Connector from locking an
// account: a version that the server rejected is held back until its pause is over.
// Its lock is never held while a login is under way.
type gate struct {
	maxLogins int // in flight with one version to one address; 0 = no bound

	mu       sync.Mutex
	verdicts map[loginKey]*verdict
	current  string // id of the version that the stage names; its verdict is kept
}

// A loginKey is what the gate tells apart: an address and the id of a version.
type loginKey struct{ address, version string }

// A verdict is what the server thinks of one version at one address. gate.mu guards it.
type verdict struct {
	state     verdictState
	rejection rejection        // where state is verdictRejected
	pause     *backoff.Backoff // until a retry is due
	// withdrawn: the version was accepted before it was rejected, and the stage has not
	// moved since.
	withdrawn bool

	started uint64 // number of the login that was sent last
	// since is the number of the login that was sent last when the verdict became
	// rejected, or the stage moved to the version. The outcome of an earlier login comes
	// too late to say what the server thinks now.
	since uint64
	slots chan struct{} // one for each login in flight where there is a bound; senders are served in order
	users int           // Connect calls that hold or wait for a ticket
}

type verdictState int

const (
	verdictUnknown verdictState = iota
	verdictAccepted
	verdictRejected
)

// A rejection is what the server said to a login, and when.
type rejection struct {
	err error
	at  time.Time
}

// A permission says with which verdicts a login may be sent.
type permission int

const (
	ifAccepted     permission = iota // the server has accepted the version
	unlessRejected                   // nothing is known of it, or it was accepted
	always                           // the resolution offers a first login or a retry
)

// A ticket is the permission to send one login. Its holder returns it by gate.leave.
type ticket struct {
	verdict *verdict
	number  uint64
}

// An outcome is how a login ended.
type outcome int

const (
	failed    outcome = iota // for a reason that says nothing about the credentials
	abandoned                // its caller gave up
	unusable                 // nothing was sent: the version does not say where to or as whom
	heldBack                 // nothing was sent: the permission did not allow it
	accepted
	rejected
)

// enter returns a ticket if p allows a login. With MaxLogins logins in flight it waits
// for one of them to end, and asks again. An error is ctx's; ok is false if the login is
// held back.
func (g *gate) enter(ctx context.Context, k loginKey, p permission) (t ticket, ok bool, err error) {
	g.mu.Lock()
	v := g.verdict(k)
	if !v.allows(p) {
		g.mu.Unlock()
		return ticket{}, false, nil
	}
	if err := ctx.Err(); err != nil {
		g.mu.Unlock()
		return ticket{}, false, err
	}
	v.users++
	if v.slots != nil {
		g.mu.Unlock()
		select {
		case v.slots <- struct{}{}:
			g.mu.Lock()
			if !v.allows(p) || ctx.Err() != nil {
				ok, err := v.allows(p), ctx.Err()
				v.users--
				g.mu.Unlock()
				<-v.slots
				return ticket{}, ok && err == nil, err
			}
		case <-ctx.Done():
			g.mu.Lock()
			v.users--
			g.mu.Unlock()
			return ticket{}, false, ctx.Err()
		}
	}
	v.started++
	t = ticket{v, v.started}
	g.mu.Unlock()
	return t, true, nil
}

func (v *verdict) allows(p permission) bool {
	switch p {
	case ifAccepted:
		return v.state == verdictAccepted
	case unlessRejected:
		return v.state != verdictRejected
	}
	return true
}

// leave returns a ticket with the login's outcome; err is what the server said if it
// rejected the login. changed tells whether the verdict is another one now, or a later
// rejection: of many logins that are rejected together one changes it.
func (g *gate) leave(t ticket, o outcome, err error) (changed bool) {
	now := time.Now()
	g.mu.Lock()
	v := t.verdict
	v.users--
	if t.number > v.since {
		switch o {
		case accepted:
			changed = v.state != verdictAccepted
			v.state, v.rejection, v.pause, v.withdrawn = verdictAccepted, rejection{}, nil, false
		case rejected:
			changed = true
			v.withdrawn = v.withdrawn || v.state == verdictAccepted
			v.state, v.rejection, v.since = verdictRejected, rejection{err, now}, v.started
			v.pause = v.pause.Next(now, pauseBase, pauseMax)
		}
	}
	g.mu.Unlock()
	if v.slots != nil {
		<-v.slots
	}
	return changed
}

// verdict returns the verdict on k. g.mu is held.
func (g *gate) verdict(k loginKey) *verdict {
	v := g.verdicts[k]
	if v == nil {
		if len(g.verdicts) >= maxVerdicts {
			g.forget()
		}
		v = &verdict{}
		if g.maxLogins > 0 {
			v.slots = make(chan struct{}, g.maxLogins)
		}
		g.verdicts[k] = v
	}
	return v
}

// forget drops the verdict with which the least is lost: on a version that is not
// rejected, or whose retry is due soonest. g.mu is held.
func (g *gate) forget() {
	now := time.Now()
	var victim loginKey
	least := time.Duration(-1)
	for k, v := range g.verdicts {
		if wait := v.pause.Wait(now); v.users == 0 && k.version != g.current && (least < 0 || wait < least) {
			victim, least = k, wait
		}
	}
	if least >= 0 {
		delete(g.verdicts, victim)
	}
}

// state returns the verdict's state, and the rejection if there is one.
func (g *gate) state(k loginKey) (verdictState, rejection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.verdicts[k]; v != nil {
		return v.state, v.rejection
	}
	return verdictUnknown, rejection{}
}

// retryWait returns how long after at a retry with a rejected version is due; zero if it
// is due, or the version is not rejected.
func (g *gate) retryWait(k loginKey, at time.Time) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.verdicts[k]; v != nil && v.state == verdictRejected {
		return v.pause.Wait(at)
	}
	return 0
}

// acceptsAny reports whether the server accepts one of versions, at any address.
func (g *gate) acceptsAny(versions ...string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, v := range g.verdicts {
		for _, version := range versions {
			if k.version == version && v.state == verdictAccepted {
				return true
			}
		}
	}
	return false
}

// stageMoved says that the stage names another version now, or was read first. That version
// begins anew, also an older one that the stage names again: the one who moved the stage
// says that it is good. The exception is a version that was accepted as a fallback and has been rejected
// since: the stage may have moved to it long before, and the next rotation have begun.
func (g *gate) stageMoved(version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, v := range g.verdicts {
		if k.version == version && !v.withdrawn {
			v.state, v.rejection, v.pause, v.since = verdictUnknown, rejection{}, nil, v.started
		}
		v.withdrawn = false
	}
	g.current = version
}

// outcomeOf classifies a login's error. ctx is the login's.
func outcomeOf(ctx context.Context, engine Engine, err error) outcome {
	switch {
	case err == nil:
		return accepted
	case engine.Rejected(err):
		return rejected
	case deadline.Err(ctx) != nil || errors.Is(err, context.Canceled):
		return abandoned
	}
	return failed
}
