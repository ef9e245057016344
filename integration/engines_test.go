package integration_test

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	mssql "github.com/microsoft/go-mssqldb"
	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mariadb"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
	"github.com/sqlsecrets/sqlsecrets/integration/internal/vendordb"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// An engine is one of the databases that the suites run on.
type engine struct {
	name         string
	engine       string // in secrets
	driverName   string
	start        func(testing.TB, testdb.Options) *testdb.Server
	newConnector func(string, *driver.Options) (*driver.Connector, error)
	adapter      driver.Engine
	connType     string                                                           // of the vendor's connection
	vendorError  func(error) bool                                                 // errors.As finds the vendor's error
	vendorAs     func(e *env, user, password string) (sqldriver.Connector, error) // the vendor's own
	from         string                                                           // the end of a SELECT without a table
	userName     string                                                           // an expression for the user that is logged in
	user         func(name string) string                                         // a name, or a part of one, as the database has it
	noClones     bool                                                             // the rotation function makes no clones
	roomy        []string                                                         // arguments of a server that accepts 300 connections
	packed       []string                                                         // arguments of a server that accepts 700 connections

	// urls are JDBC URLs. $address is replaced with $host and $port of the server, $database with
	// its database, $id with the secret's id, and $endpoint and $escaped with the URL of the
	// Secrets Manager, plain and escaped.
	urls []struct{ name, format string }

	encrypted func(t *testing.T, v *env, db *sql.DB) bool    // the server says that a new connection uses TLS
	noTLS     string                                         // a parameter that turns TLS off
	mayTLS    string                                         // a parameter for TLS if available; empty with Oracle
	anyTLS    string                                         // parameters that ask for TLS without verification
	verify    func(t testing.TB, ca *testdb.CA) string       // parameters that ask for verification
	verifyURL string                                         // the same as a JDBC URL with $address, $database, $id, $verify and the $ca file
	lacks     map[feature]string                             // features that are missing, and why
	noUser    func(password string) (why string, unfit bool) // reports that no user can have the password; or nil
}

// A feature is what an engine or its server may lack.
type feature string

const (
	closesSuperseded feature = "closing of superseded connections"
	noticesTheDead   feature = "a check of a pooled connection before a Ping uses it"
	tlsIfAvailable   feature = "TLS if available"
	tlsServer        feature = "a server with TLS"
	plainServer      feature = "a server without TLS"
)

// need skips the test if the engine lacks a feature.
func (e *engine) need(t *testing.T, f feature) {
	t.Helper()
	if why, ok := e.lacks[f]; ok {
		t.Skipf("%s lacks %s: %s", e.name, f, why)
	}
}

// selectFrom returns a query for an expression.
func (e *engine) selectFrom(expression string) string { return "SELECT " + expression + e.from }

