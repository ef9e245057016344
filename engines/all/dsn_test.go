package all_test

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/all"
)

// drivers are the names that importing package all registers. url returns a JDBC URL of the driver
// with more properties.
var drivers = []struct {
	name  string
	param string // one that the engine takes
	own   string // a data source name of the vendor's, or of another tool's, with a password
	url   func(more string) string
}{
	{"secretsmanager-postgres", "sslmode=verify-full", "postgres://u:CANARY@h/db?sslmode=require", ampersand("postgresql://h/db?user=prod/app")},
	{"secretsmanager-redshift", "query_group=x", "host=h user=u password=CANARY dbname=db", ampersand("redshift://h/db?user=prod/app")},
	{"secretsmanager-mysql", "parseTime=true", "u:CANARY@tcp(h:3306)/db?parseTime=true", ampersand("mysql://h/db?user=prod/app")},
	{"secretsmanager-mariadb", "parseTime=true", "u:CANARY@/db", ampersand("mariadb://h/db?user=prod/app")},
	{"secretsmanager-oracle", "TIMEOUT=5", "u/CANARY@h:1521/ORCL", ampersand("oracle:thin:@//h/db?user=prod/app")},
	{"secretsmanager-sqlserver", "encrypt=true", "server=h;user id=u;password=CANARY", semicolon("sqlserver://h;user=prod/app;")},
	{"secretsmanager-db2", "Security=SSL", "HOSTNAME=h;UID=u;PWD=CANARY", semicolon("db2://h/db:user=prod/app;")},
}

func ampersand(url string) func(string) string {
	return func(more string) string { return "jdbc-secretsmanager:" + strings.TrimSuffix(url+"&"+more, "&") }
}

func semicolon(url string) func(string) string {
	return func(more string) string { return "jdbc-secretsmanager:" + url + strings.ReplaceAll(more, "&", ";") }
}

// opens checks the error of sql.Open. It must be nil if want is nil. Otherwise it must match want,
// contain all texts and quote no value.
func opens(t *testing.T, name, dsn string, want error, texts ...string) {
	t.Helper()
	db, err := sql.Open(name, dsn)
	if db != nil {
		defer db.Close()
	}
	e := (*driver.Error)(nil)
	switch {
	case want == nil && err != nil:
		t.Errorf("Open(%q, %q): %v", name, dsn, err)
	case want == nil:
	case !errors.Is(err, want) || !errors.As(err, &e) || e.SecretID != "":
		t.Errorf("Open(%q, %q) = %v, want %v without a secret's id", name, dsn, err, want)
	case strings.Contains(err.Error(), "CANARY"):
		t.Errorf("Open(%q, %q) quotes a value: %v", name, dsn, err)
	}
	for _, text := range texts {
		if err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("Open(%q, %q) = %v, want %s in it", name, dsn, err, text)
		}
	}
}

