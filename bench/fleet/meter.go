package fleet

import (
	"sync"
	"time"
)

// A Second has the counts of one second of a run.
type Second struct {
	Calls     int // of GetSecretValue, each attempt counts
	Throttled int // of these, answered with ThrottlingException
	Failed    int // of these, answered with an error of the service, or not at all
	Logins    int // sent to the database
	Accepted  int // of these
	Rejected  int // of these, for a wrong password
	Unhealthy int // instances, at the worst moment
	Dark      int // of these, without any connection

	Batches          int // calls of BatchGetSecretValue, each attempt counts
	BatchesThrottled int // of these
	PrefetchesFailed int // Prefetch calls of instances that failed for at least one secret
}

// An Event is an action of the scenario.
type Event struct {
	At   time.Duration // since the run began
	Text string
}

// A meter counts per second.
type meter struct {
	start time.Time

	mu        sync.Mutex // guards all below
	seconds   []Second
	events    []Event
	from      time.Duration // when the measurement began
	end       time.Duration // when the fault ended, or 0
	unhealthy gauge         // instances
	dark      gauge         // instances without a connection
	recovery  time.Time     // the beginning of the recovery
}

// now returns the current second. m.mu is held.
func (m *meter) now() *Second {
	n := int(time.Since(m.start) / time.Second)
	for len(m.seconds) <= n {
		m.seconds = append(m.seconds, Second{Unhealthy: m.unhealthy.n, Dark: m.dark.n})
	}
	return &m.seconds[n]
}

// count calls add to change the counts of the current second.
func (m *meter) count(add func(*Second)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	add(m.now())
}

// A gauge is the number of instances in a bad state.
type gauge struct {
	n    int
	last time.Time // when n decreased last
}

func (g *gauge) add(change int) {
	g.n += change
	if change < 0 {
		g.last = time.Now()
	}
}

// health notes that an instance became unhealthy or dark (a change of 1), or that it is not any
// more (-1).
func (m *meter) health(unhealthy, dark int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.now()
	m.unhealthy.add(unhealthy)
	m.dark.add(dark)
	s.Unhealthy = max(s.Unhealthy, m.unhealthy.n)
	s.Dark = max(s.Dark, m.dark.n)
}

// event notes an action of the scenario.
func (m *meter) event(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, Event{time.Since(m.start), text})
}
