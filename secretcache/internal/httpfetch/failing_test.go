package httpfetch

import (
	"testing"
	"time"
)

// If the wall clock is set back, an old failure does not count again.
func TestAFailureInTheFutureDoesNotCount(t *testing.T) {
	var f Failing
	if f.Is() {
		t.Error("before any fetch: true")
	}
	f.Set(true)
	if !f.Is() {
		t.Error("after a failure: false")
	}
	f.at.Store(time.Now().Add(time.Hour).UnixNano()) // as after the clock was set back by an hour
	if f.Is() {
		t.Error("after a failure in the future: true")
	}
}
