package mssqldb_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/opentest"
)

// Every form of a data source name opens. A JDBC URL needs a parameter about TLS here, because the
// authority of the stand-in's certificate is not one of the operating system's.
func TestOpen(t *testing.T) {
	certs := newCertificates(t, "127.0.0.1")
	s := start(t, tdsserver.Options{TLS: certs.Server, Databases: []string{"reports", "a;b}c"}})
	opentest.Put(t, fmt.Sprintf(`{"engine":"sqlserver-ex","host":%q,"port":%d,"dbname":"app","username":"app_user","password":%q}`, s.Host, s.Port, goodPassword))
	trusted := ";certificate=" + certs.CA
	for _, c := range []struct{ dsn, database string }{
		{"prod/app/db", "app"},
		{opentest.ARN + "?encrypt=true&dbname=reports&certificate=" + certs.CA, "reports"},
		{"jdbc-secretsmanager:sqlserver://example.com:1433;databaseName=app;user=prod/app/db" + trusted, "app"},
		{"jdbc-secretsmanager:sqlserver://example.com:1433;databaseName={a;b}}c};user={prod/app/db}" + trusted, "a;b}c"},
		{"jdbc-secretsmanager:sqlserver://example.com:1433;user=prod/app/db;encrypt=false", "app"},
		{"jdbc-secretsmanager:sqlserver://;user=" + opentest.ARN + ";trustServerCertificate=true", "app"},
	} {
		dsn := strings.Replace(c.dsn, "example.com:1433", net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), 1)
		before := len(s.Seen())
		var user string
		if err := opentest.Open(t, sqlserver.DriverName, dsn).QueryRowContext(t.Context(), "SELECT SUSER_SNAME()").Scan(&user); err != nil || user != "app_user" {
			t.Errorf("%s: query = %q, %v", c.dsn, user, err)
			continue
		}
		if logins := s.Seen()[before:]; len(logins) != 1 || logins[0].Database != c.database || !logins[0].Encrypted {
			t.Errorf("%s: the server saw %+v, want one login to %s", c.dsn, logins, c.database)
		}
	}
}
