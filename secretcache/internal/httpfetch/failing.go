package httpfetch

import (
	"sync/atomic"
	"time"
)

// Failing says whether the last fetch failed for a reason that is likely to last. If it did,
// the next fetch makes only one attempt, because the cache's fetch after that is the retry. The
// zero value says no.
type Failing struct{ at atomic.Int64 } // time of the last failure, in nanoseconds of Unix time; 0 if the last fetch did not fail

// failingFor is longer than the longest pause between two fetches of a cache. An older
// failure says nothing about the next fetch.
const failingFor = 2 * time.Minute

// Set notes how a fetch ended.
func (f *Failing) Set(failed bool) {
	if failed {
		f.at.Store(time.Now().UnixNano())
	} else {
		f.at.Store(0)
	}
}

// Is reports whether fetches fail.
func (f *Failing) Is() bool {
	since := time.Since(time.Unix(0, f.at.Load()))
	return since >= 0 && since < failingFor // since is negative if the wall clock was set back
}
