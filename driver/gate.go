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
	// The pause between a rejected login and the retry with the same version. It begins at pauseBase
	// and doubles up to pauseMax.
	pauseBase, pauseMax = time.Second, 5 * time.Minute
	// The first pause if another server checks the password, because that server may be down.
	pauseBaseElsewhere = 30 * time.Second
	// The bound on logins in flight with a version that the server has not accepted within
	// provenFor. If all of them are rejected, a server that locks accounts after five rejections
	// still accepts the next version.
	maxUnproven = 3
	provenFor   = time.Second
	// One more login may be in flight for each hangAfter in which no login with the version is
	// answered. The reason: a login to a host that is gone gets no answer, but another login may
	// reach the host that replaces it. A server that answers within twice hangAfter sees at most
	// four wrong passwords.
	hangAfter = 5 * time.Second
	// The number of verdicts that a gate remembers. It keeps more only if logins are in flight.
	maxVerdicts = 32
)

// A gate decides whether a login may be sent. It keeps a program from locking an account. It holds
// back a version that the server has rejected, except for the retry that the resolution offers when
// the pause is over. And it allows only few logins in flight with a version that the server has not
// accepted lately. Connectors of one secret share a gate, see gates. The gate's lock is never held
// during a login.
type gate struct {
	maxLogins int     // bound on logins in flight with one version to one address; 0 = no bound
	secrets   Secrets // gates needs it to stay alive; may be nil

	clock *clock.Clock

	mu       sync.Mutex
	verdicts map[loginKey]*entry
	current  string // id of the version that the stage names; forget keeps its verdict
}

func newGate(maxLogins int) *gate {
	return &gate{maxLogins: maxLogins, clock: clock.New(), verdicts: map[loginKey]*entry{}}
}

// A loginKey is an address and the id of a version. The gate has one entry for each.
type loginKey struct{ address, version string }

// A verdict is what the server has said about one version at one address.
type verdict struct {
	state verdictState
	// If state is verdictRejected: the server's error, its time, and the pause until a retry is
	// due.
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

// An entry is what the gate knows about one version at one address. gate.mu guards it.
type entry struct {
	verdict
	accepted  time.Duration // when the server last accepted it, by gate.clock
	withdrawn bool          // the server accepted it and then rejected it, and the stage has not moved since
	started   uint64        // number of the login that was sent last
	// since is the value of started when the verdict became rejected, or when a rejection was
	// cleared because the stage moved to the version. Logins with a number up to it were sent
	// earlier, so their outcomes are ignored.
	since uint64
	// moved is the value of started when the stage moved to the version, unless the server had
	// accepted the version. If a login with a number up to it is rejected, that is ignored. If it
	// is accepted, that counts, unless since forbids it.
	moved    uint64
	inFlight int       // number of logins
	answered time.Time // when the last login ended; or, if later, when the first one of those in flight began
	waiting  list.List // of chan struct{}, one for each call that waits for its turn to log in
}

// A permission says for which verdicts a login may be sent.
type permission int

const (
	ifAccepted     permission = iota // the server has accepted the version
	unlessRejected                   // the verdict is unknown, or the server has accepted the version
	always                           // the resolution has checked the verdict and has offered this login
)

// A ticket allows one login. Its holder gives it back with gate.leave.
type ticket struct {
	entry  *entry
	number uint64
	sent   time.Time // when the gate gave the ticket
}

// An outcome is how a login ended.
type outcome int

const (
	failed    outcome = iota // it failed for a reason that says nothing about the credentials
	abandoned                // its caller gave up
	unusable                 // nothing was sent: the version lacks the server or the user
	heldBack                 // nothing was sent: the permission did not allow it
	accepted
	rejected
)

// enter returns a ticket if p allows a login. If the bound on logins in flight is reached, it waits
// for its turn and checks p again. ok is false if the login is held back. The error is nil unless ctx
// has ended.
func (g *gate) enter(ctx context.Context, k loginKey, p permission) (t ticket, ok bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.entry(k)
	if !e.allows(p) {
		return ticket{}, false, nil
	}
	since, ahead := e.since, e.inFlight+e.waiting.Len()
	sent, inTime := g.waitTurn(ctx, e)
	// If the verdict became rejected during the wait, permission always is no longer valid.
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

// waitTurn waits until one more login may be in flight, and counts that login. inTime is false if ctx
// ended first. Calls get their turn in the order in which they came. g.mu is held, but not while
// waitTurn waits.
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

// begin counts a login that is sent now.
func (e *entry) begin(now time.Time) {
	if e.inFlight == 0 {
		e.answered = now
	}
	e.inFlight++
}

// letIn wakes the calls whose turn it is. g.mu is held.
func (g *gate) letIn(e *entry) {
	for e.waiting.Len() > 0 && g.hasRoom(e) {
		e.begin(time.Now())
		close(e.waiting.Remove(e.waiting.Front()).(chan struct{}))
	}
}

// hasRoom reports whether one more login with a version may be in flight. It uses clock.Exact,
// because the machine may have been frozen since the version was accepted. g.mu is held.
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

// allows reports whether p allows a login.
func (v *verdict) allows(p permission) bool {
	return p == always || v.state == verdictAccepted || p == unlessRejected && v.state == verdictUnknown
}

// leave takes a ticket back, with the login's outcome and error. base is the first pause after a
// rejection. changed reports whether the verdict is new: if many logins are rejected together, only
// the first one changes the verdict.
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

// entry returns the entry of k. It adds one if there is none. g.mu is held.
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

// forget deletes the entry that matters least: one that is not rejected, or the one whose retry is
// due first. g.mu is held.
func (g *gate) forget() {
	now := time.Now()
	var victim loginKey
	least := time.Duration(-1)
	for k, e := range g.verdicts {
		if wait := e.pause.Wait(now); e.inFlight == 0 && e.waiting.Len() == 0 && k.version != g.current && (least < 0 || wait < least) {
			victim, least = k, wait
		}
	}
	delete(g.verdicts, victim) // nothing if there is no victim
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

// acceptsAny reports whether a server has accepted one of versions, at any address.
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

// stageMoved is called when the stage names another version than before, or was read for the first
// time. The verdicts on that version become unknown, even if it is an older version. Exception: if
// the server accepted it as a fallback version and has rejected it since, the verdict stays. In that
// case the stage may have moved to it long ago, and the next rotation may have begun.
func (g *gate) stageMoved(version string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if version == g.current { // another connector has called stageMoved
		return
	}
	for k, e := range g.verdicts {
		if k.version == version && !e.withdrawn {
			if e.state == verdictRejected {
				e.since = e.started
			}
			if e.state != verdictAccepted { // otherwise the logins in flight say what is true now
				e.moved = e.started
			}
			e.verdict = verdict{}
		}
		e.withdrawn = false
	}
	g.current = version
}

// outcomeOf returns the outcome of a login with that error. ctx is the context of the login.
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
