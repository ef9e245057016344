package integration_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestWrongPasswordDoesNotLockTheAccount: a password that stays wrong costs at most three logins by
// the server's own log, for any number of Connect calls. A burst of them costs one login.
func TestWrongPasswordDoesNotLockTheAccount(t *testing.T) {
	const pings = 200
	forEach(t, func(t *testing.T, e *engine) {
		for _, together := range []bool{false, true} {
			name := "one after the other"
			if together {
				name = "all together from a cold start"
			}
			t.Run(name, func(t *testing.T) {
				v := newEnv(t, e, testdb.Options{})
				wrong := "wrong password of " + v.user
				version := v.sm.Put(v.id, v.secret(v.user, wrong))
				db := v.open(t, "", nil)
				errs := make([]error, pings)
				var wg sync.WaitGroup
				for i := range errs {
					ping := func() { errs[i] = db.PingContext(t.Context()) }
					if together {
						wg.Go(ping)
					} else {
						ping()
					}
				}
				wg.Wait()
				for _, err := range errs {
					var e2 *driver.Error
					switch {
					case !errors.Is(err, driver.ErrAuthFailed) || !errors.As(err, &e2):
						t.Fatalf("Ping = %v, want ErrAuthFailed", err)
					case e2.SecretID != v.id || e2.Version != version ||
						!strings.Contains(err.Error(), v.id) || !strings.Contains(err.Error(), version):
						t.Fatalf("error %q does not name secret %q and version %q", err, v.id, version)
					case !e.vendorError(err):
						t.Fatalf("error %q does not wrap the server's own", err)
					case as[*pgconn.ConnectError](err):
						t.Fatal("errors.As finds a *pgconn.ConnectError, whose configuration holds the password")
					case strings.Contains(err.Error(), wrong):
						t.Fatal("the error shows the password")
					}
				}
				got, most := v.RejectedLogins(v.user), 3
				if together {
					most = 1
				}
				if got < 1 || got > most {
					t.Errorf("the server rejected %d logins, want 1 to %d", got, most)
				}
				t.Logf("%d pings: the server rejected %d logins; %d calls of GetSecretValue", pings, got, v.fetches())
			})
		}
	})
}
