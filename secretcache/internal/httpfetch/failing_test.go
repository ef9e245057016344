package httpfetch

import (
	"testing"
	"time"
)

// A wall clock that is set back does not make a failure of long ago count again.
func TestAFailureThatSeemsToComeDoesNotCount(t *testing.T) {
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
		t.Error("of a failure that seems to come: true")
	}
}
