package driver_test

import "time"

// An outage is a time in which Connect calls may take longer. If fails is true, they may also fail.
type outage struct {
	begin, end time.Time
	fails      bool
}

func (o outage) meets(c connectCall) bool { return c.begin.Before(o.end) && !c.end.Before(o.begin) }

// outages returns three kinds of outages: the times in which no version of the secret is valid; the times in
// which the only valid version is held back, because it was rejected before; and the outages of the source.
// If the database moves before the secret does, the outage goes on until the next refresh is due, which is at
// most longestPause later.
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
				end = earlier(end.Add(longestPause), m.nextAccepted(logins, end))
			}
			os = append(os, outage{s.at, end, true})
			continue
		}
		// The version is valid again, but it was rejected before. It is held back until the pause is
		// over, and then one login is sent first.
		for _, version := range []int{s.current, s.pending} {
			if !offers(s, version) {
				continue
			}
			var rejection, first *login // the last rejected login before, and the first accepted login after
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
// While the database accepts the version that it accepted last, no Connect call may fail or take longer,
// whatever the source does: the cache serves that version. An outage begins when the database no longer
// accepts a version; or at the start, when nothing is cached; or when the cached secret is too old to be
// served, by the clock. It ends when the server accepts a version (or, for the clock, when a version is
// fetched), because from then on every call has to use that version. All this is an outage only during
// sourceTimes.
//
// After Invalidate, a call may take longer while its fetch hangs.
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
	// A secret that is too old to be served has to be fetched first. The library reads the wall clock
	// once a second, so a secret that it fetches in the first second seems too old as well.
	for _, c := range m.harm.clock {
		if c.by == longStep {
			end := notYet()
			if f := m.fetchAfter(c.at.Add(time.Second), true); f != nil {
				end = f.end
			}
			broken(c.at, end)
		}
	}
	// After Invalidate, a Get waits for the fetch that is under way and for the next one, however long
	// they take.
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

// nextAccepted returns the end of the first accepted login that began at or after a time. If there is none,
// it returns the current time.
func (m *model) nextAccepted(logins []login, after time.Time) time.Time {
	end := notYet()
	for _, l := range logins {
		if m.acceptedLogin(&l) && !l.begin.Before(after) {
			end = earlier(end, l.end)
		}
	}
	return end
}

// notYet returns the end of an outage that is not over, so that a call that ends now is inside of it.
func notYet() time.Time { return time.Now().Add(1) }

// lost reports whether the database accepted a version before and rejects it now.
func lost(before, now modelStep) bool {
	for version := range before.valid {
		if !now.valid[version] {
			return true
		}
	}
	return false
}

// fetchAfter returns the first fetch of AWSCURRENT that began at or after a time, or nil. If succeeded is
// true, it must have succeeded. m.mu is held.
func (m *model) fetchAfter(at time.Time, succeeded bool) *modelFetch {
	for _, f := range m.harm.fetches {
		if f.stage == "AWSCURRENT" && !f.begin.Before(at) && (!succeeded || f.err == nil && !f.end.IsZero()) {
			return f
		}
	}
	return nil
}

// landed returns when the cache had the result of a fetch. The cache gives up a fetch after FetchTimeout.
// m.mu is held.
func (m *model) landed(f *modelFetch) time.Time {
	end := f.end
	if end.IsZero() {
		end = notYet()
	}
	return earlier(end, f.begin.Add(m.faults.timeout()+100*time.Millisecond))
}

// sourceTimes returns the times in which a secret cannot be fetched, or not quickly. Each lasts from the begin
// to the end of a fetch with a fault. If the fetch fails, the documented backoff is added: 1 s, doubled after
// each further failure in a row, at most longestPause. For a fallback stage, the driver's own backoff is added
// too, at most longestPause. In a chain, a source whose cache cannot be bypassed may answer instead of a
// source that fails, and return an old version. That counts as a refresh that finds nothing newer, with the
// same backoff.
func (m *model) sourceTimes() (times []outage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	failed := map[string]int{} // in a row, by stage
	for _, f := range m.harm.fetches {
		end := m.landed(f)
		if f.err == nil && !m.outdated(f) {
			failed[f.stage] = 0
		} else {
			end = end.Add(min(time.Second<<min(failed[f.stage], 10), longestPause))
			failed[f.stage]++
			if f.stage != "AWSCURRENT" {
				end = end.Add(longestPause)
			}
		}
		if f.fault != "" {
			times = append(times, outage{f.begin, end, true})
		}
	}
	return times
}

// outdated reports whether a fetch with a fault returned another version than AWSCURRENT named when the fetch
// ended. m.mu is held.
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

// awaitSource sleeps until the source's faults, and the backoffs after them, are over.
func (m *model) awaitSource() {
	for {
		end := time.Now()
		for _, t := range m.sourceTimes() {
			end = later(end, t.end.Add(longestPause+time.Second))
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