// sql.Open returns an error for everything that a driver cannot use, and the error names it.
func TestBadDataSourceNames(t *testing.T) {
	for _, d := range drivers {
		for _, name := range []string{d.name, all.DriverName} {
			opens(t, name, d.url(""), nil)
			opens(t, name, d.url("stage=AWSPREVIOUS&fallback=none&rotationWindow=5s&region=eu-west-1&usernameKey=login"), nil)
			opens(t, name, "prod/app?"+d.param+"&stage=AWSPREVIOUS&host=h&port=1&dbname=d", nil)

			for _, p := range []string{"no_such_tls", "encrypted", "sslMod"} {
				opens(t, name, d.url(p+"=CANARY"), driver.ErrBadDSN, fmt.Sprintf("%q", p))
			}
			for _, p := range []string{"no_such_tls", "encrypted", "sslMod"} {
				if name != all.DriverName { // which knows the engine at the first Connect call
					opens(t, name, "prod/app?"+p+"=CANARY", driver.ErrBadDSN, fmt.Sprintf("%q", p))
				}
			}

			opens(t, name, strings.Replace(d.url(""), "user=prod/app", "", 1), driver.ErrBadDSN, `"user"`)
			opens(t, name, strings.Replace(d.url(""), "user=prod/app", "user=", 1), driver.ErrBadDSN, `"user"`)
			opens(t, name, strings.Replace(d.url(""), "user=prod/app", "USER=CANARY", 1), driver.ErrBadDSN, `"USER"`)
			opens(t, name, d.url("user=CANARY"), driver.ErrBadDSN, `"user" is given twice`)
			opens(t, name, strings.Replace(d.url(""), "prod/app", "CANARY"+strings.Repeat("x", 507), 1), driver.ErrBadDSN, "512")
			opens(t, name, strings.Replace(d.url(""), "prod/app", "arn:aws:secretsmanager:us-west-2:123456789012:secret:CANARY"+strings.Repeat("x", 2048), 1), driver.ErrBadDSN, "2048")
			opens(t, name, strings.Replace(d.url(""), "prod/app", "CAN ARY", 1), driver.ErrBadDSN, "secret id")
			opens(t, name, d.url("stage=CANARY&stage=CANARY"), driver.ErrBadDSN, `"stage" is given twice`)
			opens(t, name, d.url("no-such thing"), driver.ErrBadDSN)
			opens(t, name, d.url("closeSuperseded=CANARY"), driver.ErrBadDSN, `"closeSuperseded"`)
			for _, p := range []string{"host", "port", "dbname", "engine"} {
				if p == "port" && strings.Contains(d.name, "sqlserver") {
					continue // a property of the JDBC driver
				}
				opens(t, name, d.url(p+"=1"), driver.ErrBadDSN, fmt.Sprintf("%q", p))
			}

			opens(t, name, d.own, driver.ErrBadDSN)
			opens(t, name, strings.Replace(d.url("password=CANARY"), "jdbc-secretsmanager:", "jdbc:", 1), driver.ErrBadDSN, `"jdbc-secretsmanager:"`)
			opens(t, name, strings.Replace(d.url(""), "jdbc-secretsmanager:", "", 1), driver.ErrBadDSN)
			opens(t, name, strings.Replace(d.url(""), "jdbc-s", "JDBC-S", 1), driver.ErrBadDSN, `"jdbc-secretsmanager:"`)
		}

		// A URL of another engine, which the driver of package all accepts.
		for _, other := range drivers {
			if other.name != d.name {
				opens(t, d.name, other.url(""), driver.ErrEngineMismatch, strings.TrimPrefix(d.name, "secretsmanager-"))
			}
		}
		opens(t, d.name, "prod/app?engine=snowflake", driver.ErrEngineMismatch, `"engine"`)
		opens(t, d.name, "prod/app?engine=CANARY", driver.ErrEngineMismatch, `"engine"`)
	}
	opens(t, all.DriverName, "prod/app?engine=snowflake", driver.ErrEngineMismatch, `"engine"`, `"postgres" "redshift" "mysql" "mariadb" "sqlserver" "oracle" "db2"`)
	for _, d := range drivers {
		opens(t, all.DriverName, "prod/app?engine="+strings.TrimPrefix(d.name, "secretsmanager-")+"&no_such_tls=CANARY", driver.ErrBadDSN, `"no_such_tls"`)
	}

	// Errors that are the same for all drivers.
	for _, d := range append([]string{all.DriverName}, names()...) {
		for _, c := range []struct{ dsn, text string }{
			{"CANARY" + strings.Repeat("x", 507), "512"},
			{"arn:aws:secretsmanager:us-west-2:123456789012:secret:CANARY" + strings.Repeat("x", 2048), "2048"},
			{"arn:aws:rds:us-west-2:123456789012:db:CANARY", "arn:aws:secretsmanager"},
			{"CAN ARY", "secret id"},
			{"?host=CANARY", "secret id"},
			{"prod/app?CANARY", "key=value"},
			{"prod/app?a b%=CANARY", "name"},
			{"prod/app?stage=CANARY&stage=CANARY", `"stage" is given twice`},
			{"prod/app?application_name=CANARY&application_name=CANARY", `"application_name" is given twice`},
			{"prod/app?dbname=CANARY%zz", `"dbname"`},
			{"prod/app?dbname=CANARY%0a", `"dbname"`},
			{"prod/app?host=", `"host" is empty`},
			{"prod/app?host=CANARY/x", `"host"`},
			{"prod/app?port=CANARY", `"port"`},
			{"jdbc-secretsmanager:snowflake://CANARY?user=prod/app", "not one of"},
			{"jdbc-secretsmanager:CANARY", ""},
			{"jdbc-secretsmanager:", ""},
			{"snowflake://u:CANARY@h/db", "database's URL"},
		} {
			opens(t, d, c.dsn, driver.ErrBadDSN, c.text)
		}
		// Only for the empty string, the error comes at the first connection.
		db, err := sql.Open(d, "")
		if err != nil {
			t.Errorf("Open(%q, %q): %v", d, "", err)
			continue
		}
		if err := db.PingContext(t.Context()); !errors.Is(err, driver.ErrBadDSN) {
			t.Errorf("%s: Ping of the empty data source name = %v, want ErrBadDSN", d, err)
		}
		_ = db.Close()
	}
}

