package clock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqlsecrets/sqlsecrets/internal/clock"
)

func TestClock(t *testing.T) {
	for _, test := range []struct {
		name string
		step time.Duration // of the wall clock
		want time.Duration // that have passed, 2 s of which the monotonic clock has seen
	}{
		{"nothing happens", 0, 2 * time.Second},
		{"frozen for an hour", time.Hour, 2*time.Second + time.Hour},
		{"frozen for a second", time.Second, 3 * time.Second},
		{"drift", 900 * time.Millisecond, 2 * time.Second},
		{"set back by an hour", -time.Hour, 2 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := clock.New()
				clock.Step(test.step)
				defer clock.Step(-test.step)
				time.Sleep(2 * time.Second)
				if got := c.Now(); got != test.want {
					t.Errorf("Now() = %v, want %v", got, test.want)
				}
				if got := c.Now(); got != test.want {
					t.Errorf("a second time, Now() = %v, want %v", got, test.want)
				}
			})
		})
	}
}

// A freeze counts even if the wall clock was set back before it.
func TestFreezeAfterTheWallClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		clock.Step(-time.Hour)
		time.Sleep(2 * time.Second)
		c.Now()
		clock.Step(10 * time.Minute)
		defer clock.Step(50 * time.Minute)
		time.Sleep(2 * time.Second)
		if got, want := c.Now(), 10*time.Minute+4*time.Second; got != want {
			t.Errorf("Now() = %v, want %v", got, want)
		}
	})
}

func TestWallClockIsReadOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		time.Sleep(time.Second)
		c.Now()
		clock.Step(time.Minute)
		defer clock.Step(-time.Minute)
		time.Sleep(time.Second - 1)
		if got, want := c.Now(), 2*time.Second-1; got != want {
			t.Errorf("Now() = %v, want %v: the wall clock was read too early", got, want)
		}
		time.Sleep(time.Nanosecond)
		if got, want := c.Now(), 2*time.Second+time.Minute; got != want {
			t.Errorf("Now() = %v, want %v", got, want)
		}
	})
}

func TestExactReadsTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		clock.Step(time.Minute)
		defer clock.Step(-time.Minute)
		if got := c.Exact(time.Now()); got != time.Minute {
			t.Errorf("Exact() = %v, want %v", got, time.Minute)
		}
	})
}

func BenchmarkNow(b *testing.B) {
	c := clock.New()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Now()
		}
	})
}
