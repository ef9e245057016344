package db2_test

import (
	"database/sql"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/db2"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/db2cli"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/opentest"
)

// Every form of a data source name opens. As long as the program has not imported IBM's driver, the
// error says what to import.
func TestOpenConnects(t *testing.T) {
	s := start(t, nil)
	s.SetPassword(t, "u", "p")
	opentest.Put(t, fmt.Sprintf(`{"engine":"db2","host":%q,"port":%d,"dbname":%q,"username":"u","password":"p"}`, s.Host, s.Port, database))
	dsns := []string{
		"prod/app/db",
		opentest.ARN + "?dbname=SAMPLE&CurrentSchema=APP",
		"jdbc-secretsmanager:db2://example.com:50000/SAMPLE:user=prod/app/db;",
		"jdbc-secretsmanager:db2://example.com:50000/SAMPLE:currentSchema=APP;user=" + opentest.ARN + ";loginTimeout=10;",
		"jdbc-secretsmanager:db2:SAMPLE:user=prod/app/db;",
	}
	query := func(dsn string) error {
		dsn = strings.Replace(dsn, "example.com:50000", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), 1)
		var n int
		return opentest.Open(t, db2.DriverName, dsn).QueryRowContext(t.Context(), "VALUES 1").Scan(&n)
	}
	if !slices.Contains(sql.Drivers(), db2.DefaultDriver) { // not the second time that the test runs
		for _, dsn := range dsns {
			if err := query(dsn); err == nil || !strings.Contains(err.Error(), `import _ "github.com/ibmdb/go_ibm_db" in the program`) {
				t.Errorf("%s: %v, want what to import", dsn, err)
			}
		}
		sql.Register(db2.DefaultDriver, db2cli.Driver{})
	}
	for _, dsn := range dsns {
		before, _ := s.Logins(t, "u")
		if err := query(dsn); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
		if accepted, _ := s.Logins(t, "u"); accepted != before+1 { // the server takes no database but SAMPLE
			t.Errorf("%s: %d logins, want one", dsn, accepted-before)
		}
	}
}