var engines = []*engine{
	{
		name: "postgres", engine: "postgres", driverName: postgres.DriverName, start: testdb.Postgres,
		newConnector: postgres.NewConnector, adapter: pgxv5.Engine{}, connType: "*stdlib.Conn",
		vendorError: as[*pgconn.PgError], vendorAs: pgxConnector, userName: "CURRENT_USER", user: unchanged,
		roomy: []string{"-c", "max_connections=300"}, packed: []string{"-c", "max_connections=700"},
		urls:      urls("postgresql"),
		encrypted: byCipher("SELECT 'ssl', CASE WHEN ssl THEN cipher ELSE '' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
		noTLS:     "sslmode=disable", anyTLS: "sslmode=require", mayTLS: "sslmode=prefer",
		verifyURL: verifyURL("postgresql"),
		verify:    func(_ testing.TB, ca *testdb.CA) string { return "sslmode=verify-full&sslrootcert=" + ca.File },
	},
	likeMySQL(&engine{
		name: "mariadb", driverName: mariadb.DriverName, start: testdb.MariaDB,
		newConnector: mariadb.NewConnector, adapter: gosqldriver.Engine{MariaDB: true},
	}),
	likeMySQL(&engine{
		name: "mysql", driverName: mysql.DriverName, start: testdb.MySQL,
		newConnector: mysql.NewConnector, adapter: gosqldriver.Engine{},
	}),
	likeSQLServer(&engine{name: "sqlserver", start: testdb.SQLServer, lacks: map[feature]string{
		plainServer: "SQL Server makes a certificate if it gets none",
	}}),
	likeSQLServer(&engine{name: "sqlserver stand-in", start: testdb.SQLServerStandIn, lacks: map[feature]string{},
		encrypted: byText("SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID", "TRUE"),
	}),
	likeOracle(&engine{name: "oracle", start: testdb.Oracle, lacks: map[feature]string{
		tlsServer: "the image has no orapki, which would put a certificate into a wallet",
	}}),
	likeOracle(&engine{name: "oracle stand-in", start: testdb.OracleStandIn, lacks: map[feature]string{}}),
}

func likeMySQL(e *engine) *engine {
	e.engine, e.connType, e.vendorError, e.vendorAs = e.name, "*mysql.mysqlConn", as[*gomysql.MySQLError], mysqlConnector
	e.userName, e.user = "SUBSTRING_INDEX(CURRENT_USER(), '@', 1)", unchanged
	e.roomy, e.packed = []string{"--max-connections=300"}, []string{"--max-connections=700"}
	e.urls = urls(e.name)
	e.encrypted = byCipher("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
	e.noTLS, e.anyTLS, e.mayTLS, e.verify = "tls=false", "tls=skip-verify", "tls=preferred", func(_ testing.TB, ca *testdb.CA) string { return "ssl-ca=" + ca.File }
	e.verifyURL = verifyURL(e.name)
	return e
}

func likeSQLServer(e *engine) *engine {
	e.engine, e.driverName, e.newConnector, e.adapter = "sqlserver", sqlserver.DriverName, sqlserver.NewConnector, mssqldb.Engine{}
	e.connType, e.vendorError = "*mssql.Conn", as[mssql.Error]
	e.vendorAs = func(v *env, user, password string) (sqldriver.Connector, error) {
		return vendordb.SQLServer(v.account(user, password)), nil
	}
	e.userName, e.user, e.noClones = "SUSER_SNAME()", unchanged, true
	e.urls = []struct{ name, format string }{
		{"JDBC URL", "sqlserver://$address;databaseName=$database;user=$id;encrypt=false;region=us-west-2;endpoint=$endpoint"},
		{"JDBC URL without database", "sqlserver://$address;user={$id};trustServerCertificate=true;encrypt=false;region=us-west-2;endpoint={$endpoint}"},
	}
	if e.encrypted == nil {
		e.encrypted = encryptedSQLServer
	}
	e.noTLS, e.anyTLS, e.mayTLS = "encrypt=disable", "encrypt=true&trustservercertificate=true", "encrypt=optional&trustservercertificate=true"
	e.verifyURL = "sqlserver://$address;databaseName=$database;user=$id;certificate=$ca"
	e.verify = func(_ testing.TB, ca *testdb.CA) string { return "encrypt=true&certificate=" + ca.File }
	e.lacks[closesSuperseded] = "go-mssqldb has no hook at check-out"
	e.lacks[noticesTheDead] = "go-mssqldb's ResetSession does nothing, and its first read fails"
	return e
}

func likeOracle(e *engine) *engine {
	e.engine, e.driverName, e.newConnector, e.adapter = "oracle", oracle.DriverName, oracle.NewConnector, goora.Engine{}
	e.connType, e.vendorError = "*go_ora.Connection", as[*network.OracleError]
	e.vendorAs = func(v *env, user, password string) (sqldriver.Connector, error) {
		return vendordb.Oracle(v.account(user, password)), nil
	}
	e.from, e.userName, e.user, e.noClones = " FROM DUAL", "USER", strings.ToUpper, true
	e.urls = []struct{ name, format string }{
		{"JDBC URL", "oracle:thin:@//$address/$database?user=$id&region=us-west-2&endpoint=$escaped"},
		{"JDBC URL without slashes", "oracle:thin:@$address/$database?user=$id&region=us-west-2&endpoint=$escaped"},
		{"JDBC URL without service", "oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=$host)(PORT=$port)))?user=$id&region=us-west-2&endpoint=$escaped"},
	}
	e.encrypted = byText("SELECT SYS_CONTEXT('USERENV', 'NETWORK_PROTOCOL') FROM DUAL", "tcps")
	e.noTLS, e.anyTLS = "SSL=false", "SSL=true&SSL_VERIFY=false"
	e.verifyURL = "oracle:thin:@//$address/$database?user=$id&$verify"
	e.verify = func(t testing.TB, ca *testdb.CA) string {
		t.Helper()
		text, err := os.ReadFile(ca.File)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		return "SSL=true&WALLET=" + testca.Wallet(t, nil, block.Bytes)
	}
	e.lacks[closesSuperseded] = "go-ora's ResetSession looks at what nothing outside can set"
	e.lacks[noticesTheDead] = "go-ora notices when it reads, which database/sql makes up for in a query only"
	e.lacks[tlsIfAvailable] = "a listener has TLS at a port of its own, so that one asks for it"
	e.noUser = func(password string) (string, bool) {
		return "Oracle has no double quote in a password", strings.Contains(password, `"`)
	}
	return e
}

func unchanged(name string) string { return name }

// urls are of the form that most databases have.
func urls(scheme string) []struct{ name, format string } {
	return []struct{ name, format string }{
		{"JDBC URL", scheme + "://$address/$database?user=$id&region=us-west-2&endpoint=$escaped"},
		{"JDBC URL without database", scheme + "://$address?user=$id&region=us-west-2&endpoint=$escaped"},
	}
}

// verifyURL is of the form that most databases have.
func verifyURL(scheme string) string { return scheme + "://$address/$database?user=$id&$verify" }

// tlsPort is a parameter for the port with TLS, with a "&" in front. It is empty if TLS has no port
// of its own.
func tlsPort(s *testdb.Server) string {
	if s.TLSPort == s.Port {
		return ""
	}
	return "&port=" + strconv.Itoa(s.TLSPort)
}

// forEach runs a test on each engine.
func forEach(t *testing.T, f func(t *testing.T, e *engine)) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { f(t, e) })
	}
}

