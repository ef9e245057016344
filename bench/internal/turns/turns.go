// Package turns compares the durations of operations on a machine whose speed changes. The subjects
// take turns in short slices. Low percentiles and medians of many slices are compared.
package turns

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// A Subject is one of the operations that are compared.
type Subject struct {
	Name string
	// Op does the operation n times. If Goroutines is set, it is called from several
	// goroutines at once.
	Op func(n int)
	// Before runs before each slice, outside the measured time. Nil does nothing.
	Before func()
}

// Options say how long to measure. Nil means the defaults.
type Options struct {
	Slice      time.Duration // minimum of a turn of one subject; 0 = 5 ms
	Rounds     int           // minimum of turns of each subject; 0 = 40
	MaxRounds  int           // maximum, if the medians do not settle; 0 = 10 × Rounds
	Cores      int           // GOMAXPROCS; 0 = unchanged
	Goroutines int           // per core; 0 = the operation runs in one goroutine
	One        bool          // each slice is one operation, for slow operations
	Once       bool          // one turn of one operation, to check that it works
	Progress   func(rounds int)
}

// settled is the difference that a median may have from the median of the first three quarters of
// the rounds.
const settled = 0.01

// A Result is the result of a subject. Times are for one operation, in nanoseconds. With several
// goroutines, the elapsed time is divided by all operations.
type Result struct {
	Name   string
	Low    float64 // the 10th percentile of the slices
	Median float64
	High   float64 // the 90th percentile
	Allocs float64 // heap objects per operation, of the whole process
	Bytes  float64 // likewise
	Rounds int
}

// Compare measures the subjects in turns. Each round has one slice of each subject, and the order
// shifts from round to round. It ends when the medians have settled.
func Compare(subjects []Subject, opts *Options) []Result {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	o.setDefaults()
	if o.Cores > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.Cores))
	}
	runs := make([]run, len(subjects))
	for i, s := range subjects {
		runs[i] = run{Subject: s, o: &o}
		runs[i].calibrate()
	}
	for round := 0; round < o.MaxRounds && (round < o.Rounds || !allSettled(runs)); round++ {
		for i := range runs {
			runs[(round+i)%len(runs)].turn()
		}
		if o.Progress != nil {
			o.Progress(round + 1)
		}
	}
	results := make([]Result, len(runs))
	for i := range runs {
		results[i] = runs[i].result()
	}
	return results
}

func (o *Options) setDefaults() {
	if o.Slice == 0 {
		o.Slice = 5 * time.Millisecond
	}
	if o.Rounds == 0 {
		o.Rounds = 40
	}
	if o.Once {
		o.Rounds, o.MaxRounds, o.One = 1, 1, true
	}
	if o.MaxRounds == 0 {
		o.MaxRounds = 10 * o.Rounds
	}
}

// A run is a subject with its measurements so far.
type run struct {
	Subject
	o             *Options
	n             int       // operations in a slice of one goroutine
	times         []float64 // ns per operation, by round
	allocs, bytes []float64
}

// calibrate finds how many operations fill a slice.
func (r *run) calibrate() {
	for r.n = 1; !r.o.One; {
		took := r.slice()
		if took >= r.o.Slice {
			return
		}
		grow := 100.0
		if took > 0 {
			grow = min(grow, 1.2*float64(r.o.Slice)/float64(took))
		}
		r.n = max(r.n+1, int(grow*float64(r.n)))
	}
}

// slice runs the operations of one slice and returns how long they took.
func (r *run) slice() time.Duration {
	if r.Before != nil {
		r.Before()
	}
	workers := r.o.Goroutines * runtime.GOMAXPROCS(0)
	if workers == 0 {
		start := time.Now()
		r.Op(r.n)
		return time.Since(start)
	}
	var ready, wg sync.WaitGroup
	release := make(chan struct{})
	ready.Add(workers)
	for range workers {
		wg.Go(func() {
			ready.Done()
			<-release
			r.Op(r.n)
		})
	}
	ready.Wait()
	start := time.Now()
	close(release)
	wg.Wait()
	return time.Since(start)
}

// turn measures one slice.
func (r *run) turn() {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	took := r.slice()
	runtime.ReadMemStats(&after)
	n := float64(r.n * max(1, r.o.Goroutines*runtime.GOMAXPROCS(0)))
	r.times = append(r.times, float64(took)/n)
	r.allocs = append(r.allocs, float64(after.Mallocs-before.Mallocs)/n)
	r.bytes = append(r.bytes, float64(after.TotalAlloc-before.TotalAlloc)/n)
}

// allSettled reports whether no median differs much from the median of the first three quarters.
func allSettled(runs []run) bool {
	for _, r := range runs {
		before, now := percentile(r.times[:len(r.times)*3/4], 50), percentile(r.times, 50)
		if before == 0 || now/before > 1+settled || now/before < 1-settled {
			return false
		}
	}
	return true
}

func (r *run) result() Result {
	return Result{Name: r.Name, Low: percentile(r.times, 10), Median: percentile(r.times, 50), High: percentile(r.times, 90),
		Allocs: percentile(r.allocs, 50), Bytes: percentile(r.bytes, 50), Rounds: len(r.times)}
}

// Of returns the result of times that were measured in another way, in nanoseconds.
func Of(name string, times []float64) Result {
	r := run{Subject: Subject{Name: name}, times: times}
	return r.result()
}

// percentile returns a percentile of values, or 0 if there are none.
func percentile(values []float64, p int) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)*p/100]
}
