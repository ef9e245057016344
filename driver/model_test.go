package driver_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/chance"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// TestModel makes random rotations under random load and checks the promises of the library. Half of the
// seeds have faults. See model.check and faults.
//
// SQLSECRETS_MODEL_SEEDS is the number of seeds (default 300) and SQLSECRETS_MODEL_SEED
// the first one (default 1). To repeat one seed, with all its events, run
//
//	SQLSECRETS_MODEL_SEED=33922 SQLSECRETS_MODEL_SEEDS=1 go test ./driver -run TestModel -v
//
// A seed has the same schedule, faults, latencies and jitter each time. Two things do not depend on the
// seed: which goroutine runs first if several wake at the same time, and which case a select takes if
// several are ready. So a seed that failed does not always fail again.
// Measured on 19 seeds that failed for defects of the library, each repeated 20 times: 16
// seeds failed every time, and 93 % of all repetitions failed.
func TestModel(t *testing.T) {
	first, seeds := setting(t, "SQLSECRETS_MODEL_SEED", 1), setting(t, "SQLSECRETS_MODEL_SEEDS", 300)
	if raceEnabled {
		seeds = min(seeds, max(20, seeds/10))
	} else {
		// On one processor, goroutines that wake at the same time run in nearly the same order each
		// time. On two processors, only 85 % of the repetitions failed. With the race detector, they
		// have to run in parallel.
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			defer chance.Seed(seed)()
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

// A model is one schedule, with the record of its events.
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
	pause       time.Duration // between two Connect calls, times the number of workers
	pool        *sql.DB       // nil: the workers call Connect
	login       time.Duration
	fetch       time.Duration
	faults      faults

	mu       sync.Mutex
	stopped  bool
	resting  bool // the workers make no calls
	attempts []connectCall
	steps    []modelStep
	harm     harm
	running  sync.WaitGroup // goroutines besides the schedule
	failed   time.Time      // the end of the first failure
	failures int

	// The state of the rotation function.
	last      int // number of the newest version
	current   int // version of AWSCURRENT
	pending   int // version of AWSPENDING; 0 if none; -1 if it is an empty version
	versions  map[int]modelVersion
	users     map[string]int  // by user, the version whose password the database has
	shut      map[string]bool // hosts that reject every login
	rotations int
}

// A modelVersion is the content of a version of the secret.
type modelVersion struct{ user, password, host string }

// A connectCall is one call of Connector.Connect.
type connectCall struct {
	begin, end time.Time
	err        error
	panicked   bool      // the engine panicked
	cancel     time.Time // when the caller gives up; zero: never
	deadline   bool      // cancel is the context's deadline
}

// A modelStep is a state of the secret and the database, from a time on.
type modelStep struct {
	at               time.Time
	what             string
	current, pending int
	valid            map[int]bool // the versions that the database accepts
	shut             bool         // a host has begun to reject all logins
	moved            bool         // AWSCURRENT has moved
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)), start: time.Now(),
		last: 1, current: 1, users: map[string]int{"app": 1}, shut: map[string]bool{},
		versions: map[int]modelVersion{1: {"app", passwordOf(1), firstHost}},
	}
	m.faults = drawFaults(seed)
	m.alternating = m.random.IntN(3) == 0
	m.workers = 1 + m.random.IntN(40)
	m.pause = []time.Duration{10 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond, 200 * time.Millisecond}[m.random.IntN(4)]
	m.login = []time.Duration{0, time.Millisecond, 50 * time.Millisecond}[m.random.IntN(3)]
	m.fetch = []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond}[m.random.IntN(3)]
	m.faults.usual = m.login + 2*m.fetch + time.Millisecond
	m.ttl = []time.Duration{time.Hour, time.Hour, 10 * time.Second, time.Second}[m.random.IntN(4)]
	if m.random.IntN(4) == 0 {
		m.window = time.Duration(1+m.random.IntN(20)) * time.Second
	}
	m.bench = newBench(t, func(b *bench, _ *string) {
		m.bench = b
		b.opts.RotationWindow = m.window
		b.opts.CloseSuperseded = m.random.IntN(3) == 0
		if m.random.IntN(4) == 0 {
			b.opts.MaxLogins = 1 + m.random.IntN(4)
		}
		logins, fetches := m.latencies(saltLogin), m.latencies(saltFetch)
		m.faults.panicsNow = m.latencies(saltPanic)
		m.faults.choice = m.latencies(saltFaults)
		b.db.latency = func(int) time.Duration { return logins.upTo(m.login) }
		b.db.setFault(m.faultyLogin)
		b.store.setFault(func(ctx context.Context, _ string) error {
			if err := wait(ctx, fetches.upTo(m.fetch)); err != nil {
				return err
			}
			return m.faultyFetch(ctx)
		})
		b.cache = secretcache.New(m.source(), &secretcache.Options{TTL: m.ttl, FetchTimeout: m.faults.fetchTimeout})
		if ids := m.faults.ids; ids == withoutIDs || ids == withoutIDsCopies {
			b.opts.Secrets = newIDless(b.cache, ids == withoutIDsCopies)
		}
	})
	if m.random.IntN(2) == 0 {
		m.pool = sql.OpenDB(m.Connector)
		m.pool.SetConnMaxLifetime(time.Duration(1 + upTo(m.random, 200*time.Millisecond)))
	}
	return m
}

