package driver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/clock"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Each kind of fault can be switched off here. This helps to test the rest of a library that has a known
// defect.
const (
	drawsWithoutIDs = true // Secrets that return versions without ids
	drawsCancelled  = true // callers that give up
	drawsPanics     = true // engines that panic
	drawsSource     = true // sources that hang, throttle, fail and panic
	drawsInvalidate = true
	drawsClock      = true // steps of the wall clock
	drawsHosts      = true // versions with another host, and databases that move
	drawsChain      = true // a chain of two sources, of which the first has its own cache
	drawsNoFresh    = true // the same, but the cache cannot be bypassed, as in the Lambda extension
)

// faults are the faults of a seed. A separate generator draws them. About half of the seeds have no faults.
type faults struct {
	random       *rand.Rand
	source       bool // the source has outages
	panics       bool // one login in twenty panics; in a crowd, one in three
	cancelled    bool // some callers give up
	invalidate   bool // the program calls Cache.Invalidate
	clock        bool // the wall clock is set
	hosts        bool // versions have other hosts, and the database moves
	chain        chainKind
	ids          idKind
	patient      int           // one of this many callers gives up
	usual        time.Duration // how long a login and two fetches take
	fetchTimeout time.Duration // 0: the default

	panicsNow, choice *latencies
}

type chainKind string

const (
	noChain   chainKind = "none"
	withFresh chainKind = "agent, api"     // the agent's cache can be bypassed
	noFresh   chainKind = "extension, api" // the extension's cache cannot
)

type idKind string

const (
	withIDs          idKind = "yes"
	sourceWithout    idKind = "not from the source" // so the cache makes ids
	withoutIDs       idKind = "no"                  // the driver sees none
	withoutIDsCopies idKind = "no, copies"          // the driver sees none, and each call returns another *Secret
)

func drawFaults(seed uint64) faults {
	f := faults{random: rand.New(rand.NewPCG(seed, saltFaults<<32)), chain: noChain, ids: withIDs}
	on := f.random.IntN(2) == 0
	one := func(in int, drawn bool) bool { return f.random.IntN(in) == 0 && on && drawn }
	f.source = one(2, drawsSource)
	f.panics = one(3, drawsPanics)
	f.cancelled = one(2, drawsCancelled)
	f.invalidate = one(3, drawsInvalidate)
	f.clock = one(3, drawsClock)
	f.hosts = one(3, drawsHosts)
	if one(3, drawsChain) {
		f.chain = withFresh
	}
	if one(3, drawsNoFresh) && f.chain == withFresh {
		f.chain = noFresh
		// After three TTLs the library believes an older version that the extension returns. A step
		// of the clock has that effect at once. Also, the extension's answer does not show that the
		// API hangs, and the database may have moved.
		f.clock, f.hosts = false, f.hosts && !f.source
	}
	if one(6, true) {
		f.ids = sourceWithout
	}
	if kind := f.random.IntN(2); one(5, drawsWithoutIDs) {
		f.ids = []idKind{withoutIDs, withoutIDsCopies}[kind]
	}
	f.patient = 2 + f.random.IntN(3)
	if timeout := f.random.IntN(3); f.source {
		f.fetchTimeout = []time.Duration{0, time.Second, 3 * time.Second}[timeout]
	}
	return f
}

func (f *faults) String() string {
	var on []string
	for name, is := range map[string]bool{"source": f.source, "panics": f.panics, "cancelled": f.cancelled,
		"invalidate": f.invalidate, "clock": f.clock, "hosts": f.hosts} {
		if is {
			on = append(on, name)
		}
	}
	slices.Sort(on)
	return fmt.Sprintf("faults [%s], chain %s, version ids %s, FetchTimeout %v", strings.Join(on, " "), f.chain, f.ids, f.timeout())
}

// timeout is how long one fetch may take.
func (f *faults) timeout() time.Duration {
	if f.fetchTimeout == 0 {
		return secretcache.DefaultFetchTimeout
	}
	return f.fetchTimeout
}

// host returns the host of a new version; current is that of AWSCURRENT.
func (f *faults) host(current string, version int) string {
	if !f.hosts || f.random.IntN(3) > 0 {
		return current
	}
	return fmt.Sprintf("db%d.example.com", version)
}

// moves reports whether the database moves in place of a rotation.
func (f *faults) moves() bool { return f.hosts && f.random.IntN(3) == 0 }

// context returns the context of a Connect call. Some callers give up soon: their context has a deadline, or
// they cancel it.
func (f *faults) context(parent context.Context, caller *rand.Rand) (context.Context, connectCall, context.CancelFunc) {
	if !f.cancelled || caller.IntN(f.patient) > 0 {
		return parent, connectCall{}, func() {}
	}
	after := upTo(caller, []time.Duration{10 * time.Millisecond, f.usual, f.usual, 2 * time.Second}[caller.IntN(4)])
	c := connectCall{cancel: time.Now().Add(after), deadline: caller.IntN(2) == 0}
	if c.deadline {
		ctx, cancel := context.WithDeadline(parent, c.cancel)
		return ctx, c, cancel
	}
	ctx, cancel := context.WithCancel(parent)
	timer := time.AfterFunc(after, cancel)
	return ctx, c, func() { timer.Stop(); cancel() }
}

// harm records the effects of the faults. model.mu guards it.
type harm struct {
	windows     []sourceFault
	fetches     []*modelFetch
	panicked    map[int]bool // the numbers of the logins whose engine panicked
	crowded     time.Time    // the end of the crowd
	over        bool         // engines no longer panic
	invalidated []time.Time
	clock       []clockStep
}

type clockStep struct {
	at time.Time
	by time.Duration
}

