package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/bench/internal/report"
)

// The times of the modeled server.
const (
	stormLogin = 10 * time.Millisecond
	stormCall  = 20 * time.Millisecond

	// stormTrust is the time after the last acceptance of a version in which its logins are not
	// held back. After it, at most three are in flight until one is accepted.
	stormTrust = time.Second

	stormTarget = 10_000 // the number of Connect calls of the target
)

// A stormer makes the Connect calls of a storm.
type stormer struct {
	name string
	// prepare fills the cache with the version that the model accepts, and returns one
	// Connect call.
	prepare func(ctx context.Context, m *model) (connect func(context.Context) error, err error)
	quiet   bool // the version was accepted a while ago
	storms  int  // storms for each number of calls
	racy    bool // it has a data race, so it makes only one call if the race detector may be on
}

var (
	together = &stormer{name: "sqlsecrets, all rejected together", prepare: stormOurs, storms: 5}
	quietly  = &stormer{name: "sqlsecrets, after a quiet second", prepare: stormOurs, storms: 5, quiet: true}
	waits    = &stormer{name: "the waits alone", prepare: stormWaits, storms: 5}
	byHand   = &stormer{name: "AWS's caching client by hand", prepare: stormByHand, storms: 1, racy: true}
)

// rotationStorm measures Connect calls that all begin immediately after a rotation.
func rotationStorm(ctx context.Context, quick bool) (*report.Section, error) {
	s := &report.Section{Name: "storm", Title: "A storm of Connect calls at a rotation", Absent: []string{noRefresh}, Text: fmt.Sprintf(
		"Connect calls begin together, immediately after the password was changed. The cache has the former version. The "+
			"database and the API are models in this process: a login takes %s and a call of the API %s, and neither queues. The "+
			"time runs from the first rejected login until the last call has its connection. A version that was accepted within "+
			"the last second is trusted: all calls send it, and all are rejected together. After a quiet second three calls send "+
			"it, and the others wait. *The waits alone* uses no library: the same number of goroutines wait for two logins and one "+
			"call. It shows what the machine needs for that. AWS's `RefreshNow` sleeps for 2.5 to 5 s. In virtual time only waits "+
			"take time, so what is left is the time that the library waits. Goroutines and memory are the maximum at any time, "+
			"beyond what the callers have when they begin. Memory includes garbage.",
		stormLogin, stormCall)}
	sizes := []int{1, 10, 100, 1000, 10_000, 100_000}
	if quick {
		sizes = sizes[:2]
	}
	all := []*stormer{together, quietly, waits, byHand}
	measured := map[*stormer][]stormed{}
	for _, by := range all {
		for _, n := range sizes {
			if quick && by.racy && n > 1 {
				continue
			}
			fmt.Fprintf(os.Stderr, "   %s: %d calls\n", by.name, n)
			r, err := by.measure(ctx, n, quick)
			if err != nil {
				return nil, fmt.Errorf("%s, %d calls: %w", by.name, n, err)
			}
			measured[by] = append(measured[by], r)
		}
		s.Tables = append(s.Tables, stormTable(by.name, measured[by]))
	}
	s.Plots = []report.Plot{
		stormPlot("Time from the rejection until all are connected", "ms", all, sizes, measured, func(r stormed) float64 { return r.took.Seconds() * 1e3 }),
		stormPlot("Rejected logins", "", all, sizes, measured, func(r stormed) float64 { return float64(r.rejected) }),
		stormPlot("Maximum memory", "MB", all, sizes, measured, func(r stormed) float64 { return float64(r.memory) / 1e6 }),
	}
	inVirtualTime, err := virtualStorms(ctx, quick)
	if err != nil {
		return nil, err
	}
	s.Tables = append(s.Tables, stormTable("sqlsecrets, in virtual time, where only waits take time", inVirtualTime))
	s.Targets = append(s.Targets, virtualTarget(inVirtualTime[len(inVirtualTime)-1]))
	for _, by := range []*stormer{together, quietly} {
		s.Targets = append(s.Targets, stormTargets(by.name, measured[by], measured[waits])...)
	}
	return s, nil
}

// virtualStorms makes storms under testing/synctest, where only waits take time.
func virtualStorms(ctx context.Context, quick bool) (all []stormed, err error) {
	sizes := []int{1, 100, stormTarget}
	if quick {
		sizes = sizes[:2]
	}
	t := ctx.Value(testKey{}).(*testing.T)
	for _, n := range sizes {
		t.Run(fmt.Sprintf("storm of %d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, failure := together.storm(t.Context(), n)
				all, err = append(all, r), errors.Join(err, failure)
			})
		})
	}
	return all, err
}

func virtualTarget(r stormed) report.Target {
	ideal := stormCall + 2*stormLogin
	t := report.Target{What: fmt.Sprintf("%d Connect calls rejected together, in virtual time: from the rejection until all are connected", r.n),
		Want: took(float64(ideal)) + ": one call and two logins", Got: took(float64(r.took)), Met: r.took <= ideal}
	if !t.Met {
		t.Missed = took(float64(r.took-ideal)) + " longer"
	}
	return t
}

