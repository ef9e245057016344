package integration_test

import (
	"database/sql"
	"net"
	"net/url"
	"os"
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
		dsns := []struct{ name, dsn string }{
			{"bare id", v.id + "?" + where},
			{"ARN", v.sm.ARN(v.id) + "?" + where},
		}
		for _, u := range e.urls {
			all := os.Expand(u.format, func(name string) string {
				return map[string]string{
					"address": address, "host": v.Host, "port": strconv.Itoa(v.Port), "database": v.Database,
					"id": v.id, "endpoint": v.sm.URL(), "escaped": url.PathEscape(v.sm.URL()),
				}[name]
			})
			dsns = append(dsns, struct{ name, dsn string }{u.name, "jdbc-secretsmanager:" + all})
		}
		for _, c := range dsns {
			t.Run(c.name, func(t *testing.T) {
				db, err := sql.Open(e.driverName, c.dsn)
				if err != nil {
					t.Fatal(err)
				}
				defer db.Close()
				rows, err := db.QueryContext(t.Context(), e.selectFrom("40 + 2"))
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
		_, noTLS := e.lacks[tlsServer]
		server := e.start(t, testdb.Options{TLS: !noTLS})
		made := map[string]bool{}
		suite := drivertest.Server{
			Engine: e.adapter, Host: server.Host, Port: server.Port, Database: server.Database,
			Query: e.selectFrom("1"), ConnType: e.connType,
			SetPassword: func(t testing.TB, user, password string) {
				t.Helper()
				if e.noUser != nil {
					if why, unfit := e.noUser(password); unfit {
						t.Skip(why)
					}
				}
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
		}
		if !noTLS {
			other := e.start(t, testdb.Options{TLS: true, Names: []string{"db.example.com"}})
			suite.TLSVerified = e.verify(t, server.CA) + tlsPort(server)
			suite.TLSUnknownAuthority = e.verify(t, testdb.UnknownCA(t)) + tlsPort(server)
			suite.TLSWrongName = e.verify(t, server.CA) + "&port=" + strconv.Itoa(other.TLSPort)
		}
		drivertest.Run(t, suite)
	})
}
