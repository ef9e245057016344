package fleet

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/chance"
)

const (
	// Full is the number of instances to which the results are scaled. Quota and BatchQuota are the
	// calls of GetSecretValue and BatchGetSecretValue that AWS allows per second, account and
	// region.
	Full       = 100_000
	Quota      = 10_000
	BatchQuota = 100
	// loginsEach is the number of logins per second that the databases take for each instance. A
	// database of 1,000 instances takes 500.
	loginsEach = 0.5

	// The instances of a fleet in use start within warmStart. The scenario begins at warmEnd.
	warmStart, warmEnd = 45 * time.Minute, time.Hour
)

// A Fleet is a number of instances with one secret.
type Fleet struct {
	meter     *meter
	service   *service
	db        *database
	instances []*instance
	options   driver.Options
	both      bool        // instances also call the service in the second region
	prefetch  []string    // ids that an instance prefetches when it starts
	warming   atomic.Bool // the first connections of an instance live for a random time up to lifeMax
}

func newFleet(n int, s *Scenario) *Fleet {
	m := &meter{start: time.Now(), unhealthy: gauge{n: n}, dark: gauge{n: n}}
	f := &Fleet{
		meter: m, service: newService(m, quotaOf(n)), db: newDatabase(m, max(10, loginsEach*float64(n))),
		options: driver.Options{FallbackStages: s.fallbacks}, both: s.bothRegions, prefetch: s.prefetch,
	}
	f.service.put("v1", "pw1", stageCurrent)
	f.db.setPassword("pw1")
	for range n {
		f.instances = append(f.instances, &instance{fleet: f, dark: true})
	}
	return f
}

// quotaOf returns the quota of n instances, in proportion. The minimum is 10, so that one instance
// alone is not throttled.
func quotaOf(n int) float64 { return max(10, float64(n)*Quota/Full) }

// Run runs a scenario with n instances.
func Run(t *testing.T, s *Scenario, n int) *Result {
	var r *Result
	began := time.Now()
	synctest.Test(t, func(*testing.T) {
		f := newFleet(n, s)
		s.run(f)
		r = f.result(s)
		for _, i := range f.instances {
			i.stop()
		}
		time.Sleep(time.Minute) // until the Connect calls and fetches that are under way have ended
	})
	r.Took = time.Since(began)
	return r
}

// life returns how long a connection lives that an instance opens now. started is the start of the
// instance.
func (f *Fleet) life(started time.Time) time.Duration {
	if f.warming.Load() && time.Since(started) < time.Minute { // as if the pool had been in use for a long time
		return chance.UpTo(lifeMax)
	}
	return lifeMin + chance.UpTo(lifeMax-lifeMin)
}

// startAll starts all instances at the same moment.
func (f *Fleet) startAll() {
	f.meter.event("all start")
	for _, i := range f.instances {
		i.start()
	}
}

// warmUp starts the instances one after the other, and waits until the fleet is like one that has
// been in use for a long time.
func (f *Fleet) warmUp() {
	f.warming.Store(true)
	defer f.warming.Store(false)
	for _, i := range f.instances {
		time.AfterFunc(chance.UpTo(warmStart), i.start)
	}
	time.Sleep(warmEnd)
}

// loseAll ends all connections.
func (f *Fleet) loseAll() {
	for _, i := range f.instances {
		i.lose()
	}
}

// measure begins the measurement, when the scenario does something.
func (f *Fleet) measure(what string) {
	for _, i := range f.instances {
		i.calls.Store(0)
		i.rejected.Store(0)
	}
	f.meter.event(what)
	f.meter.mu.Lock()
	defer f.meter.mu.Unlock()
	f.meter.from = time.Since(f.meter.start)
	f.meter.recovery = time.Now()
}

// recover ends the fault, and times the recovery from now on.
func (f *Fleet) recover(what string) {
	f.timeRecovery(what)
	f.meter.mu.Lock()
	defer f.meter.mu.Unlock()
	f.meter.end = time.Since(f.meter.start)
}

// timeRecovery times the recovery from now on, although the fault goes on.
func (f *Fleet) timeRecovery(what string) {
	f.meter.event(what)
	f.meter.mu.Lock()
	defer f.meter.mu.Unlock()
	f.meter.recovery = time.Now()
}

// rotate does the first steps of a rotation: the database has the new password, and AWSPENDING is
// the version with it.
func (f *Fleet) rotate(version, password string) {
	f.service.put(version, password, stagePending)
	f.db.setPassword(password)
}

// restart restarts one of oneIn instances, each at a random moment within a minute. Their caches
// are empty then.
func (f *Fleet) restart(oneIn int) {
	for n := 0; n < len(f.instances); n += oneIn {
		time.AfterFunc(chance.UpTo(time.Minute), f.instances[n].start)
	}
}