// A sourceFault is a time in which the source fails.
type sourceFault struct {
	begin, end time.Time
	kind       faultKind
	of         target
	half       bool // only about half of the fetches fail
}

// A target says which sources of a chain a fault affects.
type target string

const (
	allSources target = "all sources"
	agentOnly  target = "only the first source"
	apiOnly    target = "only the second source"
)

type faultKind string

const (
	sourceThrottles faultKind = "throttles"
	sourceFails     faultKind = "fails"
	sourceHangs     faultKind = "hangs"
	sourceHangsOn   faultKind = "hangs, whatever its context"
	sourcePanics    faultKind = "panics"
	sourceMixed     faultKind = "throttles, fails, hangs or panics"
)

var kinds = []faultKind{sourceThrottles, sourceFails, sourceHangs, sourceHangsOn, sourcePanics, sourceMixed}

// disturbStart may draw a source that fails from the beginning.
func (m *model) disturbStart() {
	if f := &m.faults; f.source && f.random.IntN(6) == 0 {
		m.breakSource(0)
	}
}

// disturb draws the events of the next seconds besides the rotation.
func (m *model) disturb() {
	f := &m.faults
	if f.source && f.random.IntN(3) > 0 {
		m.breakSource([]time.Duration{0, upTo(f.random, 300*time.Millisecond), upTo(f.random, 3*time.Second)}[f.random.IntN(3)])
	}
	if f.invalidate {
		for range 1 + f.random.IntN(3) {
			after := upTo(f.random, 4*time.Second)
			m.running.Go(func() {
				time.Sleep(after)
				m.mu.Lock()
				m.harm.invalidated = append(m.harm.invalidated, time.Now())
				m.mu.Unlock()
				m.cache.Invalidate("prod/app")
			})
		}
	}
	if f.clock {
		for range 1 + f.random.IntN(2) {
			after := upTo(f.random, 4*time.Second)
			by := []time.Duration{-2 * time.Hour, -time.Minute, 1500 * time.Millisecond, time.Minute, 40 * time.Minute, 3 * time.Hour, longStep}[f.random.IntN(7)]
			m.running.Go(func() {
				time.Sleep(after)
				m.mu.Lock()
				defer m.mu.Unlock()
				m.harm.clock = append(m.harm.clock, clockStep{time.Now(), by})
				clock.Step(by)
			})
		}
	}
}

// crowd makes many Connect calls after the database has changed and before AWSCURRENT moves. So other calls
// wait when one caller gives up or the engine panics.
func (m *model) crowd() {
	f := &m.faults
	if !(f.cancelled || f.panics || f.source) || f.random.IntN(2) == 0 {
		return
	}
	lasts := upTo(f.random, 3*f.usual)
	m.mu.Lock()
	m.harm.crowded = time.Now().Add(lasts)
	m.mu.Unlock()
	for i := range 2 + f.random.IntN(12) {
		caller := m.generator(saltCrowd, uint64(len(m.steps))<<8+uint64(i))
		m.running.Go(func() {
			time.Sleep(upTo(caller, 50*time.Millisecond))
			m.connect(caller)
		})
	}
	time.Sleep(lasts) // AWSCURRENT moves later
}

// longStep is longer than a secret is served while the source fails.
const longStep = 30 * time.Hour

func (m *model) resetClock() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.harm.clock {
		clock.Step(-s.by)
	}
}

func (m *model) breakSource(after time.Duration) {
	random := m.faults.random
	begin := time.Now().Add(after)
	f := sourceFault{
		begin: begin, end: begin.Add(upTo(random, []time.Duration{100 * time.Millisecond, time.Second, 5 * time.Second, 15 * time.Second}[random.IntN(4)])),
		kind: kinds[random.IntN(len(kinds))],
		of:   []target{allSources, agentOnly, apiOnly}[random.IntN(3)],
		half: random.IntN(3) == 0,
	}
	if m.faults.chain == noChain {
		f.of = allSources
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.harm.windows = append(m.harm.windows, f)
}

// moveDatabase gives the secret another host, with the same user and password. The old host either goes on,
// or rejects logins, beginning before or after the secret changes.
func (m *model) moveDatabase() {
	random := m.faults.random
	m.rotations++
	pause := func() { time.Sleep(upTo(random, time.Second)) }
	old := m.versions[m.current]
	shut := func() {
		m.mu.Lock()
		m.shut[old.host] = true
		m.mu.Unlock()
		m.note("shut "+old.host, false)
		m.steps[len(m.steps)-1].shut = true
	}
	kind := random.IntN(3)
	if kind == 0 {
		shut()
		pause()
	}
	m.last++
	v := modelVersion{old.user, old.password, fmt.Sprintf("db%d.example.com", m.last)}
	m.versions[m.last] = v
	m.users[v.user], m.current = m.last, m.last
	m.store.put(versionID(m.last), v.value(), "AWSCURRENT")
	m.note(fmt.Sprint("move to ", v.host), true)
	if kind == 1 {
		pause()
		shut()
	}
}

// enginePanic is the value of an engine's panic.
const enginePanic = "the engine panics"

// faultyLogin is the database's fault.
func (m *model) faultyLogin(_ context.Context, l *login) error {
	host, _, _ := strings.Cut(l.addr, ":")
	m.mu.Lock()
	defer m.mu.Unlock()
	oneIn := time.Duration(20)
	if time.Now().Before(m.harm.crowded) {
		oneIn = 3
	}
	if m.faults.panics && !m.harm.over && m.faults.panicsNow.upTo(oneIn) == 0 {
		if m.harm.panicked == nil {
			m.harm.panicked = map[int]bool{}
		}
		m.harm.panicked[l.n] = true
		panic(enginePanic)
	}
	if m.shut[host] {
		return &vendorError{codeRejected, "access denied at " + host}
	}
	return nil
}