// forEachTogether is forEach for a test that mostly waits.
func forEachTogether(t *testing.T, f func(t *testing.T, e *engine)) {
	var wg sync.WaitGroup
	for _, e := range engines {
		wg.Go(func() { t.Run(e.name, func(t *testing.T) { f(t, e) }) })
	}
	wg.Wait()
}

func as[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

func pgxConnector(e *env, user, password string) (sqldriver.Connector, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d dbname=%s sslmode=disable", e.Host, e.Port, e.Database))
	if err != nil {
		return nil, err
	}
	cfg.User, cfg.Password = user, password
	return stdlib.GetConnector(*cfg), nil
}

func mysqlConnector(e *env, user, password string) (sqldriver.Connector, error) {
	cfg := gomysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", net.JoinHostPort(e.Host, strconv.Itoa(e.Port)), e.Database
	cfg.User, cfg.Passwd = user, password
	return gomysql.NewConnector(cfg)
}

func (v *env) account(user, password string) vendordb.Account {
	return vendordb.Account{Host: v.Host, Port: v.Port, Database: v.Database, User: user, Password: password}
}

// encryptedSQLServer asks the administrator, because not every user may see it.
func encryptedSQLServer(t *testing.T, v *env, db *sql.DB) bool {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var id int
	var option string
	if err := conn.QueryRowContext(t.Context(), "SELECT @@SPID").Scan(&id); err != nil {
		t.Fatal(err)
	}
	err = v.Admin().QueryRowContext(t.Context(), "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @p1", id).Scan(&option)
	if err != nil {
		t.Fatal(err)
	}
	return option == "TRUE"
}

// byText runs a query whose answer is this text if the connection has TLS.
func byText(query, secure string) func(t *testing.T, v *env, db *sql.DB) bool {
	return func(t *testing.T, _ *env, db *sql.DB) bool {
		t.Helper()
		var text string
		if err := db.QueryRowContext(t.Context(), query).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text == secure
	}
}

// byCipher runs a query of two columns. The second column is empty without TLS.
func byCipher(query string) func(t *testing.T, v *env, db *sql.DB) bool {
	return func(t *testing.T, _ *env, db *sql.DB) bool {
		t.Helper()
		var name, cipher string
		if err := db.QueryRowContext(t.Context(), query).Scan(&name, &cipher); err != nil {
			t.Fatalf("query: %v", err)
		}
		return cipher != ""
	}
}
