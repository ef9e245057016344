package redshift_test

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/opentest"
)

// Every form of a data source name opens.
func TestOpenConnects(t *testing.T) {
	s := start(t, nil)
	s.SetPassword(t, "u", "p")
	opentest.Put(t, secret(s, nil))
	for _, dsn := range []string{
		"prod/app/db",
		opentest.ARN + "?dbname=dev&query_group=nightly",
		"jdbc-secretsmanager:redshift://example.com:5439/dev?user=prod/app/db&sslMode=prefer",
		"jdbc-secretsmanager:redshift://example.com:5439/dev;user=prod/app/db;queryGroup=nightly;ssl=false",
		"jdbc-secretsmanager:redshift:?sslmode=disable&user=" + opentest.ARN,
	} {
		before, _ := s.Logins(t, "u")
		dsn := strings.Replace(dsn, "example.com:5439", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), 1)
		var n int
		if err := opentest.Open(t, redshift.DriverName, dsn).QueryRowContext(t.Context(), "SELECT $1::int", 1).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s: query = %d, %v", dsn, n, err)
		}
		seen := s.Seen() // the server takes no database but dev
		if accepted, _ := s.Logins(t, "u"); accepted != before+1 || seen[len(seen)-1].Database != "dev" {
			t.Errorf("%s: %d logins, the last to %s, want one to dev", dsn, accepted-before, seen[len(seen)-1].Database)
		}
	}
}
