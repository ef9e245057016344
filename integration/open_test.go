package integration_test

import (
	"database/sql"
	"net"
	"net/url"
	"os"
	"strconv"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
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
