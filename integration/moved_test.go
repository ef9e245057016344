package integration_test

import (
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestDatabaseWasRenamed: if the server does not have the database, the secret is read again, but
// not while the cached copy is as new as here.
func TestDatabaseWasRenamed(t *testing.T) {
	if testing.Short() {
		t.Skip("the test needs a copy that is a minute old")
	}
	forEachTogether(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		good := v.secret(v.user, v.password)
		right := v.Database
		v.Database = "gone"
		v.sm.Put(v.id, v.secret(v.user, v.password))
		v.Database = right
		w, trace := watch(t)
		c := v.connector(t, e.noTLS, &driver.Options{Trace: trace})
		if err := connect(t.Context(), c); err == nil || !e.adapter.NoDatabase(err) {
			t.Fatalf("Connect = %v, want no such database", err)
		}
		v.sm.Put(v.id, good)
		if err := connect(t.Context(), c); err == nil {
			t.Error("a copy that is seconds old was read again")
		}
		if n := v.fetches(); n != 1 {
			t.Errorf("%d calls of GetSecretValue, want 1", n)
		}
		time.Sleep(61 * time.Second)
		if err := connect(t.Context(), c); err != nil {
			t.Errorf("Connect = %v, want the database of the new version", err)
		}
		if n := v.fetches(); n != 2 {
			t.Errorf("%d calls of GetSecretValue, want 2", n)
		}
		if logins, rejects := w.counts(); logins != 4 || rejects != 0 {
			t.Errorf("%d logins, %d rejected; want 4, none", logins, rejects)
		}
	})
}
