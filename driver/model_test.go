package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Random rotations under random load, each drawn from a seed, against what a program
// may rely on; see model.check. SQLSECRETS_MODEL_SEEDS says how many seeds (default
// 300) and SQLSECRETS_MODEL_SEED which is the first (default 1). One alone is
//
//	SQLSECRETS_MODEL_SEED=33922 SQLSECRETS_MODEL_SEEDS=1 go test ./driver -run TestModel
//
// which draws the same schedule, but not the same jitter of the pauses.
func TestModel(t *testing.T) {
	first, seeds := setting(t, "SQLSECRETS_MODEL_SEED", 1), setting(t, "SQLSECRETS_MODEL_SEEDS", 300)
	if raceEnabled {
		seeds = min(seeds, max(20, seeds/10))
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newModel(t, seed).run() })
		})
	}
}

func setting(t *testing.T, name string, otherwise uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s is not a number", name, s)
	}
	return n
}

// A model is one schedule, and what came of it.
type model struct {
	*bench
	t           *testing.T
	random      *rand.Rand // of the schedule
	seed        uint64
	start       time.Time
	alternating bool
	window      time.Duration
	ttl         time.Duration
	workers     int
	pause       time.Duration // of each between two connects, for each worker
	pool        *sql.DB       // nil: the workers call Connect
	login       time.Duration
	fetch       time.Duration

	mu       sync.Mutex
	drawn    uint64
	stopped  bool
	resting  bool // the workers are not to connect
	connects []connect
	steps    []modelStep

	// The rotation function's view.
	last      int // number of the newest version
	current   int // version of AWSCURRENT
	pending   int // version of AWSPENDING, 0 if none, -1 if an empty one
	users     map[string]int
	rotations int
}

type connect struct {
	begin, end time.Time
	err        error
}

// A modelStep is a state of the secret and the database, from a moment on.
type modelStep struct {
	at               time.Time
	what             string
	current, pending int
	valid            map[string]int // by user, the version whose password it has
	moved            bool           // AWSCURRENT has moved
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), start: time.Now(),
		last: 1, current: 1, users: map[string]int{"app": 1},
	}
	m.alternating = m.random.IntN(3) == 0
	m.workers = 1 + m.random.IntN(40)
	m.pause = []time.Duration{10 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond}[m.random.IntN(4)]
	m.login = []time.Duration{0, time.Millisecond, 50 * time.Millisecond}[m.random.IntN(3)]
	m.fetch = []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond}[m.random.IntN(3)]
	m.ttl = []time.Duration{time.Hour, time.Hour, 10 * time.Second, time.Second}[m.random.IntN(4)]
	if m.random.IntN(4) == 0 {
		m.window = time.Duration(1+m.random.IntN(20)) * time.Second
	}
	m.bench = newBench(t, func(b *bench, _ *string) {
		b.opts.RotationWindow = m.window
		b.opts.CloseSuperseded = m.random.IntN(3) == 0
		if m.random.IntN(4) == 0 {
			b.opts.MaxLogins = 1 + m.random.IntN(4)
		}
		b.db.latency = func(n int) time.Duration { return m.draw(m.login) }
		b.store.setFault(func(ctx context.Context, _ string) error { return wait(ctx, m.draw(m.fetch)) })
		b.cache = secretcache.New(b.store, &secretcache.Options{TTL: m.ttl})
	})
	if m.random.IntN(2) == 0 {
		m.pool = sql.OpenDB(m.Connector)
		m.pool.SetConnMaxLifetime(time.Duration(1 + upTo(m.random, 200*time.Millisecond)))
	}
	return m
}

// draw returns a random latency.
func (m *model) draw(limit time.Duration) time.Duration {
	if limit == 0 {
		return 0
	}
	m.mu.Lock()
	m.drawn++
	x := m.seed<<32 + m.drawn
	m.mu.Unlock()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9 // splitmix64
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return time.Duration((x ^ x>>31) % uint64(limit))
}

func upTo(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit)))
}

func (m *model) run() {
	m.note("start", false)
	var wg sync.WaitGroup
	for i := range m.workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(m.seed, uint64(i)+1))
			for m.working() {
				time.Sleep(upTo(random, time.Duration(m.workers)*m.pause))
				if !m.idle() {
					m.connect()
				}
			}
		})
	}
	for range 2 + m.random.IntN(4) {
		time.Sleep(upTo(m.random, 3*time.Second))
		begin := time.Now()
		m.rotate(&wg)
		time.Sleep(minGap)
		if slices.ContainsFunc(m.outages(m.db.log()), func(o outage) bool { return !o.begin.Before(begin) }) {
			m.setIdle(true)
			time.Sleep(settled)
			m.setIdle(false)
		}
	}
	time.Sleep(time.Second)
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	wg.Wait()
	if m.pool != nil {
		_ = m.pool.Close()
	}
	_ = m.cache.Close()
	m.check()
}

