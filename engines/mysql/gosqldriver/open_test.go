package gosqldriver_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/mariadb"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/opentest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// Every form of a data source name opens.
func TestOpen(t *testing.T) {
	s := start(t, &mysqlserver.Server{TLS: testca.New("127.0.0.1").Server})
	drivers := map[string]string{"mysql": mysql.DriverName, "mariadb": mariadb.DriverName}
	for _, engine := range []string{"mysql", "mariadb"} {
		opentest.Put(t, fmt.Sprintf(`{"engine":%q,"host":%q,"port":%d,"dbname":"app","username":"app_user","password":%q}`, engine, s.Host, s.Port, goodPassword))
		for _, c := range []struct{ dsn, database string }{
			{"prod/app/db", "app"},
			{opentest.ARN + "?tls=skip-verify&dbname=reports", "reports"},
			{"jdbc-secretsmanager:" + engine + "://example.com:3306?user=prod/app/db", "app"},
			{"jdbc-secretsmanager:" + engine + "://example.com:3306/database?user=prod/app/db", "database"},
			{"jdbc-secretsmanager:" + engine + ":///?user=" + opentest.ARN, "app"},
		} {
			dsn := strings.Replace(c.dsn, "example.com:3306", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), 1)
			before := len(s.Seen())
			if _, err := opentest.Open(t, drivers[engine], dsn).ExecContext(t.Context(), "DO 1"); err != nil {
				t.Errorf("%s: %v", c.dsn, err)
				continue
			}
			if logins := s.Seen()[before:]; len(logins) != 1 || logins[0].Database != c.database || logins[0].User != "app_user" || !logins[0].TLS {
				t.Errorf("%s: the server saw %+v, want one login to %s", c.dsn, logins, c.database)
			}
		}
	}
}
