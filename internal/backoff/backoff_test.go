package backoff_test

import (
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/backoff"
)

func TestPausesDoubleUpToTheLimit(t *testing.T) {
	now := time.Now()
	var b *backoff.Backoff
	if got := b.Wait(now); got != 0 {
		t.Errorf("Wait before any failure = %v, want 0", got)
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		want *= time.Second
		b = b.Next(now, time.Second, 30*time.Second)
		if got := b.Wait(now); got < max(time.Second, want*3/4) || got > want {
			t.Errorf("Wait after %d failures = %v, want within [%v, %v]", i+1, got, want*3/4, want)
		}
	}
	for range 100 {
		b = b.Next(now, time.Second, 30*time.Second)
	}
	if got := b.Wait(now); got > 30*time.Second || got < 22*time.Second {
		t.Errorf("Wait after many failures = %v, want about 30s", got)
	}
	if got := b.Wait(now.Add(time.Hour)); got != 0 {
		t.Errorf("Wait an hour later = %v, want 0", got)
	}
}

func TestPausesAreJittered(t *testing.T) {
	now := time.Now()
	seen := map[time.Duration]bool{}
	for range 50 {
		var b *backoff.Backoff
		b = b.Next(now, time.Second, time.Minute)
		if got := b.Wait(now); got != time.Second {
			t.Fatalf("first pause = %v, want the base", got)
		}
		seen[b.Next(now, time.Second, time.Minute).Wait(now)] = true
	}
	if len(seen) < 10 {
		t.Errorf("50 second pauses took only %d values", len(seen))
	}
}
