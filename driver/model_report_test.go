package driver_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// failf fails the test because of the Connect call c, or because of the whole seed if c is zero. It prints only
// the first few failures.
func (m *model) failf(c connectCall, format string, args ...any) {
	m.t.Helper()
	if m.failures++; m.failures <= 5 {
		m.t.Errorf(format, args...)
	}
	if !c.end.IsZero() && (m.failed.IsZero() || c.end.Before(m.failed)) {
		m.failed = c.end
	}
}

// reported is the number of events before the first failure that a report has. With -v it has all.
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
		case l.key() != accepted: // the first one of several in a row
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
	for _, c := range m.attempts {
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