func names() []string {
	var list []string
	for _, d := range drivers {
		list = append(list, d.name)
	}
	return list
}

// Errors that are special to one engine.
func TestBadDataSourceNamesOfVendors(t *testing.T) {
	for _, c := range []struct {
		name, dsn string
		want      error
		text      string
	}{
		{"redshift", "jdbc-secretsmanager:redshift:iam://h:5439/dev?user=prod/app", driver.ErrBadDSN, "IAM"},
		{"redshift", "jdbc-secretsmanager:redshift://h1,CANARY:5439/dev?user=prod/app", driver.ErrBadDSN, "several hosts"},
		{"mysql", "jdbc-secretsmanager:mysql://h1,CANARY/db?user=prod/app", driver.ErrBadDSN, "more than one host"},
		{"mariadb", "jdbc-secretsmanager:mariadb://h1,CANARY/db?user=prod/app", driver.ErrBadDSN, "more than one host"},
		{"sqlserver", "jdbc-secretsmanager:sqlserver://h1,CANARY;user=prod/app", driver.ErrBadDSN, "several hosts"},
		{"db2", "jdbc-secretsmanager:db2://h1,CANARY/db:user=prod/app;", driver.ErrBadDSN, "several hosts"},
		{"mysql", "jdbc-secretsmanager:mysql:replication://h1,CANARY/db?user=prod/app", driver.ErrBadDSN, "more than one host"},
		{"oracle", "jdbc-secretsmanager:oracle:thin:scott/CANARY@//h/ORCL?user=prod/app", driver.ErrBadDSN, "credentials"},
		{"oracle", "jdbc-secretsmanager:oracle:oci:@CANARY?user=prod/app", driver.ErrBadDSN, "oci"},
		{"oracle", "prod/app?ssl verify=true", driver.ErrBadDSN, `"ssl verify"`},
		{"oracle", "prod/app?SSL=true&closeSuperseded=true", driver.ErrBadDSN, "SetConnMaxLifetime"},
		{"sqlserver", "prod/app?closeSuperseded=true", driver.ErrBadDSN, "SetConnMaxLifetime"},
		{"db2", "prod/app?closeSuperseded=true", driver.ErrBadDSN, "SetConnMaxLifetime"},
		{"sqlserver", `jdbc-secretsmanager:sqlserver://h\CAN ARY;user=prod/app`, driver.ErrBadDSN, "instance"},
		{"db2", "prod/app?CurrentSchema=CANARY;UID=b", driver.ErrBadDSN, `"CurrentSchema"`},
		{"db2", "jdbc-secretsmanager:db2://h/db?user=CANARY", driver.ErrBadDSN, "db2://host:port/database:name=value"},
	} {
		db, err := sql.Open("secretsmanager-"+c.name, c.dsn)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("Open(%q) = %v, %v, want %v with %s", c.dsn, db, err, c.want, c.text)
		}
	}
}