func (m *model) working() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.stopped
}

func (m *model) idle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.resting
}

func (m *model) setIdle(idle bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resting = idle
}

func (m *model) connect() {
	c := connect{begin: time.Now()}
	if m.pool == nil {
		c.err = m.ping(m.t.Context())
	} else {
		var conn *sql.Conn
		if conn, c.err = m.pool.Conn(m.t.Context()); c.err == nil {
			c.err = conn.Close()
		}
	}
	c.end = time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connects = append(m.connects, c)
}

func passwordOf(version int) string { return "pw" + strconv.Itoa(version) }

func versionID(version int) string { return "v" + strconv.Itoa(version) }

func (m *model) user(version int) string {
	if m.alternating && version%2 == 0 {
		return "app_clone"
	}
	return "app"
}

// note ends a step.
func (m *model) note(what string, moved bool) {
	valid := map[string]int{}
	for user, version := range m.users {
		valid[user] = version
	}
	m.steps = append(m.steps, modelStep{time.Now(), what, m.current, m.pending, valid, moved})
}

// create makes a version for AWSPENDING.
func (m *model) create() (version int) {
	m.last++
	if m.alternating && m.user(m.last) == m.user(m.current) {
		m.last++
	}
	m.pending = m.last
	m.store.put(versionID(m.last), credentials(m.user(m.last), passwordOf(m.last)), "AWSPENDING")
	m.note(fmt.Sprint("create ", m.last), false)
	return m.last
}

// set changes the database.
func (m *model) set(version int) {
	m.users[m.user(version)] = version
	m.db.set(m.user(version), passwordOf(version))
	m.note(fmt.Sprint("set ", version), false)
}

// finish moves AWSCURRENT.
func (m *model) finish(version int) {
	m.current = version
	m.store.move("AWSCURRENT", versionID(version))
	if m.pending == version {
		m.pending = 0
	}
	if m.random.IntN(2) == 0 {
		m.pending = version
		m.store.move("AWSPENDING", versionID(version))
	}
	m.note(fmt.Sprint("finish ", version), true)
}

// abandon is what a rotation that failed leaves behind.
func (m *model) abandon() {
	switch m.random.IntN(3) {
	case 0:
		m.pending = 0
		m.store.move("AWSPENDING", "")
	case 1:
		m.pending = -1
		m.store.put("empty"+strconv.Itoa(m.last), "", "AWSPENDING")
	}
	m.note("abandon", false)
}

const (
	// One connect meets no two rotations.
	minGap = time.Second
	// After an outage, looks that found nothing have spaced the next by up to half a
	// minute, and for one more are taken for the same outage's.
	settled = 62 * time.Second
)

// rotate makes one rotation, good or bad.
func (m *model) rotate(wg *sync.WaitGroup) {
	m.rotations++
	if m.random.IntN(4) == 0 { // a burst
		within := []time.Duration{0, 20 * time.Millisecond, 2 * time.Second}[m.random.IntN(3)]
		for range m.random.IntN(40) {
			wg.Go(func() {
				time.Sleep(m.draw(within))
				m.connect()
			})
		}
	}
	pause := func() {
		if m.random.IntN(4) > 0 {
			time.Sleep(upTo(m.random, []time.Duration{10 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second}[m.random.IntN(3)]))
		}
	}
	kind := m.random.IntN(10)
	version := m.create()
	pause()
	switch kind {
	case 0: // fails at set, and never comes back
		m.abandon()
		return
	case 1: // fails at set, and begins anew
		m.abandon()
		pause()
		version = m.create()
		pause()
	}
	old := m.users[m.user(version)]
	m.set(version)
	pause()
	switch kind {
	case 2: // fails at test, and is retried
		time.Sleep(upTo(m.random, 4*time.Second))
	case 3: // fails at test, and the database is set back
		if !m.alternating {
			m.set(old)
		}
		m.abandon()
		return
	}
	m.finish(version)
	switch kind {
	case 4: // is undone as a whole
		pause()
		if old != 0 && !m.alternating {
			m.users[m.user(old)] = old
			m.db.set(m.user(old), passwordOf(old))
			m.finish(old)
		}
	}
}

// check compares what happened to what may. But for outages, no connect fails, nor takes
// longer than a look's pause and its calls; no login follows a rejection that was
// received before the pause is over or the stage has moved to the version; a rotation
// costs four fetches at most. That no goroutine is left is checked by synctest.
func (m *model) check() {
	logins := m.db.log()
	m.checkFailures(logins)
	m.checkLogins(logins)
	m.checkCalls(logins)
	if m.t.Failed() {
		m.report(logins)
	}
}

