package integration_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const (
	rotateEvery = 2 * time.Second
	setToFinish = 500 * time.Millisecond
	soakWorkers = 16
	maxCalls    = 4 // of GetSecretValue in one rotation
)

// soakTime is how long each soak runs: SQLSECRETS_SOAK, or 10 s.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("SQLSECRETS_SOAK")
	if s == "" {
		return 10 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 2*rotateEvery {
		t.Fatalf("SQLSECRETS_SOAK=%q: want a duration of %v or more, as 5m", s, 2*rotateEvery)
	}
	return d
}

// A soak is the result of one soak.
type soak struct {
	rotations, retried int // retried: rotations that began again after a failed step
	queries, failed    int
	logins, rejected   int // by the trace
	calls, mostCalls   int // all, and in the worst rotation
	slowest            time.Duration
}

// TestSoak runs queries through rotations, for a long time. No query fails.
func TestSoak(t *testing.T) {
	duration := soakTime(t)
	var mu sync.Mutex
	table := []string{fmt.Sprintf("%-18s %-17s %9s %7s %8s %6s %7s %8s %10s %14s %9s", "engine", "strategy",
		"rotations", "retried", "queries", "failed", "logins", "rejected", "API calls", "most/rotation", "slowest")}
	forEach(t, func(t *testing.T, e *engine) {
		for _, strategy := range []rotation.Strategy{rotation.SingleUser, rotation.AlternatingUsers} {
			t.Run(strategy.String(), func(t *testing.T) {
				t.Parallel()
				s := runSoak(t, e, strategy, duration)
				if s.failed > 0 {
					t.Errorf("%d of %d queries failed, want none", s.failed, s.queries)
				}
				if s.mostCalls > maxCalls {
					t.Errorf("%d calls of GetSecretValue in one rotation, want %d at most", s.mostCalls, maxCalls)
				}
				// With two users a short load may miss the moment at which a password is rejected.
				mayMiss := strategy == rotation.AlternatingUsers && duration <= 5*time.Second
				if s.rejected == 0 && !mayMiss || s.queries < 10*s.rotations {
					t.Errorf("%d logins rejected, %d queries in %d rotations: the load did not cross them", s.rejected, s.queries, s.rotations)
				}
				mu.Lock()
				defer mu.Unlock()
				table = append(table, fmt.Sprintf("%-18s %-17s %9d %7d %8d %6d %7d %8d %10d %14d %9v", e.name, strategy,
					s.rotations, s.retried, s.queries, s.failed, s.logins, s.rejected, s.calls, s.mostCalls, s.slowest.Round(time.Millisecond)))
			})
		}
	})
	t.Logf("%v each, %d workers, a rotation every %v, %v between set and finish:\n%s",
		duration, fewer(soakWorkers), rotateEvery, setToFinish, strings.Join(table, "\n"))
}

func runSoak(t *testing.T, e *engine, strategy rotation.Strategy, duration time.Duration) (s soak) {
	v := newEnvFor(t, e, testdb.Options{}, strategy)
	w, trace := watch(t)
	v.rotated = w.clear
	db := v.open(t, e.noTLS, &driver.Options{Trace: trace})
	workers := fewer(soakWorkers)
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)
	db.SetConnMaxLifetime(100 * time.Millisecond)
	mustPing(t, db)

	ctx, stop := context.WithCancel(t.Context())
	var queries, failed, slowest atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				var n int
				err := db.QueryRowContext(t.Context(), e.selectFrom("1")).Scan(&n)
				took := time.Since(start)
				queries.Add(1)
				for old := slowest.Load(); int64(took) > old && !slowest.CompareAndSwap(old, int64(took)); old = slowest.Load() {
				}
				if err != nil {
					failed.Add(1)
					t.Errorf("query: %v", err)
				}
				// The servers' logs, which tests read, grow with each query.
				time.Sleep(10 * time.Millisecond)
			}
		})
	}

	var set time.Time
	function := &rotation.Function{
		After: func(_ context.Context, e awssmtest.RotationEvent) error {
			if e.Step == awssmtest.SetSecret {
				set = time.Now()
			}
			return nil
		},
		Before: func(_ context.Context, e awssmtest.RotationEvent) error {
			if e.Step == awssmtest.FinishSecret {
				time.Sleep(time.Until(set.Add(setToFinish)))
			}
			return nil
		},
	}
	before := v.fetches()
	tick := time.NewTicker(rotateEvery)
	defer tick.Stop()
	for end := time.Now().Add(duration); time.Now().Before(end); {
		calls := v.fetches()
		err := v.rotateWith(t.Context(), function)
		for tries := 1; err != nil && tries < 5; tries++ {
			// Secrets Manager does the same, somewhat later.
			t.Logf("the rotation begins again: %v", err)
			s.retried++
			time.Sleep(rotateEvery)
			err = v.rotateWith(t.Context(), function)
		}
		if err != nil {
			t.Error(err)
			break
		}
		<-tick.C // calls until the next rotation count for this one
		s.rotations++
		s.mostCalls = max(s.mostCalls, v.fetches()-calls)
	}
	stop()
	wg.Wait()
	s.queries, s.failed, s.slowest = int(queries.Load()), int(failed.Load()), time.Duration(slowest.Load())
	s.logins, s.rejected = w.counts()
	s.calls = v.fetches() - before
	return s
}
