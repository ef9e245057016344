package integration_test

import (
	"database/sql"
	"net"
	"net/url"
	"strconv"
	"testing"

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
