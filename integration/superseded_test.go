package integration_test

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// TestConnectionsOpenedBeforeARotation: by the server's list of sessions, they stay open. With
// CloseSuperseded they end within a bound, and no query fails.
func TestConnectionsOpenedBeforeARotation(t *testing.T) {
	const (
		n     = 8
		bound = (n + 3) * time.Second // one each second, plus the time to notice the rotation
	)
	forEachTogether(t, func(t *testing.T, e *engine) {
		for _, c := range []struct {
			name  string
			close bool
			learn func(t *testing.T, v *env, cache *secretcache.Cache, c *driver.Connector)
		}{
			{"left open by default", false, rejectedLogin},
			{"closed after a rejected login", true, rejectedLogin},
			{"closed after Invalidate", true, func(_ *testing.T, v *env, cache *secretcache.Cache, _ *driver.Connector) {
				cache.Invalidate(v.id)
			}},
			{"closed at the TTL", true, func(*testing.T, *env, *secretcache.Cache, *driver.Connector) {}},
		} {
			t.Run(c.name, func(t *testing.T) {
				if c.close {
					e.need(t, closesSuperseded)
				}
				ttl := time.Hour
				if c.name == "closed at the TTL" {
					ttl = 2 * time.Second
					if suiteSource().keeps > ttl {
						t.Skipf("the %s keeps a secret for %v, and the TTLs add up", suiteSource().name, suiteSource().keeps)
					}
				}
				v := newEnv(t, e, testdb.Options{})
				cache := v.cache(t, &secretcache.Options{TTL: ttl})
				connector := v.connector(t, e.noTLS, &driver.Options{Secrets: cache, CloseSuperseded: c.close})
				db := sql.OpenDB(connector)
				defer db.Close()
				db.SetMaxOpenConns(n)
				db.SetMaxIdleConns(n)
				fill(t, db, n)
				tx, err := db.BeginTx(t.Context(), nil) // on one of the connections, from before the rotation until after it
				if err != nil {
					t.Fatal(err)
				}
				old := v.Sessions(v.user)
				if len(old) != n {
					t.Fatalf("%d sessions, want %d", len(old), n)
				}
				if err := v.rotate(t.Context(), noPause); err != nil {
					t.Fatal(err)
				}
				c.learn(t, v, cache, connector)

				// All connections are in use, again and again.
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var load sync.WaitGroup
				for range 2 * n {
					load.Go(func() {
						for ctx.Err() == nil {
							var one int
							if err := db.QueryRowContext(t.Context(), e.selectFrom("1")).Scan(&one); err != nil {
								t.Errorf("a query failed: %v", err)
								return
							}
							time.Sleep(time.Millisecond)
						}
					})
				}
				left := func() (still []int64) {
					now := v.Sessions(v.user)
					for _, id := range old {
						if slices.Contains(now, id) {
							still = append(still, id)
						}
					}
					return still
				}
				start := time.Now()
				if !c.close {
					time.Sleep(3 * time.Second)
					if got := left(); len(got) != n {
						t.Errorf("%d of %d sessions from before the rotation are left, want all", len(got), n)
					}
				} else {
					for len(left()) > 1 {
						if time.Since(start) > bound {
							t.Fatalf("after %v sessions %v from before the rotation are left, want the one with the transaction", bound, left())
						}
						time.Sleep(50 * time.Millisecond)
					}
					t.Logf("the idle ones of %d sessions had ended after %v", n, time.Since(start).Round(10*time.Millisecond))
				}
				var one int
				if err := tx.QueryRowContext(t.Context(), e.selectFrom("1")).Scan(&one); err != nil {
					t.Errorf("a query in the transaction: %v", err)
				}
				if err := tx.Commit(); err != nil {
					t.Errorf("commit: %v", err)
				}
				for c.close && len(left()) > 0 {
					if time.Since(start) > 2*bound {
						t.Fatalf("sessions %v are left after the transaction", left())
					}
					time.Sleep(50 * time.Millisecond)
				}
				stop()
				load.Wait()
			})
		}
		t.Run("idle ones end by ConnMaxIdleTime", func(t *testing.T) {
			e.need(t, closesSuperseded)
			v := newEnv(t, e, testdb.Options{})
			db := v.open(t, e.noTLS+"&closeSuperseded=true", nil)
			db.SetMaxIdleConns(n)
			db.SetConnMaxIdleTime(time.Second)
			fill(t, db, n)
			if err := v.rotate(t.Context(), noPause); err != nil {
				t.Fatal(err)
			}
			v.WaitSessions(v.user, 0)
		})
	})
}

// TestCloseSupersededIsAnErrorWithoutSupport: if the engine cannot close superseded connections,
// the option is an error from the start.
func TestCloseSupersededIsAnErrorWithoutSupport(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		why, lacking := e.lacks[closesSuperseded]
		if can := e.adapter.Info().ClosesSuperseded; can == lacking {
			t.Fatalf("the engine closes superseded connections: %t, and the reason why not is %q", can, why)
		}
		for _, c := range []struct {
			dsn  string
			opts *driver.Options
		}{{"prod/app?closeSuperseded=true", &driver.Options{}}, {"prod/app", &driver.Options{CloseSuperseded: true}}} {
			if _, err := e.newConnector(c.dsn, c.opts); (err != nil) != lacking {
				t.Errorf("%s: %v", c.dsn, err)
			}
		}
	})
}

// rejectedLogin makes a login that the server rejects, and another.
func rejectedLogin(t *testing.T, _ *env, _ *secretcache.Cache, c *driver.Connector) {
	t.Helper()
	if err := connect(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// fill opens n connections.
func fill(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	var conns []*sql.Conn
	for range n {
		c, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}