// generator returns the generator for the n-th thing of a kind.
func (m *model) generator(salt, n uint64) *rand.Rand {
	return rand.New(rand.NewPCG(m.seed, salt<<32+n))
}

// Salts make generators different. The schedule and the workers have the generators 0 to 40, without a salt.
const (
	saltLogin uint64 = 1 + iota
	saltFetch
	saltPanic
	saltBurst
	saltCrowd
	saltCaller
	saltFaults
)

// latencies are random durations. They depend only on the seed and the time, not on how many were drawn
// before. So one more login does not change the latencies of all later logins.
type latencies struct {
	seed, salt uint64

	mu sync.Mutex
	at time.Time
	n  uint64 // how many were drawn at that time
}

func (m *model) latencies(salt uint64) *latencies { return &latencies{seed: m.seed, salt: salt} }

// upTo returns a duration in [0, limit).
func (l *latencies) upTo(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); now.Equal(l.at) {
		l.n++
	} else {
		l.at, l.n = now, 0
	}
	x := (l.seed<<8+l.salt)*0x9e3779b97f4a7c15 + uint64(l.at.UnixNano()) + l.n<<48
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9 // splitmix64
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return time.Duration((x ^ x>>31) % uint64(limit))
}

func upTo(random *rand.Rand, limit time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(limit)))
}

