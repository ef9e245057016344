package driver

import (
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/internal/clock"
	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
)

const (
	// The pause after a rejected login, before a retry with the same version. It begins at
	// pauseBase and doubles up to pauseMax.
	pauseBase, pauseMax = time.Second, 5 * time.Minute
	// Where it begins if another server has checked the password. It may have been down.
	pauseBaseElsewhere = 30 * time.Second
	// Logins in flight with a version that the server has not accepted for provenFor. If they
	// are rejected, a server that locks accounts after five still lets the next version in.
	maxUnproven = 3
	provenFor   = time.Second
	// One more for each hangAfter in which no login with the version is answered: logins to a host
	// that is gone hang, and others may reach its successor. A server that takes less than twice
	// as long sees four wrong passwords.
	hangAfter = 5 * time.Second
	// The gate remembers this many verdicts. It keeps more only for logins in flight.
	maxVerdicts = 32
)

// A gate decides whether a login may be sent. It keeps a program from locking an account: a
// version that the server rejected is held back, except for the retry that the resolution offers
// once the pause is over; and few logins are in flight with one that has not been accepted of
// late. Connectors of one secret share a gate, see gates.
// Its lock is never held while a login is under way.
type gate struct {
	maxLogins int     // in flight with one version to one address; 0 = no bound
	secrets   Secrets // kept alive for gates; or nil

	clock *clock.Clock

	mu       sync.Mutex
	verdicts map[loginKey]*entry
	current  string // id of the version that the stage names; its verdict is kept
}

func newGate(maxLogins int) *gate {
	return &gate{maxLogins: maxLogins, clock: clock.New(), verdicts: map[loginKey]*entry{}}
}

// A loginKey is what the gate tells apart: an address and the id of a version.
type loginKey struct{ address, version string }

// A verdict is what the server thinks of one version at one address.
type verdict struct {
	state verdictState
	// Where state is verdictRejected: what the server said and when, and the pause until a
	// retry is due.
	err   error
	at    time.Time
	pause *backoff.Backoff
}

type verdictState int

const (
	verdictUnknown verdictState = iota
	verdictAccepted
	verdictRejected
)

// An entry is what the gate knows of one version at one address. gate.mu guards it.
type entry struct {
	verdict
	accepted  time.Duration // when the server accepted it last, by gate.clock
	withdrawn bool          // accepted before it was rejected, and the stage has not moved since
	started   uint64        // number of the login that was sent last
	// since is the value of started when the verdict became rejected, or a verdict was cleared
	// because the stage moved to the version. Logins up to that number were sent before; their
	// outcomes are ignored.
	since uint64
	// moved is the value of started when the stage moved to the version. A rejection of a login
	// that was sent before is ignored. An acceptance counts, unless since says otherwise.
	moved    uint64
	inFlight int       // logins
	answered time.Time // when a login ended last, or the first of those in flight began
	waiting  list.List // of chan struct{}, one for each call that waits for its turn to log in
}

// A permission says with which verdicts a login may be sent.
type permission int

const (
	ifAccepted     permission = iota // the server has accepted the version
	unlessRejected                   // nothing is known of it, or it was accepted
	always                           // the resolution has checked the verdict and offered this login
)

