package pgxv5_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/opentest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// Every form of a data source name opens.
func TestOpen(t *testing.T) {
	certs := testca.New("127.0.0.1")
	s := (&pgserver.Server{TLS: certs.Server, Check: wrongPassword}).Start(t)
	opentest.Put(t, fmt.Sprintf(`{"engine":"postgres","host":%q,"port":%d,"dbname":"app","username":"app_user","password":%q}`, s.Host, s.Port, goodPassword))
	for _, c := range []struct{ dsn, database string }{
		{"prod/app/db", "app"},
		{opentest.ARN + "?sslmode=verify-full&dbname=reports&sslrootcert=" + certs.File(t), "reports"},
		{"jdbc-secretsmanager:postgresql://example.com:5432/database?user=prod/app/db", "database"},
		{"jdbc-secretsmanager:postgresql://example.com:5432/?user=" + opentest.ARN, "app"},
		{"jdbc-secretsmanager:postgresql:database?user=prod/app/db", "database"},
		{"jdbc-secretsmanager:postgresql://" + down(t) + ",example.com:5432/database?user=prod/app/db", "database"}, // the first is down
	} {
		dsn := strings.Replace(c.dsn, "example.com:5432", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), 1)
		before := len(s.Seen())
		if _, err := opentest.Open(t, postgres.DriverName, dsn).ExecContext(t.Context(), "SELECT 1"); err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		if logins := s.Seen()[before:]; len(logins) != 1 || logins[0].Database != c.database || logins[0].User != "app_user" || !logins[0].TLS {
			t.Errorf("%s: the server saw %+v, want one login to %s", c.dsn, logins, c.database)
		}
	}
}