func (m *model) run() {
	defer m.resetClock()
	m.note("start", false)
	m.disturbStart()
	for i := range m.workers {
		m.running.Go(func() {
			random, caller := rand.New(rand.NewPCG(m.seed, uint64(i)+1)), m.generator(saltCaller, uint64(i))
			for m.working() {
				time.Sleep(upTo(random, time.Duration(m.workers)*m.pause))
				if !m.idle() {
					m.connect(caller)
				}
			}
		})
	}
	for range 2 + m.random.IntN(4) {
		time.Sleep(upTo(m.random, 3*time.Second))
		begin := time.Now()
		if m.disturb(); m.faults.moves() {
			m.moveDatabase()
		} else {
			m.rotate()
		}
		time.Sleep(minGap)
		if slices.ContainsFunc(m.outages(m.db.log()), func(o outage) bool { return o.fails && !o.begin.Before(begin) }) {
			m.setIdle(true)
			time.Sleep(settled)
			m.awaitSource()
			m.setIdle(false)
		}
	}
	time.Sleep(time.Second)
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.running.Wait()
	if m.pool != nil {
		_ = m.pool.Close()
	}
	m.check()
	_ = m.cache.Close()
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

// connect makes one Connect call. caller draws when the caller gives up.
func (m *model) connect(caller *rand.Rand) {
	ctx, c, cancel := m.faults.context(m.t.Context(), caller)
	defer cancel()
	c.begin = time.Now()
	func() {
		defer func() {
			switch p := recover(); p {
			case nil:
			case enginePanic:
				c.panicked = true
			default:
				panic(p)
			}
		}()
		if m.pool == nil {
			c.err = m.ping(ctx)
			return
		}
		var conn *sql.Conn
		if conn, c.err = m.pool.Conn(ctx); c.err == nil {
			c.err = conn.Close()
		}
	}()
	c.end = time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attempts = append(m.attempts, c)
}

const firstHost = "db.example.com"

func passwordOf(version int) string { return "pw" + strconv.Itoa(version) }

func versionID(version int) string { return "v" + strconv.Itoa(version) }

// nextUser returns the user of the version after the current one.
func (m *model) nextUser() string {
	if m.alternating && m.versions[m.current].user == "app" {
		return "app_clone"
	}
	return "app"
}

// value returns the JSON of a version.
func (v modelVersion) value() string {
	return fmt.Sprintf(`{"host":%q,"username":%q,"password":%q}`, v.host, v.user, v.password)
}

// accepted reports whether the database accepts a version.
func (m *model) accepted(v modelVersion) bool {
	version, ok := m.users[v.user]
	return ok && m.versions[version].password == v.password && !m.shut[v.host]
}

// note records the end of a step.
func (m *model) note(what string, moved bool) {
	valid := map[int]bool{}
	for version, v := range m.versions {
		if m.accepted(v) {
			valid[version] = true
		}
	}
	m.steps = append(m.steps, modelStep{at: time.Now(), what: what, current: m.current, pending: m.pending, valid: valid, moved: moved})
}

// create creates a version and moves AWSPENDING to it.
func (m *model) create() (version int) {
	m.last++
	m.versions[m.last] = modelVersion{m.nextUser(), passwordOf(m.last), m.faults.host(m.versions[m.current].host, m.last)}
	m.pending = m.last
	m.store.put(versionID(m.last), m.versions[m.last].value(), "AWSPENDING")
	m.note(fmt.Sprint("create ", m.last), false)
	return m.last
}

// set changes the database.
func (m *model) set(version int) {
	m.setPassword(version)
	m.note(fmt.Sprint("set ", version), false)
	m.crowd()
}

func (m *model) setPassword(version int) {
	v := m.versions[version]
	m.users[v.user] = version
	m.db.set(v.user, v.password)
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

// abandon leaves the state that a failed rotation leaves.
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
	// The time between rotations is so long that no Connect call sees two of them.
	minGap = time.Second
	// The longest pause between two refreshes.
	longestPause = 55 * time.Second
	// After an outage, the next refresh is due within longestPause. For another longestPause, a refresh that
	// finds nothing still counts as part of the same outage.
	settled = 2*longestPause + 2*time.Second
)

// rotate makes one rotation, good or bad.
func (m *model) rotate() {
	m.rotations++
	if m.random.IntN(4) == 0 { // a burst
		within := []time.Duration{0, 20 * time.Millisecond, 2 * time.Second}[m.random.IntN(3)]
		for i := range m.random.IntN(40) {
			caller := m.generator(saltBurst, uint64(m.rotations)<<8+uint64(i))
			m.running.Go(func() {
				time.Sleep(upTo(caller, within+1))
				m.connect(caller)
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
	case 0: // fails at set and is never repeated
		m.abandon()
		return
	case 1: // fails at set and begins again
		m.abandon()
		pause()
		version = m.create()
		pause()
	}
	old := m.users[m.versions[version].user]
	m.set(version)
	pause()
	switch kind {
	case 2: // fails at test and is repeated
		time.Sleep(upTo(m.random, 4*time.Second))
	case 3: // fails at test, and the database gets the old password back
		if !m.alternating {
			m.set(old)
		}
		m.abandon()
		return
	}
	m.finish(version)
	switch kind {
	case 4: // is rolled back completely
		pause()
		if old != 0 && !m.alternating {
			m.setPassword(old)
			m.finish(old)
		}
	}
}
