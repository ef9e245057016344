package integration_test

import (
	"net/url"
	"testing"

	"github.com/XSAM/otelsql"
	"github.com/jmoiron/sqlx"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestSqlxAndOtelsql: sqlx takes the name of a driver, and otelsql wraps the driver.
func TestSqlxAndOtelsql(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		dsn := v.id + "?region=us-west-2&endpoint=" + url.PathEscape(v.sm.URL())
		t.Run("otelsql", func(t *testing.T) {
			db, err := otelsql.Open(e.driverName, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			mustPing(t, db)
		})
		t.Run("sqlx", func(t *testing.T) {
			db, err := sqlx.ConnectContext(t.Context(), e.driverName, dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var row struct{ Answer int }
			if err := db.GetContext(t.Context(), &row, e.selectFrom(`42 AS "answer"`)); err != nil || row.Answer != 42 {
				t.Errorf("Get = %d, %v, want 42", row.Answer, err)
			}
		})
	})
}
