package driver_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// check compares the events with the promises of the library. Outside of outages:
//
//   - No Connect call fails. None takes longer than the pause before a refresh plus the logins and
//     fetches that it needs.
//   - A rotation costs at most four fetches.
//
// At all times:
//
//   - After a rejection, no login is sent with the version until the pause is over or the stage has moved
//     to it.
//   - User, password and host of a login come from one version.
//   - Only one login at a time is sent with a version that the server has never accepted, and at most
//     MaxLogins with any version.
//   - A call returns as soon as its caller gives up, and at the latest after RotationWindow plus
//     ConnectTimeout.
//   - Six minutes after the end, when all pauses are over, a Connect call succeeds if the secret has a
//     valid version.
//
// synctest checks that no goroutine is left.
func (m *model) check() {
	logins := m.db.log()
	m.checkFailures(logins)
	m.checkLogins(logins)
	m.checkCalls(logins)
	m.checkVersions(logins)
	m.checkInFlight(logins)
	m.checkWaits()
	m.checkRecovery()
	if m.t.Failed() {
		m.report(logins)
	}
}

func (m *model) since(at time.Time) time.Duration { return at.Sub(m.start) }

// key returns a text that is the same for all logins with one version, and for no others.
func (l *login) key() string { return l.addr + " " + l.user + " " + l.password }

func (m *model) key(version int) string {
	v := m.versions[version]
	return v.host + ":3306 " + v.user + " " + v.password
}

// acceptedLogin reports whether the server has accepted a login.
func (m *model) acceptedLogin(l *login) bool {
	return l.err == nil && !l.end.IsZero() && !m.panicked(l)
}

// panicked reports whether the engine panicked during the login.
func (m *model) panicked(l *login) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.harm.panicked[l.n]
}

// cutShort reports whether the login ended because its engine panicked or its caller gave up. Other calls
// may have waited for it in vain.
func (m *model) cutShort(l *login) bool {
	return m.panicked(l) || m.gaveUpLogin(l)
}

// limit is how long a Connect call may take if nothing disturbs it.
func (m *model) limit() time.Duration {
	limit := 1200*time.Millisecond + 4*m.login + 5*m.fetch
	if m.opts.MaxLogins > 0 {
		limit += 2 * time.Duration(m.workers+40) * m.login // while it waits for its turn
	}
	return limit
}

// delay returns how much longer a Connect call may take because of other events. It may have waited for
// logins that were cut short, one after the other, and for one fetch after each Invalidate and each step
// of the clock.
func (m *model) delay(c connectCall, logins []login) (d time.Duration) {
	for _, l := range logins {
		if m.cutShort(&l) && l.begin.Before(c.end) && l.end.After(c.begin) {
			d += l.end.Sub(later(l.begin, c.begin))
		}
	}
	during := func(at time.Time) bool { return !at.Before(c.begin) && !at.After(c.end) }
	for _, at := range m.harm.invalidated {
		if during(at) {
			d += m.fetch
		}
	}
	for _, s := range m.harm.clock {
		if during(s.at) {
			d += m.fetch
		}
	}
	return d
}

func (m *model) checkFailures(logins []login) {
	os := m.outages(logins)
	limit := m.limit()
	for _, c := range m.attempts {
		if c.panicked || slices.ContainsFunc(os, func(o outage) bool { return o.fails && o.meets(c) }) {
			continue
		}
		if c.err != nil && !m.gaveUp(c) {
			m.failf(c, "a Connect call begun %v failed %v: %v", m.since(c.begin), m.since(c.end), c.err)
			if !errors.Is(c.err, driver.ErrAuthFailed) {
				m.failf(c, "and the error is not ErrAuthFailed")
			}
		}
		if slices.ContainsFunc(os, func(o outage) bool { return o.meets(c) }) {
			continue
		}
		if d := c.end.Sub(c.begin); d > limit && d > limit+m.delay(c, logins) {
			m.failf(c, "a Connect call begun %v took %v, want %v at most", m.since(c.begin), d, limit+m.delay(c, logins))
		}
	}
}

// gaveUp reports whether a Connect call may have failed because its caller gave up. A call with a deadline
// may fail earlier, because it does not wait for a refresh that is due after the deadline.
func (m *model) gaveUp(c connectCall) bool {
	return !c.cancel.IsZero() && (!c.end.Before(c.cancel) || c.deadline && c.cancel.Sub(c.begin) < m.limit())
}

func (m *model) checkLogins(logins []login) {
	rejections := map[string][]login{} // by version
	for _, l := range logins {
		if l.rejected() {
			rejections[l.key()] = append(rejections[l.key()], l)
		}
	}
	for _, l := range logins {
		var last login // the last rejection before the login
		for _, r := range rejections[l.key()] {
			if r.end.Before(l.begin) && r.end.After(last.end) {
				last = r
			}
		}
		if last.end.IsZero() || l.begin.Sub(last.end) >= 750*time.Millisecond ||
			slices.ContainsFunc(logins, func(a login) bool {
				return a.key() == l.key() && m.acceptedLogin(&a) && a.begin.After(last.end) && a.end.Before(l.begin)
			}) {
			continue
		}
		if !slices.ContainsFunc(m.steps, func(s modelStep) bool {
			return s.moved && m.key(s.current) == l.key() && !s.at.Before(last.begin) && !s.at.After(l.begin)
		}) && !m.frozen(last.end, l.begin) && !m.movedBack(l.key(), last.begin, l.begin) {
			m.failf(connectCall{begin: l.begin, end: l.end}, "a login with %s began %v, %v after a rejection", l.key(), m.since(l.begin), l.begin.Sub(last.end))
		}
	}
}

