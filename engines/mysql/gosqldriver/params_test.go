package gosqldriver_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

func TestCheckParams(t *testing.T) {
	register(t, "my own")
	cases := []configtest.ParamsCase{
		{nil, nil},
		{pairsOf("tls", "my own"), nil}, // registered
		{pairsOf("allowCleartextPasswords", "true", "tls", "true"), nil},
		{pairsOf("allowCleartextPasswords", "false", "tls", "false"), nil},
		{pairsOf("allowNativePasswords", "0", "checkConnLiveness", "FALSE", "clientFoundRows", "1", "columnsWithAlias", "True", "compress", "true", "interpolateParams", "true", "multiStatements", "true", "parseTime", "true", "rejectReadOnly", "true"), nil},
		{pairsOf("charset", "utf8mb4,utf8", "collation", "utf8mb4_0900_ai_ci", "connectionAttributes", "a:b,c:d", "loc", "Europe/Berlin"), nil},
		{pairsOf("maxAllowedPacket", "0", "readTimeout", "30s", "writeTimeout", "1m30s", "timeout", "0", "timeTruncate", "1us", "serverPubKey", "my own"), nil},
		{pairsOf("time_zone", "'+00:00'", "sql_mode", "'ANSI'", "transaction_isolation", "'READ-COMMITTED'", "TX_ISOLATION", "'READ-COMMITTED'"), nil},
		{pairsOf("max_execution_time", "1000", "max_statement_time", "1", "wait_timeout", "60", "innodb_lock_wait_timeout", "5"), nil},
		{pairsOf("a_variable_of_mysql_10", "1", "telemetry.query_text_enabled", "ON"), nil},
		{pairsOf("innodb_buffer_pool_size", "1"), nil}, // global, as the server will say
		{pairsOf("@a.b$c", "1", "@author", "1", "@tls", "1"), nil},
		{pairsOf("ssl-ca", "a"), nil},
		{pairsOf("ssl-ca", "a", "tls", "true", "allowCleartextPasswords", "true"), nil},
		{pairsOf("ssl-cert", "a", "ssl-key", "b", "tls", "skip-verify"), nil},

		{pairsOf("ssl-ca", "CANARY", "tls", "skip-verify"), []string{`"ssl-ca"`, "tls=true"}},
		{pairsOf("ssl-ca", "CANARY", "tls", "preferred"), []string{`"ssl-ca"`, "tls=true"}},
		{pairsOf("ssl-ca", "CANARY", "tls", "false"), []string{`"ssl-ca"`, "tls=true"}},
		{pairsOf("ssl-ca", "CANARY", "tls", "my own"), []string{`"ssl-ca"`, "registers"}},
		{pairsOf("ssl-ca", ""), []string{`"ssl-ca"`, "the name of a file"}},
		{pairsOf("ssl-cert", "CANARY"), []string{`"ssl-cert"`, `"ssl-key"`}},
		{pairsOf("ssl-key", "CANARY"), []string{`"ssl-cert"`, `"ssl-key"`}},
		{pairsOf("ssl-cert", "CANARY", "ssl-key", "CANARY", "tls", "preferred"), []string{`"ssl-cert"`, "tls=true"}},
		{pairsOf("ssl_ca", "CANARY"), []string{`"ssl_ca"`, `"ssl-ca"`}},

		{pairsOf("sslMode", "CANARY"), []string{`"sslMode"`, `"tls"`}},
		{pairsOf("ssl", "CANARY"), []string{`"ssl"`, `"tls"`}},
		{pairsOf("parsetime", "CANARY"), []string{`"parsetime"`, `"parseTime"`}},
		{pairsOf("allowMultiQueries", "CANARY"), []string{`"allowMultiQueries"`, `"multiStatements"`}},
		{pairsOf("timezone", "CANARY"), []string{`"timezone"`, `"time_zone"`}},
		{pairsOf("a b=CANARY", "x"), []string{"a name that none has"}},
		{pairsOf("@x = CANARY", "x"), []string{"a name that none has"}},
		{pairsOf("@@global.x", "x"), []string{`"@@global.x": a variable cannot have that name`}},
		{pairsOf("@x-y", "x"), []string{`"@x-y": a variable cannot have that name`}},
		{pairsOf("a--", "x"), []string{`"a--": a variable cannot have that name`}},
		{pairsOf("a..b", "x"), []string{`"a..b": a variable cannot have that name`}},
		{pairsOf("global CANARY", "x"), []string{"a name that none has"}},
		{pairsOf("allowCleartextPasswords", "true", "tls", "PREFERRED"), []string{`"allowCleartextPasswords"`, "tls=true"}},
		{pairsOf("allowCleartextPasswords", "true"), []string{`"allowCleartextPasswords"`, "tls=true"}},
		{pairsOf("tls", "CANARY"), []string{`"tls"`, "mysql.RegisterTLSConfig", "before sql.Open"}},
		{pairsOf("serverPubKey", "CANARY"), []string{`"serverPubKey"`, "mysql.RegisterServerPubKey", "before sql.Open"}},
		{pairsOf("serverPubKey", "CANARY", "tls", "my own"), []string{`"serverPubKey"`}},
		{pairsOf("timeout", "30"), []string{`"timeout"`}},
		{pairsOf("timeout", "-1s"), []string{`"timeout"`}},
		{pairsOf("charset", "utf8,"), []string{`"charset"`}},
		{pairsOf("charset", ""), []string{`"charset"`}},
		{pairsOf("collation", "a,b"), []string{`"collation"`}},
		{pairsOf("loc", ""), []string{`"loc"`}},
		{pairsOf("time_zone", "CANARY\x00"), []string{`"time_zone"`, "NUL"}},
	}
	configtest.CheckParams(t, gosqldriver.Engine{}, cases)
	configtest.CheckParams(t, gosqldriver.Engine{MariaDB: true}, cases)
}

