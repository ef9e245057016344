package driver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
	"github.com/sqlsecrets/sqlsecrets/internal/deadline"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

const (
	// Pause after a rejected login before one more with the same version is
	// sent, doubling from the first to the second.
	pauseBase, pauseMax = time.Second, 5 * time.Minute
	// How many versions and addresses the guard remembers; more only for those
	// with logins in flight.
	maxRemembered = 32
)

// A guard keeps a Connector from locking accounts: it decides whether a login
// with a version of the secret may be sent to an address. No lock is held while
// a login is under way.
type guard struct {
	maxLogins int // in flight with one version; 0 = no bound

	mu      sync.Mutex
	records map[loginKey]*record
	// current is the version that the stage named when it was last read, and
	// changes how often that has been another one than before.
	current string
	changes uint64
	// preferred is a version of a fall-back stage that the server accepted while
	// current was rejected. It goes before current until that changes.
	preferred *choice
	rejected  *secretcache.Secret // the version current, while there is a preferred one
	changed   chan struct{}       // closed by tell
}

// A loginKey is what the guard tells apart.
type loginKey struct{ address, version string }

// A choice is a secret and the stage that it came from.
type choice struct {
	secret *secretcache.Secret
	stage  string
}

// A record is what is known of the logins with one version to one address.
// guard.mu guards it.
type record struct {
	accepted bool // a login was, and no other rejected since
	inFlight int
	started  uint64          // number of the login that was started last
	judge    *judge          // the login that others wait for, or nil
	queue    []chan struct{} // those over maxLogins, in order; each is closed for one to go on

	rejection *rejection       // the first since the last acceptance, or nil
	rejected  uint64           // started when that was received: what follows are probes
	withdrawn bool             // the version had been accepted before
	changes   uint64           // guard.changes when the rejection was received
	pause     *backoff.Backoff // until a probe may be sent
	probe     uint64           // number of the probe that is under way, or 0
}

// A rejection is what the server said to a login, and when if that was earlier.
type rejection struct {
	err error
	at  time.Time
}

// A judge is the first login with a version: others wait for what it says.
type judge struct {
	done chan struct{}
	// free is set before done is closed: the login failed for another reason than
	// its credentials or its caller, so those who waited need not wait for another.
	free bool
}

// A ticket is the permission to send one login. It has to be given back.
type ticket struct {
	record *record
	number uint64
	judge  *judge // not nil: others wait for this login
}

// An outcome is how a login ended.
type outcome int

const (
	failed    outcome = iota // for a reason that says nothing of the credentials
	abandoned                // because its caller gave up
	accepted
	rejected
)

func newGuard(maxLogins int) *guard {
	return &guard{maxLogins: maxLogins, records: map[loginKey]*record{}, changed: make(chan struct{})}
}

// enter waits until a login may be sent, or ctx ends. For a version that was
// rejected it returns the rejection, unless the pause after it was over when the
// caller began: who waited for a look that found nothing is not to send a probe.
func (g *guard) enter(ctx context.Context, k loginKey, began time.Time) (ticket, *rejection, error) {
	free := false          // has waited for a judge that could not say
	var turn chan struct{} // of the queue: nil for those who have not been in it
	for {
		g.mu.Lock()
		r := g.record(k)
		if err := ctx.Err(); err != nil {
			r.next(g.maxLogins)
			g.mu.Unlock()
			return ticket{}, nil, err
		}
		var wait <-chan struct{}
		var waited *judge
		t := ticket{record: r}
		switch {
		case r.rejection != nil:
			if r.probe != 0 || r.pause.Wait(began) > 0 {
				rejection := r.rejection
				r.next(g.maxLogins)
				g.mu.Unlock()
				return ticket{}, rejection, nil
			}
		case !r.accepted && r.judge != nil && !free:
			waited = r.judge
			wait = r.judge.done
		case !r.accepted && r.judge == nil && !free:
			t.judge = &judge{done: make(chan struct{})}
		}
		if wait == nil && g.maxLogins > 0 && (r.inFlight >= g.maxLogins || turn == nil && len(r.queue) > 0) {
			at := len(r.queue)
			if turn != nil {
				at = 0 // another was quicker
			}
			turn = make(chan struct{})
			r.queue = slices.Insert(r.queue, at, turn)
			wait = turn
		}
		if wait == nil {
			r.inFlight++
			r.started++
			t.number = r.started
			if r.rejection != nil {
				r.probe = t.number
			}
			if t.judge != nil {
				r.judge = t.judge
			}
			g.mu.Unlock()
			return t, nil, nil
		}
		g.mu.Unlock()
		select {
		case <-wait:
			free = free || waited != nil && waited.free
		case <-ctx.Done():
			g.mu.Lock()
			r.queue = slices.DeleteFunc(r.queue, func(c chan struct{}) bool { return c == turn })
			r.next(g.maxLogins) // it may have been its turn
			g.mu.Unlock()
			return ticket{}, nil, ctx.Err()
		}
	}
}

// next lets as many go on of those over maxLogins as there is room for. guard.mu is
// held.
func (r *record) next(maxLogins int) {
	n := min(len(r.queue), max(0, maxLogins-r.inFlight))
	for _, turn := range r.queue[:n] {
		close(turn)
	}
	r.queue = slices.Delete(r.queue, 0, n)
}

