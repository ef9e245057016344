package gosqldriver_test

import (
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
)

func TestCheckParams(t *testing.T) {
	for _, c := range []struct {
		params []string
		want   []string // parts of the error; none: accepted
	}{
		{nil, nil},
		{pairsOf("tls", "true"), nil},
		{pairsOf("tls", "preferred"), nil},
		{pairsOf("tls", "my own"), nil},
		{pairsOf("allowCleartextPasswords", "true", "tls", "true"), nil},
		{pairsOf("allowCleartextPasswords", "false", "tls", "false"), nil},
		{pairsOf("allowNativePasswords", "0", "checkConnLiveness", "FALSE", "clientFoundRows", "1", "columnsWithAlias", "True", "compress", "true", "interpolateParams", "true", "multiStatements", "true", "parseTime", "true", "rejectReadOnly", "true"), nil},
		{pairsOf("charset", "utf8mb4,utf8", "collation", "utf8mb4_0900_ai_ci", "connectionAttributes", "a:b,c:d", "loc", "Europe/Berlin"), nil},
		{pairsOf("maxAllowedPacket", "0", "readTimeout", "30s", "writeTimeout", "1m30s", "timeout", "0", "timeTruncate", "1us", "serverPubKey", "k"), nil},
		{pairsOf("time_zone", "'+00:00'", "sql_mode", "'ANSI'", "transaction_isolation", "'READ-COMMITTED'", "TX_ISOLATION", "'READ-COMMITTED'"), nil},
		{pairsOf("max_execution_time", "1000", "max_statement_time", "1", "wait_timeout", "60", "innodb_lock_wait_timeout", "5"), nil},
		{pairsOf("@app", "'x'", "aurora_replica_read_consistency", "'session'"), nil},

		{pairsOf("TLS", "CANARY"), []string{`"TLS"`, `"tls"`}},
		{pairsOf("sslmode", "CANARY"), []string{`"sslmode"`, `"tls"`}},
		{pairsOf("sslMode", "CANARY"), []string{`"sslMode"`, `"tls"`}},
		{pairsOf("ssl", "CANARY"), []string{`"ssl"`, `"tls"`}},
		{pairsOf("useSSL", "CANARY"), []string{`"useSSL"`, `"tls"`}},
		{pairsOf("parsetime", "CANARY"), []string{`"parsetime"`, `"parseTime"`}},
		{pairsOf("connectTimeout", "CANARY"), []string{`"connectTimeout"`, `"timeout"`}},
		{pairsOf("allowMultiQueries", "CANARY"), []string{`"allowMultiQueries"`, `"multiStatements"`}},
		{pairsOf("timezone", "CANARY"), []string{`"timezone"`, `"time_zone"`}},
		{pairsOf("encrypt", "CANARY"), []string{`"encrypt" is not known`}},
		{pairsOf("password", "CANARY"), []string{`"password" is not known`}},
		{pairsOf("user", "CANARY"), []string{`"user" is not known`}},
		{pairsOf("innodb_buffer_pool_size", "CANARY"), []string{"is not known"}}, // global
		{pairsOf("a b=CANARY", "x"), []string{"a name that none has"}},
		{pairsOf("@x = CANARY", "x"), []string{"a name that none has"}},
		{pairsOf("@@global.x", "x"), []string{`"@@global.x" is not known`}},
		{pairsOf("@x-y", "x"), []string{"is not known"}},
		{pairsOf("allowAllFiles", "true"), []string{`"allowAllFiles"`, "RegisterLocalFile"}},
		{pairsOf("allowOldPasswords", "true"), []string{`"allowOldPasswords"`}},
		{pairsOf("allowFallbackToPlaintext", "true"), []string{`"allowFallbackToPlaintext"`, "tls=preferred"}},
		{pairsOf("strict", "true"), []string{`"strict"`, "sql_mode"}}, // panics in the driver
		{pairsOf("allowCleartextPasswords", "true", "tls", "false"), []string{`"allowCleartextPasswords"`, "tls=true"}},
		{pairsOf("allowCleartextPasswords", "true", "tls", "PREFERRED"), []string{`"allowCleartextPasswords"`, "tls=true"}},
		{pairsOf("tls", ""), []string{`"tls"`}},
		{pairsOf("parseTime", "CANARY"), []string{`"parseTime"`, "true or false"}},
		{pairsOf("parseTime", "yes"), []string{`"parseTime"`}},
		{pairsOf("timeout", "CANARY"), []string{`"timeout"`, "duration"}},
		{pairsOf("timeout", "30"), []string{`"timeout"`}},
		{pairsOf("timeout", "-1s"), []string{`"timeout"`}},
		{pairsOf("maxAllowedPacket", "CANARY"), []string{`"maxAllowedPacket"`}},
		{pairsOf("charset", "utf8;CANARY"), []string{`"charset"`}},
		{pairsOf("charset", "utf8,"), []string{`"charset"`}},
		{pairsOf("charset", ""), []string{`"charset"`}},
		{pairsOf("collation", "x COLLATE CANARY"), []string{`"collation"`}},
		{pairsOf("collation", "a,b"), []string{`"collation"`}},
		{pairsOf("loc", ""), []string{`"loc"`}},
		{pairsOf("time_zone", ""), []string{`"time_zone"`, "SQL"}},
		{pairsOf("time_zone", "CANARY\x00"), []string{`"time_zone"`, "NUL"}},
		{pairsOf("time_zone", "CANARY", "TIME_ZONE", "CANARY"), []string{`"TIME_ZONE"`, `"time_zone"`}},
	} {
		err := gosqldriver.Engine{}.CheckParams(pairs(c.params...))
		if (err != nil) != (c.want != nil) {
			t.Errorf("CheckParams(%q) = %v, want error: %t", c.params, err, c.want != nil)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("CheckParams(%q) = %v, want %s in it", c.params, err, part)
			}
		}
		if err != nil && strings.Contains(err.Error(), "CANARY") {
			t.Errorf("CheckParams(%q) = %v quotes a value", c.params, err)
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
		for _, s := range []string{"mysql", "mariadb", "aurora", "aurora-mysql"} {
			if !info.Accepts(s) {
				t.Errorf("%s does not take a secret of %q", c.name, s)
			}
		}
		for _, s := range []string{"postgres", "aurora-postgresql", "", "MySQL", "mysqlx"} {
			if info.Accepts(s) {
				t.Errorf("%s takes a secret of %q", c.name, s)
			}
		}
	}
}