// stormed is the result of a storm.
type stormed struct {
	n                     int           // Connect calls
	took                  time.Duration // from the first rejected login until all were connected
	whole                 time.Duration // from the beginning
	goroutines            int           // at most, beside the callers'
	memory                int64         // at most, beside the callers' stacks as they begin
	calls, sent, rejected int64
}

// measure makes storms of n calls. It returns the storm with the median time, with the maximum of
// goroutines and memory of all storms.
func (by *stormer) measure(ctx context.Context, n int, quick bool) (stormed, error) {
	storms := by.storms
	if quick {
		storms = 1
	}
	var all []stormed
	for range storms {
		r, err := by.storm(ctx, n)
		if err != nil {
			return stormed{}, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b stormed) int { return int(a.took - b.took) })
	middle := all[len(all)/2]
	for _, r := range all {
		middle.goroutines, middle.memory = max(middle.goroutines, r.goroutines), max(middle.memory, r.memory)
	}
	return middle, nil
}

// storm makes n Connect calls at once.
func (by *stormer) storm(ctx context.Context, n int) (stormed, error) {
	m := &model{loginTime: stormLogin, callTime: stormCall}
	m.rotate("v1")
	connect, err := by.prepare(ctx, m)
	if err != nil {
		return stormed{}, err
	}
	if by.quiet {
		time.Sleep(stormTrust + 100*time.Millisecond)
	}
	m.rotate("v2")
	m.sent.Store(0)
	m.calls.Store(0)

	var failed firstError
	var ready, wg sync.WaitGroup
	release := make(chan struct{})
	ready.Add(n)
	for range n {
		wg.Go(func() {
			ready.Done()
			<-release
			failed.note(connect(ctx))
		})
	}
	ready.Wait()
	p := newPeak()
	m.seen, m.start = p.goroutine, time.Now()
	close(release)
	wg.Wait()
	whole := time.Since(m.start)
	goroutines, memory := p.end()
	return stormed{n: n, took: whole - time.Duration(m.firstRejection.Load()), whole: whole, goroutines: goroutines, memory: memory,
		calls: m.calls.Load(), sent: m.sent.Load(), rejected: m.rejected.Load()}, failed.err
}

func stormTable(name string, all []stormed) report.Table {
	t := report.Table{Title: name, Columns: []string{"Connect calls", "from the rejection", "in total", "goroutines", "memory", "API calls", "logins", "rejected"}}
	for _, r := range all {
		t.Rows = append(t.Rows, []string{strconv.Itoa(r.n), took(float64(r.took)), took(float64(r.whole)), fmt.Sprintf("+%d", r.goroutines),
			fmt.Sprintf("%.2f MB", float64(r.memory)/1e6), fmt.Sprint(r.calls), fmt.Sprint(r.sent), fmt.Sprint(r.rejected)})
	}
	return t
}

func stormPlot(title, unit string, all []*stormer, sizes []int, measured map[*stormer][]stormed, value func(stormed) float64) report.Plot {
	p := report.Plot{Title: title, Unit: unit, XUnit: "Connect calls", Log: true}
	for _, n := range sizes {
		p.X = append(p.X, float64(n))
	}
	for _, by := range all {
		series := report.Series{Name: by.name, Values: absent(len(sizes))}
		for i, r := range measured[by] {
			if v := value(r); v > 0 { // the axis is logarithmic
				series.Values[i] = v
			}
		}
		p.Series = append(p.Series, series)
	}
	return p
}

// stormTargets are for the storm of stormTarget calls, or for the largest storm.
func stormTargets(name string, ours, waits []stormed) []report.Target {
	i := slices.IndexFunc(ours, func(r stormed) bool { return r.n == stormTarget })
	if i < 0 {
		i = len(ours) - 1
	}
	r, least := ours[i], waits[i].took
	what := fmt.Sprintf("%s, %d calls: ", name, r.n)
	ideal := stormCall + 2*stormLogin
	calls := report.Target{What: what + "API calls", Want: "1", Got: fmt.Sprint(r.calls), Met: r.calls == 1}
	if !calls.Met {
		calls.Missed = fmt.Sprintf("%d too many", r.calls-1)
	}
	goroutines := report.Target{What: what + "goroutines", Want: "at most one for each call", Got: fmt.Sprintf("%d in total", r.goroutines), Met: r.goroutines <= r.n}
	if !goroutines.Met {
		goroutines.Missed = fmt.Sprintf("%d too many", r.goroutines-r.n)
	}
	t := report.Target{What: what + "time from the rejection", Got: took(float64(r.took)), Met: r.took <= max(ideal, least),
		Want: fmt.Sprintf("%s: one call and two logins. They take %s here without any library", took(float64(ideal)), took(float64(least)))}
	if !t.Met {
		t.Missed = fmt.Sprintf("It took %s longer than one call and two logins, and %s longer than the waits alone.",
			took(float64(r.took-ideal)), took(float64(r.took-least)))
	}
	return []report.Target{calls, t, goroutines}
}