func (m *model) since(at time.Time) time.Duration { return at.Sub(m.start) }

func (m *model) report(logins []login) {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: alternating %v, %d workers, pool %v, logins take %v, fetches %v, TTL %v, window %v, MaxLogins %d, CloseSuperseded %v\n",
		m.seed, m.alternating, m.workers, m.pool != nil, m.login, m.fetch, m.ttl, m.window, m.opts.MaxLogins, m.opts.CloseSuperseded)
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, s := range m.steps {
		lines = append(lines, line{s.at, fmt.Sprintf("%s (current %d, pending %d, valid %v)", s.what, s.current, s.pending, s.valid)})
	}
	var accepted string
	for _, l := range logins {
		switch {
		case l.rejected():
			lines = append(lines, line{l.begin, fmt.Sprintf("login with %s, rejected %v", l.password, m.since(l.end))})
			accepted = ""
		case l.password != accepted:
			lines = append(lines, line{l.begin, fmt.Sprintf("login with %s, accepted %v", l.password, m.since(l.end))})
			accepted = l.password
		}
	}
	for _, f := range m.store.fetches {
		lines = append(lines, line{f.at, "fetch of " + f.stage})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	for _, l := range lines {
		fmt.Fprintf(&b, "%12v  %s\n", m.since(l.at), l.text)
	}
	m.t.Log(b.String())
}

// An outage is a time in which connects may fail.
type outage struct{ begin, end time.Time }

// outages returns the times in which no version that the secret offers is valid,
// and those after the only valid one was rejected, for as long as it may not be
// sent again.
func (m *model) outages(logins []login) []outage {
	var os []outage
	offers := func(s modelStep, version int) bool {
		return version > 0 && s.valid[m.user(version)] == version && (s.current == version || s.pending == version)
	}
	for i, s := range m.steps {
		end := time.Now()
		if i+1 < len(m.steps) {
			end = m.steps[i+1].at
		}
		if !offers(s, s.current) && !offers(s, s.pending) {
			os = append(os, outage{s.at, end})
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
				case l.password != passwordOf(version) || l.end.IsZero():
				case l.rejected() && l.begin.Before(s.at):
					if rejection == nil || l.end.After(rejection.end) {
						rejection = l
					}
				case l.rejected():
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
			os = append(os, outage{s.at, until})
		}
	}
	return os
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (m *model) checkFailures(logins []login) {
	os := m.outages(logins)
	limit := 1200*time.Millisecond + 4*m.login + 5*m.fetch
	if m.opts.MaxLogins > 0 {
		limit += 2 * time.Duration(m.workers+40) * m.login // in a queue
	}
	for _, c := range m.connects {
		if slices.ContainsFunc(os, func(o outage) bool { return c.begin.Before(o.end) && !c.end.Before(o.begin) }) {
			continue
		}
		if c.err != nil {
			m.t.Errorf("a connect begun %v failed %v: %v", m.since(c.begin), m.since(c.end), c.err)
			if !errors.Is(c.err, driver.ErrAuthFailed) {
				m.t.Errorf("and not for its credentials")
			}
		}
		if d := c.end.Sub(c.begin); d > limit {
			m.t.Errorf("a connect begun %v took %v, want %v at most", m.since(c.begin), d, limit)
		}
	}
}

func (m *model) checkLogins(logins []login) {
	rejections := map[string][]login{} // by password
	for _, l := range logins {
		if l.rejected() {
			rejections[l.password] = append(rejections[l.password], l)
		}
	}
	for _, l := range logins {
		var last login // the rejection that counts
		for _, r := range rejections[l.password] {
			if r.end.Before(l.begin) && r.end.After(last.end) {
				last = r
			}
		}
		if last.end.IsZero() || l.begin.Sub(last.end) >= 750*time.Millisecond ||
			slices.ContainsFunc(logins, func(a login) bool {
				return a.password == l.password && !a.rejected() && a.begin.After(last.end) && a.end.Before(l.begin)
			}) {
			continue
		}
		if !slices.ContainsFunc(m.steps, func(s modelStep) bool {
			return s.moved && passwordOf(s.current) == l.password && !s.at.Before(last.begin) && !s.at.After(l.begin)
		}) {
			m.t.Errorf("a login with %s began %v, %v after a rejection", l.password, m.since(l.begin), l.begin.Sub(last.end))
		}
	}
}

func (m *model) checkCalls(logins []login) {
	if m.ttl < time.Hour || len(m.outages(logins)) > 0 {
		return
	}
	if n := m.store.calls(""); n > 1+4*m.rotations {
		m.t.Errorf("%d fetches in %d rotations, want %d at most", n, m.rotations, 1+4*m.rotations)
	}
}
