package integration_test

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// A server that locks an account after five wrong passwords in a row does not lock it here,
// although many connections are opened at once after a rotation: by a pool that had connections, by
// one that had none, and by two pools.
func TestBurstAfterARotationDoesNotLockTheAccount(t *testing.T) {
	forMySQL(t, func(t *testing.T, e *engine) {
		options := testdb.Options{Private: true}
		if e.name == "mariadb" {
			options.Args = []string{"--max-password-errors=5"}
		}
		v := newEnv(t, e, options)
		if e.name == "mysql" {
			exec(t, v, fmt.Sprintf("ALTER USER '%s'@'%%' FAILED_LOGIN_ATTEMPTS 5 PASSWORD_LOCK_TIME UNBOUNDED", v.user))
		}
		for _, tt := range []struct {
			name  string
			warm  bool
			pools int
		}{
			{"warm, one pool", true, 1},
			{"cold, one pool", false, 1},
			{"warm, two pools", true, 2},
			{"cold, two pools", false, 2},
		} {
			t.Run(tt.name, func(t *testing.T) {
				cache := v.cache(t, nil)
				if _, err := cache.Get(t.Context(), v.id, ""); err != nil {
					t.Fatal(err)
				}
				var dbs []*sql.DB
				for range tt.pools {
					dbs = append(dbs, v.open(t, e.noTLS, &driver.Options{Secrets: cache}))
				}
				for _, db := range dbs {
					if tt.warm {
						mustPing(t, db)
						db.SetMaxIdleConns(-1) // which closes the connection
						db.SetMaxIdleConns(20)
					}
				}
				time.Sleep(1200 * time.Millisecond) // the version was not accepted within the last second
				if err := v.rotate(t.Context(), noPause); err != nil {
					t.Fatal(err)
				}
				before := v.RejectedLogins(v.user) // includes the login of the rotation function
				start := time.Now()
				burst(t, 20, dbs...)
				took := time.Since(start)
				if n := v.RejectedLogins(v.user) - before; n > 3 {
					t.Errorf("%d logins were rejected, want 3 at most", n)
				} else {
					t.Logf("20 connections for each pool after %v, %d logins rejected", took.Round(time.Millisecond), n)
				}
			})
		}
	})
}

// A burst on a server that locks nothing: how long it takes, and how many logins it costs.
func TestBurstsAfterARotation(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		if e.name != "postgres" && e.name != "mariadb" && e.name != "mysql" {
			t.Skip("figures are of real servers")
		}
		v := newEnv(t, e, testdb.Options{Args: e.roomy})
		for _, n := range []int{10, fewer(100), fewer(200)} {
			w, trace := watch(t)
			v.rotated = w.clear
			db := v.open(t, e.noTLS, &driver.Options{Trace: trace})
			mustPing(t, db)
			db.SetMaxIdleConns(n)
			time.Sleep(1200 * time.Millisecond)
			if err := v.rotate(t.Context(), noPause); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			burst(t, n, db)
			took := time.Since(start)
			logins, rejects := w.counts()
			if rejects > 3 {
				t.Errorf("%d connections: %d logins were rejected, want 3 at most", n, rejects)
			}
			t.Logf("%d connections: %v, %d logins, %d rejected", n, took.Round(time.Millisecond), logins, rejects)
			_ = db.Close()
		}
	})
}

// The error for a locked account says so, and that the secret has no newer version.
func TestLockedAccountIsNamedInTheError(t *testing.T) {
	forMySQL(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		db := v.open(t, e.noTLS, nil)
		db.SetMaxIdleConns(-1)
		mustPing(t, db)
		if err := v.Lock(t.Context(), v.user); err != nil {
			t.Fatal(err)
		}
		if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "the server has locked the account, and no newer version of the secret is known") {
			t.Errorf("Ping = %v", err)
		}
	})
}

// burst opens n connections of each pool at once. None may fail.
func burst(t *testing.T, n int, dbs ...*sql.DB) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []*sql.Conn
	for _, db := range dbs {
		for range n {
			wg.Go(func() {
				c, err := db.Conn(t.Context())
				if err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				conns = append(conns, c)
			})
		}
	}
	wg.Wait()
	for _, c := range conns {
		_ = c.Close()
	}
}