// Parameters for the address, the user or the password are errors, however they are spelt.
func TestParametersThatOverrideTheSecretAreErrors(t *testing.T) {
	aliases := []string{"user", "uid", "user name", "user id", "password", "pwd", "passfile", "service", "service file", "database",
		"server", "conn str", "sid", "service name", "change password", "failover partner", "initial catalog", "data source",
		"address", "addr", "network address", "host name", "host addr"}
	// Properties of an engine's JDBC driver that have a place of their own in the URL.
	places := map[string]bool{"secretsmanager-sqlserver database": true, "secretsmanager-sqlserver server": true}
	for _, d := range drivers {
		for _, alias := range aliases {
			for _, spelt := range []string{alias, strings.ToUpper(alias), strings.ToUpper(alias[:1]) + alias[1:], strings.ReplaceAll(alias, " ", ""),
				strings.ReplaceAll(alias, " ", "_"), strings.ReplaceAll(alias, " ", "-"), " " + alias, alias + " ", strings.ToUpper(strings.ReplaceAll(alias, " ", "_"))} {
				for _, name := range []string{d.name, all.DriverName} {
					opens(t, name, "prod/app?"+spelt+"=CANARY", driver.ErrBadDSN, fmt.Sprintf("%q", spelt))
					if places[d.name+" "+strings.ToLower(strings.TrimSpace(spelt))] {
						continue
					}
					if strings.Contains(spelt, " ") {
						opens(t, name, d.url(spelt+"=CANARY"), driver.ErrBadDSN)
					} else {
						opens(t, name, d.url(spelt+"=CANARY"), driver.ErrBadDSN, fmt.Sprintf("%q", spelt))
					}
				}
			}
		}
	}
}

// Tokens of AWS IAM are only for PostgreSQL, MySQL and MariaDB, and only over TLS.
func TestAuthIAMIsOnlyForSomeEnginesAndOverTLS(t *testing.T) {
	off := map[string]string{"secretsmanager-postgres": "sslmode=disable", "secretsmanager-mysql": "tls=false", "secretsmanager-mariadb": "tls=false"}
	for _, d := range drivers {
		engine := strings.TrimPrefix(d.name, "secretsmanager-")
		for _, dsn := range []string{"prod/app?engine=" + engine + "&auth=iam", d.url("auth=iam")} {
			for _, name := range []string{d.name, all.DriverName} {
				if off[d.name] == "" {
					opens(t, name, dsn, driver.ErrBadDSN, `parameter "auth": the driver for `+engine+` cannot log in with IAM tokens`)
					continue
				}
				opens(t, name, dsn, nil)
				opens(t, name, dsn+"&"+off[d.name], driver.ErrBadDSN, `parameter "auth": iam needs TLS, and `+off[d.name]+" turns it off")
				opens(t, name, strings.Replace(dsn, "auth=iam", "auth=CANARY", 1), driver.ErrBadDSN, `parameter "auth": it has to be "iam"`)
			}
		}
	}
}

// A key of this library in the wrong case is an error, because its value would have no effect.
func TestKeysInTheWrongCaseAreErrors(t *testing.T) {
	for _, key := range []string{"host", "port", "dbname", "engine", "hostKey", "portKey", "dbnameKey", "usernameKey", "passwordKey",
		"region", "endpoint", "source", "profile", "roleArn", "externalId", "auth", "stage", "fallback", "rotationWindow", "closeSuperseded", "maxLogins"} {
		for _, d := range drivers {
			for _, spelt := range []string{strings.ToUpper(key), strings.ToUpper(key[:1]) + key[1:], strings.ToLower(key)} {
				if spelt == key {
					continue
				}
				for _, name := range []string{d.name, all.DriverName} {
					opens(t, name, "prod/app?"+spelt+"=CANARY", driver.ErrBadDSN, fmt.Sprintf("%q", spelt), fmt.Sprintf("%q", key))
					if strings.EqualFold(key, "port") && strings.Contains(d.name, "sqlserver") {
						continue // a property of the JDBC driver, in any case
					}
					opens(t, name, d.url(spelt+"=CANARY"), driver.ErrBadDSN, fmt.Sprintf("%q", spelt))
				}
			}
		}
	}
}