// A ticket is the permission to send one login. Its holder returns it with gate.leave.
type ticket struct {
	entry  *entry
	number uint64
	sent   time.Time // when it was given
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

// enter returns a ticket if p allows a login. If as many logins are in flight as may be, it waits
// for its turn, and asks again. An error is ctx's; ok is false if the login is held back.
func (g *gate) enter(ctx context.Context, k loginKey, p permission) (t ticket, ok bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entry(k)
	if !e.allows(p) {
		return ticket{}, false, nil
	}
	since, ahead := e.since, e.inFlight+e.waiting.Len()
	sent, inTime := g.waitTurn(ctx, e)
	// If the verdict became rejected during the wait, an offer no longer counts.
	if ended := ctx.Err(); ended != nil || !e.allows(p) || e.since != since && e.state == verdictRejected {
		if inTime {
			e.inFlight--
			g.letIn(e)
		}
		if ended != nil {
			err = fmt.Errorf("wait for %d other logins with the same version: %w", ahead, ended)
		}
		return ticket{}, false, err
	}
	e.started++
	return ticket{e, e.started, sent}, true, nil
}

// waitTurn waits until one more login may be in flight, and counts it, unless ctx ends before.
// Calls have their turn in the order in which they came. g.mu is held, but not while it waits.
func (g *gate) waitTurn(ctx context.Context, e *entry) (sent time.Time, inTime bool) {
	if sent = time.Now(); e.waiting.Len() == 0 && g.hasRoom(e) {
		e.begin(sent)
		return sent, true
	}
	turn := make(chan struct{})
	place := e.waiting.PushBack(turn)
	hang := time.NewTicker(hangAfter)
	defer hang.Stop()
	for {
		g.mu.Unlock()
		select {
		case <-turn:
		case <-hang.C:
		case <-ctx.Done():
		}
		g.mu.Lock()
		g.letIn(e)
		select {
		case <-turn:
			return time.Now(), true
		default:
		}
		if ctx.Err() != nil {
			e.waiting.Remove(place)
			return sent, false
		}
	}
}

// begin counts a login that may be sent now.
func (e *entry) begin(now time.Time) {
	if e.inFlight == 0 {
		e.answered = now
	}
	e.inFlight++
}

// letIn has the calls go on whose turn it is. g.mu is held.
func (g *gate) letIn(e *entry) {
	for e.waiting.Len() > 0 && g.hasRoom(e) {
		e.begin(time.Now())
		close(e.waiting.Remove(e.waiting.Front()).(chan struct{}))
	}
}

// hasRoom reports whether one more login with a version may be in flight. The machine may have
// been frozen since the version was accepted. g.mu is held.
func (g *gate) hasRoom(e *entry) bool {
	switch {
	case g.maxLogins > 0 && e.inFlight >= g.maxLogins:
		return false
	case e.inFlight < maxUnproven:
		return true
	case e.inFlight < maxUnproven+int(time.Since(e.answered)/hangAfter):
		return true
	}
	return e.state == verdictAccepted && g.clock.Exact(time.Now())-e.accepted <= provenFor
}

// allows reports whether a login may be sent by p.
func (v *verdict) allows(p permission) bool {
	return p == always || v.state == verdictAccepted || p == unlessRejected && v.state == verdictUnknown
}

// leave returns a ticket with the login's outcome and what the server said; base is the least
// pause after a rejection. changed tells whether the verdict is new: if many logins are rejected
// together, only the first changes it.
func (g *gate) leave(t ticket, o outcome, base time.Duration, err error) (changed bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	e := t.entry
	e.inFlight, e.answered = e.inFlight-1, now
	defer g.letIn(e)
	switch late := t.number <= e.since || o == rejected && t.number <= e.moved; {
	case late:
	case o == accepted:
		changed = e.state != verdictAccepted
		e.verdict, e.accepted, e.withdrawn = verdict{state: verdictAccepted}, g.clock.Exact(now), false
	case o == rejected:
		changed = true
		e.withdrawn = e.withdrawn || e.state == verdictAccepted
		e.verdict, e.since = verdict{verdictRejected, err, now, e.pause.Next(now, base, pauseMax)}, e.started
	}
	return changed
}

// entry returns what is known of k. g.mu is held.
func (g *gate) entry(k loginKey) *entry {
	e := g.verdicts[k]
	if e == nil {
		if len(g.verdicts) >= maxVerdicts {
			g.forget()
		}
		e = &entry{}
		g.verdicts[k] = e
	}
	return e
}

// forget drops the entry with which the least is lost: on a version that is not
// rejected, or whose retry is due soonest. g.mu is held.
func (g *gate) forget() {
	now := time.Now()
	var victim loginKey
	least := time.Duration(-1)
	for k, e := range g.verdicts {
		if wait := e.pause.Wait(now); e.inFlight == 0 && e.waiting.Len() == 0 && k.version != g.current && (least < 0 || wait < least) {
			victim, least = k, wait
		}
	}
	delete(g.verdicts, victim) // or nothing
}

// verdict returns the verdict on k.
func (g *gate) verdict(k loginKey) verdict {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.verdicts[k]; e != nil {
		return e.verdict
	}
	return verdict{}
}

// acceptsAny reports whether the server accepts one of versions, at any address.
func (g *gate) acceptsAny(versions ...string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for k, e := range g.verdicts {
		if e.state == verdictAccepted && slices.Contains(versions, k.version) {
			return true
		}
	}
	return false
}

// stageMoved says that the stage names another version now, or was read first. That version
// begins anew, also an older one that the stage names again. The exception is one that was
// accepted as a fallback and rejected since: the stage may have moved to it long before, and
// the next rotation have begun.
func (g *gate) stageMoved(version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if version == g.current { // another connector has seen it
		return
	}
	for k, e := range g.verdicts {
		if k.version == version && !e.withdrawn {
			if e.state != verdictUnknown {
				e.verdict, e.since = verdict{}, e.started
			}
			e.moved = e.started
		}
		e.withdrawn = false
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
	case deadline.Err(ctx) != nil:
		return abandoned
	}
	return failed
}
