package integration_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
)

// TestRotationBehindTheExtension: nothing bypasses the secrets that the extension keeps. The result
// depends on the rotation function, and on the options of the data source name.
func TestRotationBehindTheExtension(t *testing.T) {
	for _, c := range []struct {
		name     string
		params   string
		pending  bool // AWSPENDING stays on the new version
		fails    bool
		accepted int // logins, including the one before the rotation
		requests int // sent to the extension; 0: not checked
	}{
		{"AWSPENDING stays on the new version", "", true, false, 2, 3},
		{"AWSPENDING is taken away", "", false, true, 1, 3},
		{"AWSPENDING is taken away, and a Connect call may wait for longer than the TTL", "rotationWindow=20s", false, false, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newEnv(t, engineNamed("sqlserver stand-in"), testdb.Options{})
			server := agenttest.NewExtension(t, v.sm.Source(), func(o *agenttest.Options) { o.TTL = 1500 * time.Millisecond }) // in place of 300 s
			cache := secretcache.New(server.Source(), nil)
			t.Cleanup(func() { _ = cache.Close() })
			db := v.open(t, c.params, &driver.Options{Secrets: cache})
			db.SetMaxIdleConns(-1) // every Ping logs in
			mustPing(t, db)
			v.changePassword(t, "second password")
			if !c.pending {
				v.sm.RemoveStage(v.id, "AWSPENDING")
			}
			err := db.PingContext(t.Context())
			if c.fails != errors.Is(err, driver.ErrAuthFailed) || !c.fails && err != nil {
				t.Errorf("Ping = %v; want ErrAuthFailed: %t", err, c.fails)
			}
			if got := v.Logins(v.user); got != c.accepted {
				t.Errorf("%d logins accepted, want %d", got, c.accepted)
			}
			// Two fetches: AWSCURRENT before the rotation, and AWSPENDING, which the extension did
			// not keep yet.
			if got, fetches := len(server.Requests()), v.fetches(); c.requests != 0 && (got != c.requests || fetches != 2 || v.RejectedLogins(v.user) != 1) {
				t.Errorf("%d requests, %d calls of GetSecretValue, %d logins rejected, want %d, 2 and 1", got, fetches, v.RejectedLogins(v.user), c.requests)
			}
		})
	}
}

// changePassword does what a rotation function does: the new version is AWSPENDING first,
// then the database takes its password, then it is AWSCURRENT. AWSPENDING stays on it.
func (v *env) changePassword(t testing.TB, password string) {
	t.Helper()
	version := v.sm.PutStage(v.id, v.secret(v.user, password), "AWSPENDING")
	if err := v.SetPassword(t.Context(), v.user, password); err != nil {
		t.Error(err)
	}
	v.sm.MoveStage(v.id, "AWSCURRENT", version)
}