// rejection returns the server's last word on a version if that was a rejection.
func (g *guard) rejection(k loginKey) *rejection {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.records[k]; r != nil {
		return r.rejection
	}
	return nil
}

// leave gives a ticket back with the outcome of the login; err is the rejection.
func (g *guard) leave(t ticket, o outcome, err error) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	r := t.record
	r.inFlight--
	probe := r.probe == t.number
	if probe {
		r.probe = 0
	}
	switch o {
	case accepted:
		// A login that was sent before the rejection was received says nothing of
		// what the server thinks since.
		if r.rejection == nil || t.number > r.rejected {
			if r.rejection != nil {
				g.tell()
			}
			r.clear()
			r.accepted = true
		}
	case rejected:
		if r.rejection == nil {
			r.rejection, r.rejected = &rejection{err, now}, r.started
			r.withdrawn, r.changes = r.accepted, g.changes
			r.pause = r.pause.Next(now, pauseBase, pauseMax)
		} else if probe {
			r.rejection = &rejection{err, now}
			r.pause = r.pause.Next(now, pauseBase, pauseMax)
		}
	}
	if t.judge != nil {
		t.judge.free = o == failed
		if r.judge == t.judge {
			r.judge = nil
		}
		close(t.judge.done)
	}
	if r.rejection != nil {
		r.next(len(r.queue) + r.inFlight) // none is to log in: they return the rejection
	} else {
		r.next(g.maxLogins)
	}
}

// clear forgets what the server said. Logins in flight go on.
func (r *record) clear() {
	r.accepted, r.rejection, r.pause, r.probe, r.withdrawn = false, nil, nil, 0, false
}

// record returns the record of k. g.mu is held.
func (g *guard) record(k loginKey) *record {
	r := g.records[k]
	if r == nil {
		if len(g.records) >= maxRemembered {
			g.forget()
		}
		r = &record{}
		g.records[k] = r
	}
	return r
}

// forget drops the record with which the least is lost: of a version that is not
// rejected, or whose pause is over soonest, without a login in flight.
func (g *guard) forget() {
	now := time.Now()
	var victim loginKey
	least := time.Duration(-1)
	for k, r := range g.records {
		if wait := r.pause.Wait(now); r.inFlight == 0 && len(r.queue) == 0 && k.version != g.current && (least < 0 || wait < least) {
			victim, least = k, wait
		}
	}
	if least >= 0 {
		delete(g.records, victim)
	}
}

// generation returns a number that grows when observe sees another version.
func (g *guard) generation() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changes
}

// observe notes which version the stage names. The generation is of before the
// secret was read: observe reports false, and notes nothing, if the version has
// changed since, for then what was read may be older.
//
// A version that the stage names anew, also an older one that it names again,
// begins with a clean record: whoever moved the stage says that it is good. Not so
// one that was good as a fall-back and has been rejected since: the stage may have
// moved to it long before, and the next rotation have begun.
func (g *guard) observe(generation uint64, version string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if version == g.current {
		return true
	}
	if generation != g.changes {
		return false
	}
	if g.current != "" {
		for k, r := range g.records {
			if k.version == version && !(r.withdrawn && r.changes == g.changes) {
				r.clear()
			}
		}
		g.preferred, g.rejected = nil, nil
	}
	g.current = version
	g.changes++
	g.tell()
	return true
}

// stageVersion returns the version that the stage named when it was last read.
func (g *guard) stageVersion() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current
}

// prefer makes later connects begin with a version of a fall-back stage, for as
// long as the stage names the version of rejected.
func (g *guard) prefer(rejected *secretcache.Secret, c choice) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current == rejected.VersionID() {
		g.preferred, g.rejected = &c, rejected
		g.tell()
	}
}

// tell wakes those who wait for news. g.mu is held.
func (g *guard) tell() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// news returns a channel that is closed when there is another version to begin
// with than now, or the server accepts one again.
func (g *guard) news() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// unprefer undoes prefer: the server has rejected the version.
func (g *guard) unprefer(c choice) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.preferred != nil && g.preferred.secret.VersionID() == c.secret.VersionID() {
		g.preferred, g.rejected = nil, nil
	}
}

// first returns the version to begin with: the preferred one, or c. What its caller
// has read may be older than what preferred is preferred to.
func (g *guard) first(c choice) choice {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.preferred != nil {
		return *g.preferred
	}
	return c
}

// A standing is what the guard knows of a version that a connection was opened with.
type standing int

const (
	inUse    standing = iota // it is the stage's, or the one preferred to that
	unproven                 // it is neither, but the server has not accepted another yet
	replaced                 // it is neither, and the server accepts another
)

func (g *guard) standing(version string) standing {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := inUse
	if version != g.current && (g.preferred == nil || version != g.preferred.secret.VersionID()) {
		s = unproven
		for k, r := range g.records {
			if r.accepted && r.rejection == nil && (k.version == g.current || g.preferred != nil && k.version == g.preferred.secret.VersionID()) {
				s = replaced
			}
		}
	}
	return s
}

// superseding returns the version that is rejected in favour of a preferred one,
// or nil.
func (g *guard) superseding() *secretcache.Secret {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rejected
}

// outcomeOf classifies a login's error. ctx is the caller's.
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
