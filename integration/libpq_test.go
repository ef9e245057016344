package integration_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/examples/libpq"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestThirdPartyEngine runs the conformance suite with the engine of examples/libpq.
func TestThirdPartyEngine(t *testing.T) {
	server := testdb.Postgres(t, testdb.Options{})
	made := map[string]bool{}
	drivertest.Run(t, drivertest.Server{
		Engine: libpq.Engine{}, Host: server.Host, Port: server.Port, Database: server.Database,
		Query: "SELECT 1", Params: "sslmode=disable", ConnType: "*pq.conn",
		SetPassword: func(t testing.TB, user, password string) {
			t.Helper()
			if !made[user] {
				made[user] = true
				server.CreateUser(user, password)
			} else if err := server.SetPassword(t.Context(), user, password); err != nil {
				t.Fatal(err)
			}
		},
		Logins: func(_ testing.TB, user string) (accepted, rejected int) {
			return server.Logins(user), server.RejectedLogins(user)
		},
	})
}
