package driver_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
)

// checksThree can be switched off for a library that does not bound logins with a version
// that was last accepted over a second ago; see checkInFlight.
const checksThree = true

// check compares what happened to what may. Outside of outages
//
//   - no Connect call fails, and none takes longer than the pause before a refresh and
//     the logins and fetches that it needs;
//   - a rotation costs four fetches at most.
//
// And at all times
//
//   - after a rejection, no login is sent with the version until the pause is over or the
//     stage has moved to it;
//   - a login has user, password and host of one version;
//   - a version that was never accepted is tried by one login at a time, one that was
//     last accepted over a second ago by three, and any by MaxLogins;
//   - a call returns as soon as its caller gives up, and at the latest after
//     RotationWindow and ConnectTimeout;
//   - six minutes after the end, when all pauses are over, a Connect call succeeds if the
//     secret offers a valid version.
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

// key is the same for all logins with one version, and for no others.
func (l *login) key() string { return l.addr + " " + l.user + " " + l.password }

func (m *model) key(version int) string {
	v := m.versions[version]
	return v.host + ":3306 " + v.user + " " + v.password
}

// acceptedLogin reports whether the server has accepted a login.
func (m *model) acceptedLogin(l *login) bool {
	return l.err == nil && !l.end.IsZero() && !m.panicked(l)
}

// panicked reports whether the engine did in the login.
func (m *model) panicked(l *login) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.harm.panicked[l.n]
}

// cutShort reports whether the login ended because its engine panicked or its caller
// gave up: others may have waited for it, and learnt nothing.
func (m *model) cutShort(l *login) bool {
	return m.panicked(l) || m.gaveUpLogin(l)
}

// An outage is a time in which Connect calls may take longer. They may also fail if fails
// is set.
type outage struct {
	begin, end time.Time
	fails      bool
}

func (o outage) meets(c connectCall) bool { return c.begin.Before(o.end) && !c.end.Before(o.begin) }

// outages returns the times in which no version that the secret offers is valid, and
// those after the only valid one was rejected, for as long as it may not be sent again;
// and the outages of the source. If the database moved before the secret did, the outage
// goes on until the next refresh is due, which is 30 s at most.
func (m *model) outages(logins []login) []outage {
	os := m.sourceOutages(logins)
	offers := func(s modelStep, version int) bool {
		return version > 0 && s.valid[version] && (s.current == version || s.pending == version)
	}
	for i, s := range m.steps {
		end := time.Now()
		if i+1 < len(m.steps) {
			end = m.steps[i+1].at
		}
		if !offers(s, s.current) && !offers(s, s.pending) {
			if s.shut {
				end = earlier(end.Add(30*time.Second), m.nextAccepted(logins, end))
			}
			os = append(os, outage{s.at, end, true})
			continue
		}
		// Valid, but it was rejected before, in a time that is over: it is not sent
		// again before the pause is over, and by one login first.
		for _, version := range []int{s.current, s.pending} {
			if !offers(s, version) {
				continue
			}
			var rejection, first *login // the last before, and the first that is accepted since
			for i := range logins {
				l := &logins[i]
				switch {
				case l.key() != m.key(version) || l.end.IsZero():
				case l.rejected() && l.begin.Before(s.at):
					if rejection == nil || l.end.After(rejection.end) {
						rejection = l
					}
				case !m.acceptedLogin(l):
				case l.end.Before(s.at):
					if rejection != nil && l.begin.After(rejection.end) {
						rejection = nil
					}
				case first == nil && rejection != nil && l.begin.After(rejection.end):
					first = l
				}
			}
			if rejection == nil {
				continue
			}
			until := time.Now()
			if first != nil {
				until = first.end
			}
			until = later(until, rejection.end.Add(1100*time.Millisecond))
			os = append(os, outage{s.at, until, true})
		}
	}
	return os
}

