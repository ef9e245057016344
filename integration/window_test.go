package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestWaitingForARotation: hundreds of Connect calls wait in a window of a second, without a
// fallback stage. Each call returns at its own deadline, or works within one refresh after the end
// of the window. The number of calls that work depends on the cost of a login here. The bounds
// leave room for a busy machine.
func TestWaitingForARotation(t *testing.T) {
	calls := fewer(500)
	const (
		window  = time.Second
		refresh = time.Second // until the next refresh, after few refreshes
		late    = 500 * time.Millisecond
		room    = time.Second
	)
	forEach(t, func(t *testing.T, e *engine) {
		ways := []string{"sql.DB", "Connector.Connect"}
		if testing.Short() {
			ways = ways[:1]
		}
		for _, through := range ways {
			t.Run(through, func(t *testing.T) {
				latest, first := waitForRotation(t, e, through, calls, window)
				if latest > late {
					t.Errorf("a Connect call returned %v after its deadline, want at most %v", latest, late)
				}
				if first > refresh+room {
					t.Errorf("the first login of the new version was accepted %v after the end of the window, want at most %v", first, refresh+room)
				}
			})
		}
	})
}

// waitForRotation returns how late the latest Connect call was after its deadline, and how long
// after the end of the window the first call worked.
func waitForRotation(t *testing.T, e *engine, through string, calls int, window time.Duration) (latest, first time.Duration) {
	v := newEnv(t, e, testdb.Options{Args: e.packed})
	w, trace := watch(t)
	v.rotated = w.clear
	cache := v.cache(t, nil)
	if err := cache.Prefetch(t.Context(), v.id); err != nil {
		t.Fatal(err)
	}
	// Hundreds of logins at once would keep all cores busy with hashing for seconds, and this test
	// does not measure that. go-ora hashes in this process, for 15 ms with the race detector.
	maxLogins := 2
	if e.engine == "oracle" {
		maxLogins = 1
	}
	c := v.connector(t, "fallback=none&rotationWindow=30s&"+e.noTLS, &driver.Options{Secrets: cache, Trace: trace, MaxLogins: maxLogins})
	db := sql.OpenDB(c)
	defer db.Close()
	try := func(ctx context.Context) error { return connect(ctx, c) }
	if through == "sql.DB" {
		try = func(ctx context.Context) error {
			conn, err := db.Conn(ctx)
			if err != nil {
				return err
			}
			return conn.Close()
		}
	}

	set, finished := make(chan bool), make(chan time.Time, 1)
	var rotated sync.WaitGroup
	rotated.Go(func() {
		err := v.rotateWith(t.Context(), &rotation.Function{After: func(_ context.Context, e awssmtest.RotationEvent) error {
			switch e.Step {
			case awssmtest.TestSecret:
				close(set)
				time.Sleep(window)
			case awssmtest.FinishSecret:
				finished <- time.Now()
			}
			return nil
		}})
		if err != nil {
			t.Error(err)
		}
	})
	defer rotated.Wait()
	<-set

	type result struct {
		deadline, end time.Time
		err           error
	}
	results := make([]result, calls)
	var wg sync.WaitGroup
	for i := range results {
		limit := 10*time.Millisecond + time.Duration(i)*(5*time.Second-10*time.Millisecond)/time.Duration(calls-1)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			r := &results[i]
			r.deadline, _ = ctx.Deadline()
			r.err = try(ctx)
			r.end = time.Now()
		})
	}
	wg.Wait()
	end := <-finished
	var worked []time.Time
	for _, r := range results {
		if r.err == nil {
			worked = append(worked, r.end)
			continue
		}
		// A dialer's own timer may go off before the context's.
		var timeout net.Error
		if !errors.Is(r.err, context.DeadlineExceeded) && !(errors.As(r.err, &timeout) && timeout.Timeout()) {
			t.Errorf("%v, want the deadline's error", r.err)
		}
		latest = max(latest, r.end.Sub(r.deadline))
	}
	if len(worked) == 0 {
		t.Fatal("no Connect call worked, although the deadlines of most were seconds after the window")
	}
	slices.SortFunc(worked, time.Time.Compare)
	first = worked[0].Sub(end)
	_, rejects := w.counts()
	t.Logf("%d calls worked, the first %v and the last %v after the window; no other call was later than %v after its deadline; %d logins rejected",
		len(worked), first.Round(time.Millisecond), worked[len(worked)-1].Sub(end).Round(time.Millisecond), latest.Round(time.Millisecond), rejects)
	return latest, first
}