// register registers a TLS configuration and a public key under a name.
func register(t *testing.T, name string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if err := gomysql.RegisterTLSConfig(name, &tls.Config{MinVersion: tls.VersionTLS13}); err != nil {
		t.Fatal(err)
	}
	gomysql.RegisterServerPubKey(name, &key.PublicKey)
	t.Cleanup(func() {
		gomysql.DeregisterTLSConfig(name)
		gomysql.DeregisterServerPubKey(name)
	})
}

func TestNamesAboutTLSAndLogins(t *testing.T) {
	configtest.RejectsNamesAboutTLS(t, gosqldriver.Engine{})
}

// Variables whose names look like mistyped parameters are accepted, and the list has no other
// variable.
func TestVariablesThatLookLikeParametersAreAccepted(t *testing.T) {
	words, server := *gosqldriver.Words, *gosqldriver.Words.Server
	server.Harmless = nil
	words.Server = &server
	for _, name := range gosqldriver.Words.Server.Harmless {
		name = strings.Replace(name, "*", "author", 1)
		for _, e := range []gosqldriver.Engine{{}, {MariaDB: true}} {
			if err := e.CheckParams(pairs(name, "1")); err != nil {
				t.Error(err)
			}
		}
		if words.Check(pairs(name, "1")) == nil {
			t.Errorf("%s would not be refused", name)
		}
	}
}

func TestInfo(t *testing.T) {
	for _, c := range []struct {
		engine gosqldriver.Engine
		name   string
	}{{gosqldriver.Engine{}, "mysql"}, {gosqldriver.Engine{MariaDB: true}, "mariadb"}} {
		info := c.engine.Info()
		if info.Name != c.name || len(info.Schemes) != 1 || info.Schemes[0] != c.name || info.Port != 3306 || info.Database != "" || info.DatabaseRequired {
			t.Errorf("Info() = %+v", info)
		}
		configtest.Accepts(t, c.engine, []string{"mysql", "mariadb", "aurora", "aurora-mysql"}, []string{"postgres", "aurora-postgresql", "", "MySQL", "mysqlx"})
	}
}
