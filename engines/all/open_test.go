package all_test

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/all"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tnsserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/opentest"
)

// Every form of a data source name connects with the engine that the data source name or the secret
// names, as the vendor's driver prepares it. TestOpen of each engine's package tests the forms of
// that engine, with a server that checks the password.
func TestForms(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1b2c3"
	for _, c := range []struct{ dsn, engine, want string }{
		{"prod/app/db", "postgres", "postgres s.test|1111|db"},
		{arn + "?sslmode=verify-full&dbname=reports", "postgres", "postgres s.test|1111|reports"},
		{arn + "?tls=true&dbname=reports", "aurora-mysql", "mysql s.test|1111|reports"},
		{"prod/app/db?query_group=x", "Redshift", "redshift s.test|1111|db"},
		{"prod/app/db", "mariadb", "mariadb s.test|1111|db"},
		{"prod/app/db?SSL=true", "oracle-se2", "oracle s.test|1111|db"},
		{"prod/app/db?encrypt=true", "sqlserver-ex", "sqlserver s.test|1111|db"},
		{"prod/app/db?Security=SSL", "db2", "db2 s.test|1111|db"},
		{"prod/app/db?engine=redshift", "", "redshift s.test|1111|db"},
		{"jdbc-secretsmanager:postgresql://example.com:5432/database?user=prod/app/db", "postgres", "postgres example.com|5432|database"},
		{"jdbc-secretsmanager:mysql://example.com:3306?user=prod/app/db", "mysql", "mysql example.com|3306|db"},
		{"jdbc-secretsmanager:mariadb://example.com:3306?user=prod/app/db", "mariadb", "mariadb example.com|3306|db"},
		{"jdbc-secretsmanager:oracle:thin:@example.com:1521/ORCL?user=prod/app/db", "oracle", "oracle example.com|1521|ORCL"},
		{"jdbc-secretsmanager:oracle:thin:@//example.com:1521/ORCL?user=prod/app/db", "oracle", "oracle example.com|1521|ORCL"},
		{"jdbc-secretsmanager:oracle:thin:@example.com:1521:ORCL?user=prod/app/db", "oracle", "oracle example.com|1521|:ORCL"},
		{"jdbc-secretsmanager:oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=example.com)(PORT=1521))(CONNECT_DATA=(SERVICE_NAME=ORCL)))?user=prod/app/db", "oracle", "oracle example.com|1521|ORCL"},
		{"jdbc-secretsmanager:sqlserver://example.com:1433;databaseName=app;user=prod/app/db", "sqlserver", "sqlserver example.com|1433|app"},
		{"jdbc-secretsmanager:db2://example.com:50000/SAMPLE:user=prod/app/db;", "db2", "db2 example.com|50000|SAMPLE"},
		{"jdbc-secretsmanager:redshift://example.com:5439/dev?user=prod/app/db", "", "redshift example.com|5439|dev"},
	} {
		opts := optionsFor(t, fmt.Sprintf(`{"engine":%q,"host":"s.test","port":1111,"dbname":"db","username":"u","password":"p"}`, c.engine))
		var (
			at     driver.Endpoint
			logins int
			name   string
			known  []driver.Engine
		)
		for _, e := range prepared() {
			known = append(known, observed{e, &at, &logins, &name})
		}
		connector, err := all.NewWith(known, c.dsn, opts)
		if err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		_, err = connector.Connect(t.Context())
		if got := fmt.Sprintf("%s %s|%d|%s", name, at.Host, at.Port, at.Database); err != nil || got != c.want || logins != 1 {
			t.Errorf("%s with a secret of %q: %d logins to %s, %v, want one to %s", c.dsn, c.engine, logins, got, err, c.want)
		}
	}
}

// sql.Open connects with the process's default cache to servers that check the password. For Db2
// the error says that the program has not imported IBM's driver.
func TestOpen(t *testing.T) {
	tds, err := tdsserver.Start(tdsserver.Options{Databases: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	defer tds.Close()
	tds.SetPassword("u", "p;{}=")
	tns := tnsserver.New(t, nil)
	tns.SetPassword("u", "p;{}=")
	for _, c := range []struct {
		engine, database, host string
		port                   int
		query                  string
		urls                   []string
		want                   string // the error
	}{
		{"sqlserver-ex", "app", tds.Host, tds.Port, "SELECT SUSER_SNAME()",
			[]string{"sqlserver://example.com;databaseName=app;user=prod/app/db;encrypt=false"}, ""},
		{"oracle-se2", "ORCL", tns.Host, tns.Port, "SELECT USER FROM DUAL",
			[]string{"oracle:thin:@example.com/ORCL?user=prod/app/db", "oracle:thin:@example.com:ORCLSID?user=prod/app/db"}, ""},
		{"db2", "SAMPLE", "127.0.0.1", 1, "VALUES 1",
			[]string{"db2://example.com/SAMPLE:user=prod/app/db;"}, `import _ "github.com/ibmdb/go_ibm_db" in the program`},
	} {
		opentest.Put(t, fmt.Sprintf(`{"engine":%q,"host":%q,"port":%d,"dbname":%q,"username":"u","password":"p;{}="}`, c.engine, c.host, c.port, c.database))
		dsns := []string{opentest.Name, opentest.ARN + "?dbname=" + c.database}
		for _, url := range c.urls {
			dsns = append(dsns, "jdbc-secretsmanager:"+strings.Replace(url, "example.com", net.JoinHostPort(c.host, strconv.Itoa(c.port)), 1))
		}
		for _, dsn := range dsns {
			var user string
			err := opentest.Open(t, all.DriverName, dsn).QueryRowContext(t.Context(), c.query).Scan(&user)
			if c.want == "" && (err != nil || !strings.EqualFold(user, "u")) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, %s: query = %q, %v, want %q", c.engine, dsn, user, err, c.want)
			}
		}
	}
}
