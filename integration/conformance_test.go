package integration_test

import (
	"fmt"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/integration/internal/testdb"
)

// TestConformance runs the suite that every engine has to pass, on a server with TLS and
// on one without.
func TestConformance(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		for _, names := range [][]string{{"127.0.0.1"}, nil} {
			t.Run(fmt.Sprint("TLS ", names), func(t *testing.T) {
				drivertest.Run(t, conformance(t, e, names))
			})
		}
	})
}

// conformance describes a server for the suite, which has TLS if there are names for its
// certificate.
func conformance(t *testing.T, e *engine, names []string) drivertest.Server {
	server := e.start(t, testdb.Options{TLS: names != nil, Names: names})
	others := testdb.UnknownCA(t)
	ca := server.CA
	if ca == nil { // nothing is verified by it
		ca = others
	}
	verified, unknown := e.verify(t, ca), e.verify(t, others)
	ifAvailable := "tls=preferred"
	if e.name == "postgres" {
		ifAvailable = "sslmode=prefer"
	}
	made := map[string]bool{}
	return drivertest.Server{
		Engine: e.adapter, Host: server.Host, Port: server.Port, Database: server.Database,
		Query: "SELECT 1", ConnType: e.connType,
		SetPassword: func(t testing.TB, user, password string) {
			t.Helper()
			if !made[user] {
				made[user] = true
				server.CreateUser(user, password)
				return
			}
			if err := server.SetPassword(t.Context(), user, password); err != nil {
				t.Fatal(err)
			}
		},
		Logins: func(_ testing.TB, user string) (accepted, rejected int) {
			return server.Logins(user), server.RejectedLogins(user)
		},
		Refuse: func(t testing.TB, user string) {
			t.Helper()
			statement := fmt.Sprintf("ALTER USER '%s'@'%%' ACCOUNT LOCK", user)
			if e.name == "postgres" {
				statement = fmt.Sprintf("ALTER ROLE %q CONNECTION LIMIT 0", user)
			}
			if _, err := server.Admin().ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		},
		TLS: &drivertest.TLS{
			Names: names, Roots: ca.Pool, Verified: verified, Unknown: unknown, IfAvailable: ifAvailable, Off: e.noTLS,
			URL: func(address, id string) string {
				return e.scheme + "://" + address + "/" + server.Database + "?user=" + id + "&" + verified
			},
		},
	}
}
