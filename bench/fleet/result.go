package fleet

import (
	"fmt"
	"strings"
	"time"
)

// A Result is the result of one run.
type Result struct {
	Scenario *Scenario
	N        int           // instances
	Took     time.Duration // of real time
	Seconds  []Second      // of the whole run
	Events   []Event
	From     int // second in which the measurement began
	FaultEnd int // the second in which the fault ended, or 0

	MostCalls    int64         // of one instance, since then
	MostRejected int64         // logins of one instance, since then
	Unhealthy    int           // instances at the end
	Recovery     time.Duration // until the last instance was healthy
	Connected    time.Duration // until the last one had a connection
}

// result ends the measurement.
func (f *Fleet) result(s *Scenario) *Result {
	m := f.meter
	m.count(func(*Second) {}) // so that all seconds exist
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &Result{Scenario: s, N: len(f.instances), Seconds: m.seconds, Events: m.events,
		From: int(m.from / time.Second), FaultEnd: int(m.end / time.Second), Unhealthy: m.unhealthy.n,
		Recovery: max(0, m.unhealthy.last.Sub(m.recovery)), Connected: max(0, m.dark.last.Sub(m.recovery))}
	for _, i := range f.instances {
		r.MostCalls = max(r.MostCalls, i.calls.Load())
		r.MostRejected = max(r.MostRejected, i.rejected.Load())
	}
	return r
}

// measured returns the seconds of the measurement.
func (r *Result) measured() []Second { return r.Seconds[r.From:] }

// Measured returns how long the measurement lasted.
func (r *Result) Measured() time.Duration { return time.Duration(len(r.measured())) * time.Second }

// peak returns the largest value of a count, and its second in the measurement.
func (r *Result) peak(of func(Second) int) (most, at int) {
	for n, s := range r.measured() {
		if v := of(s); v > most {
			most, at = v, n
		}
	}
	return most, at
}

// sum returns the sum of a count.
func (r *Result) sum(of func(Second) int) (sum int) {
	for _, s := range r.measured() {
		sum += of(s)
	}
	return sum
}

// mean returns the mean of a count in a second.
func (r *Result) mean(of func(Second) int) float64 {
	return float64(r.sum(of)) / float64(len(r.measured()))
}

// lasting returns the lasting rate. If the scenario has an end of a fault, it is the mean of the
// last two minutes before that end. Otherwise it is the largest mean of 30 seconds after the first
// minute.
func (r *Result) lasting(of func(Second) int) float64 {
	seconds, window := r.measured()[60:], 30
	if r.FaultEnd > r.From {
		seconds, window = r.Seconds[max(r.From, r.FaultEnd-120):r.FaultEnd], min(120, r.FaultEnd-r.From)
	}
	return busiest(seconds, of, window)
}

// busiest returns the largest mean of a count over a number of seconds in a row.
func busiest(seconds []Second, of func(Second) int, window int) (most float64) {
	for n := 0; n+window <= len(seconds); n++ {
		sum := 0
		for _, s := range seconds[n : n+window] {
			sum += of(s)
		}
		most = max(most, float64(sum)/float64(window))
	}
	return most
}

func batches(s Second) int          { return s.Batches }
func batchesThrottled(s Second) int { return s.BatchesThrottled }
func prefetchesFailed(s Second) int { return s.PrefetchesFailed }

func calls(s Second) int     { return s.Calls }
func throttled(s Second) int { return s.Throttled }
func failed(s Second) int    { return s.Failed }
func logins(s Second) int    { return s.Logins }
func accepted(s Second) int  { return s.Accepted }
func rejected(s Second) int  { return s.Rejected }
func dark(s Second) int      { return s.Dark }
func unhealthy(s Second) int { return s.Unhealthy }

// Share returns the share of the quota in the busiest second.
func (r *Result) Share() float64 {
	most, _ := r.peak(calls)
	return float64(most) / quotaOf(r.N)
}

// LastingShare returns the lasting share of the quota; see lasting.
func (r *Result) LastingShare() float64 { return r.full(r.lasting(calls)) / Quota }

// full scales a rate to a fleet of Full instances.
func (r *Result) full(rate float64) float64 { return rate * Full / float64(r.N) }

// Misses says which targets of the scenario the run misses, and by how much.
func (r *Result) Misses() []string {
	var misses []string
	s := r.Scenario
	if share := r.Share(); s.Share > 0 && share > s.Share {
		misses = append(misses, fmt.Sprintf("%.0f %% of the quota in one second, want at most %.0f %%", 100*share, 100*s.Share))
	}
	if s.Recovery > 0 && r.Recovery > s.Recovery {
		misses = append(misses, fmt.Sprintf("healthy after %.1f s, want at most %.0f s", r.Recovery.Seconds(), s.Recovery.Seconds()))
	}
	if s.Calls > 0 && r.MostCalls > int64(s.Calls) {
		misses = append(misses, fmt.Sprintf("%d calls of one instance, want at most %d", r.MostCalls, s.Calls))
	}
	if r.Unhealthy > 0 {
		misses = append(misses, fmt.Sprintf("%d instances unhealthy at the end", r.Unhealthy))
	}
	return misses
}

// target returns the targets of a scenario.
func (s *Scenario) target() string {
	var parts []string
	if s.Share > 0 {
		parts = append(parts, fmt.Sprintf("at most %.0f %% of the quota in any second", 100*s.Share))
	}
	if s.Recovery > 0 {
		parts = append(parts, fmt.Sprintf("all healthy within %.0f s", s.Recovery.Seconds()))
	}
	if s.Calls > 0 {
		parts = append(parts, fmt.Sprintf("at most %d calls for each instance", s.Calls))
	}
	if len(parts) == 0 {
		return "none. The figures are only reported"
	}
	return strings.Join(parts, ", ")
}
