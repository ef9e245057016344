package integration_test

import (
	"database/sql"
	"net"
	"net/url"
	"strconv"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/integration/internal/testdb"
)

// TestOpenBySecret goes the way of a program that only imports the engine's
// package and calls sql.Open.
func TestOpenBySecret(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		address := net.JoinHostPort(v.Host, strconv.Itoa(v.Port))
		where := "region=us-west-2&endpoint=" + url.PathEscape(v.sm.URL())
		for _, c := range []struct{ name, dsn string }{
			{"bare id", v.id + "?" + where},
			{"ARN", v.sm.ARN(v.id) + "?" + where},
			{"JDBC URL", "jdbc-secretsmanager:" + e.scheme + "://" + address + "/" + v.Database + "?user=" + v.id + "&" + where},
			{"JDBC URL without database", "jdbc-secretsmanager:" + e.scheme + "://" + address + "?user=" + v.id + "&" + where},
		} {
			t.Run(c.name, func(t *testing.T) {
				db, err := sql.Open(e.driverName, c.dsn)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				rows, err := db.QueryContext(t.Context(), "SELECT 40 + 2")
				if err != nil {
					t.Fatal(err)
				}
				defer rows.Close()
				var n int
				for rows.Next() {
					if err := rows.Scan(&n); err != nil {
						t.Fatal(err)
					}
				}
				if err := rows.Err(); err != nil || n != 42 {
					t.Errorf("query yields %d, %v, want 42", n, err)
				}
			})
		}
	})
}

// TestConformance runs the suite that every engine has to pass.
func TestConformance(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		server := e.start(t, testdb.Options{TLS: true})
		other := e.start(t, testdb.Options{TLS: true, Names: []string{"db.example.com"}})
		made := map[string]bool{}
		suite := drivertest.Server{
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
			TLSVerified:         e.verify(t, server.CA),
			TLSUnknownAuthority: e.verify(t, testdb.UnknownCA(t)),
			TLSWrongName:        e.verify(t, server.CA) + "&port=" + strconv.Itoa(other.Port),
		}
		drivertest.Run(t, suite)
	})
}
