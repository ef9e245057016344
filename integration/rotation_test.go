package integration_test

import (
	"context"
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/rotation"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

func noPause(string) {}

// TestNextConnectionAfterRotation: one rejected login and one more call of GetSecretValue, whether
// the next connections come one by one or together.
func TestNextConnectionAfterRotation(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		for _, c := range []struct {
			name     string
			calls    int
			together bool
		}{
			{"one", 1, false},
			{"many in sequence", fewer(200), false},
			{"many together", fewer(200), true},
		} {
			t.Run(c.name, func(t *testing.T) {
				v := newEnv(t, e, testdb.Options{Args: e.roomy})
				w, trace := watch(t)
				// Connect calls that find no newer version would read the fallback stages. Here
				// every call finds one, so no fallback stage is read.
				connector := v.connector(t, "", &driver.Options{Trace: trace})
				if err := connect(t.Context(), connector); err != nil {
					t.Fatal(err)
				}
				if err := v.rotate(t.Context(), noPause); err != nil {
					t.Fatal(err)
				}
				before := v.fetches()
				errs := make(chan error, c.calls)
				var wg sync.WaitGroup
				for range c.calls {
					once := func() { errs <- connect(t.Context(), connector) }
					if c.together {
						wg.Go(once)
					} else {
						once()
					}
				}
				wg.Wait()
				close(errs)
				for err := range errs {
					if err != nil {
						t.Errorf("Connect: %v", err)
					}
				}
				if got := v.fetches() - before; got != 1 {
					t.Errorf("%d calls of GetSecretValue, want 1", got)
				}
				_, rejects := w.counts()
				// The rotation function tries once whether it has set the password before.
				if server := v.RejectedLogins(v.user) - 1; server != rejects {
					t.Errorf("the server rejected %d logins, the trace says %d", server, rejects)
				}
				if !c.together && rejects != 1 {
					t.Errorf("%d logins rejected, want 1", rejects)
				}
				t.Logf("%d Connect calls: %d logins rejected", c.calls, rejects)
			})
		}
	})
}

// TestRotationsUnderLoad rotates 50 times under 16 workers, with -short a quarter of both.
func TestRotationsUnderLoad(t *testing.T) {
	workers, rotations := fewer(16), fewer(50)
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		w, trace := watch(t)
		v.rotated = w.clear
		db := v.open(t, "", &driver.Options{Trace: trace})
		db.SetMaxOpenConns(workers)
		db.SetConnMaxLifetime(100 * time.Millisecond)

		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var queries, failed atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for ctx.Err() == nil {
					var n int
					err := db.QueryRowContext(ctx, e.selectFrom("1")).Scan(&n)
					if ctx.Err() != nil {
						return
					}
					queries.Add(1)
					if err != nil {
						failed.Add(1)
						t.Errorf("query: %v", err)
					}
					time.Sleep(10 * time.Millisecond) // otherwise, on few cores, queries leave no time for logins
				}
			})
		}
		before := v.fetches()
		for range rotations {
			if err := v.rotate(t.Context(), func(string) { time.Sleep(20 * time.Millisecond) }); err != nil {
				t.Error(err)
				break
			}
			time.Sleep(120 * time.Millisecond)
		}
		stop()
		wg.Wait()
		logins, rejects := w.counts()
		t.Logf("%d rotations: %d queries, %d failed; %d logins, %d rejected; %d calls of GetSecretValue",
			rotations, queries.Load(), failed.Load(), logins, rejects, v.fetches()-before)
		if rejects == 0 {
			t.Error("no login was rejected: the load did not cross a rotation")
		}
	})
}

// TestAlternatingUsers: the user changes with the password, and the former one
// stays valid until the next rotation.
func TestAlternatingUsers(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnvFor(t, e, testdb.Options{}, rotation.AlternatingUsers)
		cache := v.cache(t, nil)
		w, trace := watch(t)
		db := v.open(t, "", &driver.Options{Secrets: cache, Trace: trace})
		db.SetMaxIdleConns(-1)
		users := [2]string{v.user, v.clone()}
		mustPing(t, db)
		for i := 1; i <= 4; i++ {
			if err := v.rotate(t.Context(), noPause); err != nil {
				t.Fatal(err)
			}
			// The cached user's password is good until it is its turn again.
			if got, want := loggedInAs(t, e, db), users[(i+1)%2]; got != want {
				t.Errorf("after rotation %d the user is %q, want the cached %q", i, got, want)
			}
			cache.Invalidate(v.id)
			if got, want := loggedInAs(t, e, db), users[i%2]; got != want {
				t.Errorf("after rotation %d and Invalidate the user is %q, want %q", i, got, want)
			}
		}
		if _, rejects := w.counts(); rejects != 0 {
			t.Errorf("%d logins rejected, want none", rejects)
		}
	})
}

func loggedInAs(t *testing.T, e *engine, db *sql.DB) string {
	t.Helper()
	var user string
	if err := db.QueryRowContext(t.Context(), e.selectFrom(e.userName)).Scan(&user); err != nil {
		t.Fatal(err)
	}
	return user
}

// TestServerRestart: a restart of the server does not make the library read the secret.
func TestServerRestart(t *testing.T) {
	forEachTogether(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{Private: true})
		db := v.open(t, "", nil)
		mustPing(t, db)
		before := v.fetches()
		if err := v.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if why, lacking := e.lacks[noticesTheDead]; lacking {
			// It costs one error, with or without this library.
			if err := db.PingContext(t.Context()); err == nil {
				t.Errorf("a connection from before the restart was not used, although %s", why)
			}
		}
		mustPing(t, db)
		if err := v.rotate(t.Context(), noPause); err != nil {
			t.Fatal(err)
		}
		if got := v.fetches() - before; got != 0 {
			t.Errorf("%d calls of GetSecretValue over a restart, want none", got)
		}
		mustPing(t, db) // the connection stays open
		db.SetMaxIdleConns(-1)
		mustPing(t, db)
		mustPing(t, db)
		if got := v.fetches() - before; got != 1 {
			t.Errorf("%d calls of GetSecretValue after a rotation, want 1", got)
		}
	})
}