// sourceOutages returns the outages of the source.
//
// Old is better than down: while the database accepts the version that it accepted last,
// no Connect call may fail or take longer, whatever the source does. An outage begins
// when the database no longer accepts a version, or at the start, when nothing is cached,
// or when the clock says that the cached secret is too old to be served. It ends when a
// version is accepted (or, for the clock, fetched): from then on every call has to use
// that one. And it is an outage only at the times of sourceTimes.
//
// After Invalidate a call may take longer while the fetch that it asks for hangs.
func (m *model) sourceOutages(logins []login) (os []outage) {
	times := m.sourceTimes()
	if len(times) == 0 {
		return nil
	}
	broken := func(begin, end time.Time) {
		for _, t := range times {
			if o := (outage{later(begin, t.begin), earlier(end, t.end), true}); !o.end.Before(o.begin) {
				os = append(os, o)
			}
		}
	}
	for i, s := range m.steps {
		if i == 0 || lost(m.steps[i-1], s) {
			broken(s.at, m.nextAccepted(logins, s.at))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// A secret that is too old to be served has to be fetched first. The library reads the
	// wall clock once a second, so what it fetches in the first second seems that old, too.
	for _, c := range m.harm.clock {
		if c.by == longStep {
			end := notYet()
			if f := m.fetchAfter(c.at.Add(time.Second), true); f != nil {
				end = f.end
			}
			broken(c.at, end)
		}
	}
	// After Invalidate, a Get waits for the fetch that is under way and for the next one,
	// however long they take.
	for _, at := range m.harm.invalidated {
		next := m.fetchAfter(at, false)
		for _, f := range m.harm.fetches {
			if f.stage == "AWSCURRENT" && f.fault != "" && (f == next || f.begin.Before(at) && m.landed(f).After(at)) {
				os = append(os, outage{at, m.landed(f), false})
			}
		}
	}
	return os
}

// nextAccepted returns when the first login was accepted that began at or after a time, or
// now.
func (m *model) nextAccepted(logins []login, after time.Time) time.Time {
	end := notYet()
	for _, l := range logins {
		if m.acceptedLogin(&l) && !l.begin.Before(after) {
			end = earlier(end, l.end)
		}
	}
	return end
}

// notYet is the end of what is not over: a call that ends now is in it.
func notYet() time.Time { return time.Now().Add(1) }

// lost reports whether the database rejects a version now that it accepted before.
func lost(before, now modelStep) bool {
	for version := range before.valid {
		if !now.valid[version] {
			return true
		}
	}
	return false
}

// fetchAfter returns the first fetch of AWSCURRENT that began at or after a time, and
// succeeded if that is asked for; or nil. m.mu is held.
func (m *model) fetchAfter(at time.Time, succeeded bool) *modelFetch {
	for _, f := range m.harm.fetches {
		if f.stage == "AWSCURRENT" && !f.begin.Before(at) && (!succeeded || f.err == nil && !f.end.IsZero()) {
			return f
		}
	}
	return nil
}

// landed returns when the cache had the result of a fetch: it gives one up that goes on
// after FetchTimeout. m.mu is held.
func (m *model) landed(f *modelFetch) time.Time {
	end := f.end
	if end.IsZero() {
		end = notYet()
	}
	return earlier(end, f.begin.Add(m.faults.timeout()+100*time.Millisecond))
}

// sourceTimes returns the times in which a secret cannot be fetched, or not quickly. One
// lasts from the begin of a fetch that meets a fault to its end. If the fetch fails, the
// documented backoff comes on top: 1 s, twice that after each further failure in a row,
// 60 s at most. For a fallback stage, the driver's own backoff comes on top of that: 30 s
// at most. A source of a chain that cannot be asked past its cache may answer for one that
// fails, and then name an old version. That is a refresh that finds nothing newer: the
// backoff is the same, 30 s at most.
func (m *model) sourceTimes() (times []outage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	failed := map[string]int{} // in a row, by stage
	for _, f := range m.harm.fetches {
		end := m.landed(f)
		longest := time.Minute
		if m.outdated(f) {
			longest = 30 * time.Second
		}
		if f.err == nil && !m.outdated(f) {
			failed[f.stage] = 0
		} else {
			end = end.Add(min(time.Second<<min(failed[f.stage], 10), longest))
			failed[f.stage]++
			if f.stage != "AWSCURRENT" {
				end = end.Add(30 * time.Second)
			}
		}
		if f.fault != "" {
			times = append(times, outage{f.begin, end, true})
		}
	}
	return times
}

// outdated reports whether a fetch that met a fault brought another version of AWSCURRENT
// than the stage named at its end. m.mu is held.
func (m *model) outdated(f *modelFetch) bool {
	if f.fault == "" || f.err != nil || f.stage != "AWSCURRENT" {
		return false
	}
	current := 0
	for _, s := range m.steps {
		if !s.at.After(f.end) {
			current = s.current
		}
	}
	return f.version != m.versions[current].value()
}

// awaitSource sleeps until the source's faults are over and forgotten.
func (m *model) awaitSource() {
	for {
		end := time.Now()
		for _, t := range m.sourceTimes() {
			end = later(end, t.end.Add(31*time.Second))
		}
		m.mu.Lock()
		for _, w := range m.harm.windows {
			end = later(end, w.end)
		}
		m.mu.Unlock()
		if !end.After(time.Now()) {
			return
		}
		time.Sleep(time.Until(end))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// limit is how long a Connect call may take if nothing disturbs it.
func (m *model) limit() time.Duration {
	limit := 1200*time.Millisecond + 4*m.login + 5*m.fetch
	if m.opts.MaxLogins > 0 {
		limit += 2 * time.Duration(m.workers+40) * m.login // in a queue
	}
	return limit
}

// delay is how much longer a Connect call may take because of what happened meanwhile. It
// may have waited for logins that were cut short, one after the other, and for one fetch
// after each Invalidate and each step of the clock.
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
	for _, c := range m.connects {
		if c.panicked || slices.ContainsFunc(os, func(o outage) bool { return o.fails && o.meets(c) }) {
			continue
		}
		if c.err != nil && !m.gaveUp(c) {
			m.failf(c, "a Connect call begun %v failed %v: %v", m.since(c.begin), m.since(c.end), c.err)
			if !errors.Is(c.err, driver.ErrAuthFailed) {
				m.failf(c, "and not for its credentials")
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

// gaveUp reports whether a Connect call may have failed because its caller gave up. With
// a deadline it may fail earlier: it does not wait for a refresh that is due later.
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
		var last login // the rejection that counts
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

// frozen reports whether the wall clock was set forward between two times. The library
// may take that for the time for which the machine was frozen, and a pause for over.
func (m *model) frozen(from, to time.Time) bool {
	return slices.ContainsFunc(m.harm.clock, func(s clockStep) bool {
		return s.by > 0 && !s.at.Before(from) && !s.at.After(to)
	})
}

// movedBack reports whether the source said between two times that the stage moved to a
// version. After a roll-back, a source with a cache of its own may still say for a while
// that the stage names the newer version.
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

// checkCalls counts fetches. With faults of the source there are more, because fetches
// are repeated. A caller that gives up may leave a fetch that does not count for the next
// caller. Invalidate and a step of the wall clock cost a fetch for the next Get. Invalidate
// costs one more, because the last refresh does not count any more.
func (m *model) checkCalls(logins []login) {
	if m.ttl < time.Hour || len(m.outages(logins)) > 0 || len(m.sourceTimes()) > 0 {
		return
	}
	want := 1 + 4*m.rotations + 2*len(m.harm.invalidated) + len(m.harm.clock)
	for _, c := range m.connects {
		if c.err != nil && !c.cancel.IsZero() {
			want++
		}
	}
	if n := len(m.harm.fetches); n > want {
		m.failf(connectCall{}, "%d fetches in %d rotations, want %d at most", n, m.rotations, want)
	}
}

// checkVersions checks that user, password and host of a login are of one version.
func (m *model) checkVersions(logins []login) {
	known := map[string]bool{}
	for version := range m.versions {
		known[m.key(version)] = true
	}
	for _, l := range logins {
		if !known[l.key()] {
			m.failf(connectCall{begin: l.begin, end: l.end}, "a login begun %v with %s, which no version says", m.since(l.begin), l.key())
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
		var accepted time.Time // the last one
		free := false          // a login failed for another reason: the others try on their own
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
			// Those that end at this instant may be over, and then count as accepted.
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
			case !accepted.IsZero() && checksThree && l.begin.Sub(accepted) > time.Second:
				want = 3
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

// checkWaits checks that no caller waits longer than it said.
func (m *model) checkWaits() {
	longest := m.window + driver.DefaultConnectTimeout + m.limit()
	for _, c := range m.connects {
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

// failf fails the test because of what happened to c; the zero c means all of the seed. It
// prints the first few failures only.
func (m *model) failf(c connectCall, format string, args ...any) {
	m.t.Helper()
	if m.failures++; m.failures <= 5 {
		m.t.Errorf(format, args...)
	}
	if !c.end.IsZero() && (m.failed.IsZero() || c.end.Before(m.failed)) {
		m.failed = c.end
	}
}

// reported is how many events before the first failure a report has; -v has all.
const reported = 60

func (m *model) report(logins []login) {
	type event struct {
		at   time.Time
		text string
	}
	var all []event
	add := func(at time.Time, format string, args ...any) {
		all = append(all, event{at, fmt.Sprintf(format, args...)})
	}
	for _, s := range m.steps {
		var valid []int
		for version := range s.valid {
			valid = append(valid, version)
		}
		slices.Sort(valid)
		add(s.at, "%s (current %d, pending %d, valid %v)", s.what, s.current, s.pending, valid)
	}
	var accepted string
	for _, l := range logins {
		switch {
		case m.panicked(&l):
			add(l.begin, "login with %s, panic %v", l.key(), m.since(l.end))
		case l.rejected():
			add(l.begin, "login with %s, rejected %v", l.key(), m.since(l.end))
			accepted = ""
		case l.err != nil:
			add(l.begin, "login with %s, ended %v: %v", l.key(), m.since(l.end), l.err)
		case l.key() != accepted: // of those in a row, the first
			add(l.begin, "login with %s, accepted %v", l.key(), m.since(l.end))
			accepted = l.key()
		}
	}
	for _, f := range m.harm.fetches {
		switch fresh := map[bool]string{true: "fresh "}[f.fresh]; {
		case f.err != nil:
			add(f.begin, "%sfetch of %s, failed %v: %v", fresh, f.stage, m.since(f.end), f.err)
		default:
			add(f.begin, "%sfetch of %s, done %v: %s", fresh, f.stage, m.since(f.end), f.version)
		}
	}
	for _, w := range m.harm.windows {
		add(w.begin, "the source %s until %v (%s, half of the fetches: %v)", w.kind, m.since(w.end), w.of, w.half)
	}
	for _, at := range m.harm.invalidated {
		add(at, "Invalidate")
	}
	for _, s := range m.harm.clock {
		add(s.at, "the wall clock is set by %v", s.by)
	}
	for _, c := range m.connects {
		if c.err != nil {
			add(c.end, "a Connect call begun %v fails, its caller gave up: %v", m.since(c.begin), m.gaveUp(c))
		}
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })

	first, end := 0, len(all)
	if !testing.Verbose() {
		if !m.failed.IsZero() {
			end, _ = slices.BinarySearchFunc(all, m.failed, func(e event, at time.Time) int { return cmp.Or(e.at.Compare(at), -1) })
		}
		first = max(0, end-reported)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: alternating %v, %d workers, pool %v, logins take %v, fetches %v, TTL %v, window %v, MaxLogins %d, CloseSuperseded %v\n",
		m.seed, m.alternating, m.workers, m.pool != nil, m.login, m.fetch, m.ttl, m.window, m.opts.MaxLogins, m.opts.CloseSuperseded)
	fmt.Fprintf(&b, "%v\n%d failures\n", &m.faults, m.failures)
	fmt.Fprintf(&b, "events %d to %d of %d; to repeat the seed with all events, run\n\tSQLSECRETS_MODEL_SEED=%d SQLSECRETS_MODEL_SEEDS=1 go test ./driver -run TestModel -v\n",
		first+1, end, len(all), m.seed)
	for _, e := range all[first:end] {
		fmt.Fprintf(&b, "%14v  %s\n", m.since(e.at), e.text)
	}
	m.t.Log(b.String())
}