// frozen reports whether the wall clock was set forward between two times. The library may then conclude
// that the machine was frozen, and that a pause is over.
func (m *model) frozen(from, to time.Time) bool {
	return slices.ContainsFunc(m.harm.clock, func(s clockStep) bool {
		return s.by > 0 && !s.at.Before(from) && !s.at.After(to)
	})
}

// movedBack reports whether the source said between two times that the stage moved to a version. After a
// rollback, a source with its own cache may say for a while that the stage still names the newer version.
func (m *model) movedBack(key string, from, to time.Time) bool {
	if m.faults.chain == noChain {
		return false
	}
	before := ""
	for _, f := range m.harm.fetches {
		if f.stage != "AWSCURRENT" || f.err != nil || f.end.After(to) {
			continue
		}
		if !f.end.Before(from) && f.version != before && before != "" && slices.ContainsFunc(m.steps, func(s modelStep) bool {
			return m.key(s.current) == key && m.versions[s.current].value() == f.version
		}) {
			return true
		}
		before = f.version
	}
	return false
}

// checkCalls checks the number of fetches. There are more if the source has faults, because fetches are
// repeated. If a caller gives up, its fetch may not count for the next caller. After Invalidate or a step of
// the wall clock, the next Get fetches. Invalidate costs one more fetch, because the last refresh does not
// count any more.
func (m *model) checkCalls(logins []login) {
	if m.ttl < time.Hour || len(m.outages(logins)) > 0 || len(m.sourceTimes()) > 0 {
		return
	}
	want := 1 + 4*m.rotations + 2*len(m.harm.invalidated) + len(m.harm.clock)
	for _, c := range m.attempts {
		if c.err != nil && !c.cancel.IsZero() {
			want++
		}
	}
	if n := len(m.harm.fetches); n > want {
		m.failf(connectCall{}, "%d fetches in %d rotations, want %d at most", n, m.rotations, want)
	}
}

// checkVersions checks that user, password and host of a login come from one version.
func (m *model) checkVersions(logins []login) {
	known := map[string]bool{}
	for version := range m.versions {
		known[m.key(version)] = true
	}
	for _, l := range logins {
		if !known[l.key()] {
			m.failf(connectCall{begin: l.begin, end: l.end}, "a login begun %v with %s, which is no version", m.since(l.begin), l.key())
		}
	}
}

// checkInFlight checks how many logins with one version are in flight at once.
func (m *model) checkInFlight(logins []login) {
	byKey := map[string][]*login{}
	for i := range logins {
		l := &logins[i]
		byKey[l.key()] = append(byKey[l.key()], l)
	}
	for key, ls := range byKey {
		var flying []*login
		var accepted time.Time // end of the last accepted login
		free := false          // a login failed for another reason, so the waiting calls try on their own
		for _, l := range ls {
			flying = slices.DeleteFunc(flying, func(f *login) bool {
				over := f.end.Before(l.begin)
				switch {
				case !over:
				case m.acceptedLogin(f):
					accepted = later(accepted, f.end)
				case !f.rejected() && !m.gaveUpLogin(f):
					free = true
				}
				return over
			})
			flying = append(flying, l)
			// Logins that end at this time may have ended already. They then count as accepted.
			n, unsure := 0, false
			for _, f := range flying {
				if f.end.After(l.begin) || f == l {
					n++
				} else {
					unsure = true
				}
			}
			want := len(ls)
			switch {
			case unsure:
			case accepted.IsZero() && !free:
				want = 1
			}
			if m.opts.MaxLogins > 0 {
				want = min(want, m.opts.MaxLogins)
			}
			if n > want {
				m.failf(connectCall{begin: l.begin, end: l.end}, "%d logins with %s are in flight %v, want %d at most", n, key, m.since(l.begin), want)
			}
		}
	}
}

// gaveUpLogin reports whether a login ended because its caller gave up.
func (m *model) gaveUpLogin(l *login) bool {
	return errors.Is(l.err, context.Canceled) || errors.Is(l.err, context.DeadlineExceeded)
}

// checkWaits checks that no call lasts longer than its caller allows.
func (m *model) checkWaits() {
	longest := m.window + driver.DefaultConnectTimeout + m.limit()
	for _, c := range m.attempts {
		if !c.cancel.IsZero() && c.end.After(c.cancel) {
			m.failf(c, "a Connect call begun %v ended %v, %v after its caller gave up: %v", m.since(c.begin), m.since(c.end), c.end.Sub(c.cancel), c.err)
		}
		if d := c.end.Sub(c.begin); d > longest {
			m.failf(c, "a Connect call begun %v took %v, want %v at most in any case", m.since(c.begin), d, longest)
		}
	}
}

// checkRecovery checks that a valid version is found when all pauses are over.
func (m *model) checkRecovery() {
	m.mu.Lock()
	m.harm.over = true
	m.mu.Unlock()
	time.Sleep(6 * time.Minute)
	s := m.steps[len(m.steps)-1]
	if !s.valid[s.current] && !s.valid[s.pending] {
		return
	}
	c := connectCall{begin: time.Now()}
	if err := m.ping(m.t.Context()); err != nil {
		c.end = time.Now()
		m.failf(c, "a Connect call begun %v, six minutes after the end, failed: %v", m.since(c.begin), err)
	}
}
