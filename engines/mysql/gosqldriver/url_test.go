package gosqldriver_test

import (
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// The meaning of the properties is tested in guide_test.go.
func TestParseURL(t *testing.T) {
	const arn = "arn:aws:secretsmanager:us-west-2:123456789012:secret:a/b-a1b2c3"
	configtest.ParseURL(t, gosqldriver.Engine{}, configtest.Own, []configtest.URLCase{
		{"mysql://example.com:3307/app?user=prod/app/db", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 3307, Database: "app"}},
		{"mysql://example.com:3306?user=" + arn, driver.URL{SecretID: arn, Host: "example.com", Port: 3306}},
		{"mysql:///?user=id", driver.URL{SecretID: "id"}},
		{"mysql:///app?user=id", driver.URL{SecretID: "id", Database: "app"}},
		{"mysql://[::1]/a%2Fb+c?user=id", driver.URL{SecretID: "id", Host: "::1", Database: "a/b+c"}},
		{"mysql://h/?user=id&stage=AWS%20X&region=r", driver.URL{SecretID: "id", Host: "h", Params: pairs("stage", "AWS X", "region", "r")}},
		{"mysql://h/?user=id&parseTime=true&time_zone=%27%2B01:00%27&tls=true", driver.URL{SecretID: "id", Host: "h", Params: pairs("parseTime", "true", "time_zone", "'+01:00'", "tls", "true")}},
		{"mysql://h/?user=id&sessionVariables=sql_mode='ANSI,TRADITIONAL', time_zone=CONCAT('a',';');@x=1", driver.URL{SecretID: "id", Host: "h",
			Params: pairs("sql_mode", "'ANSI,TRADITIONAL'", "time_zone", "CONCAT('a',';')", "@x", "1")}},
	})
	for _, mode := range []string{"loadbalance", "replication", "sequential", "load-balance-read", "aurora"} {
		for _, e := range []gosqldriver.Engine{{}, {MariaDB: true}} {
			configtest.ParseURL(t, e, configtest.Own, []configtest.URLCase{
				{e.Info().Name + ":" + mode + "://h:1/db?user=id", driver.URL{SecretID: "id", Host: "h", Port: 1, Database: "db"}}})
		}
	}
}

func TestParseURLFails(t *testing.T) {
	configtest.ParseURLFails(t, gosqldriver.Engine{}, configtest.Own, []configtest.ErrorCase{
		{"mysql://h/db?user=id&CANARY", "a property has no value"},
		{"mysql://h/db?user=id&sql_mode=CANARY%zz", `"sql_mode"`},
		{"mysql://h1,CANARY/db?user=id", "more than one host"},
		{"mysql://address=(host=CANARY)/db?user=id", "properties for a host"},
		{"mysql://(host=CANARY,port=1)/db?user=id", "properties for a host"},
		{"mysql:loadbalance://CANARY,h2/db?user=id", "more than one host, and a login goes to one"},
		{"mysql:replication://address=(host=CANARY),h2/db?user=id", "properties for a host"},
		{"mysql:CANARY://h/db?user=id", "mysql://host:port/database"},
		{"mysql:CANARY?user=id", "mysql://host:port/database"},
		{"mysql://h/db?user=id&sql_mode=x#CANARY", `"#"`},
		{"mysql://h/CANARY/x?user=id", `"/"`},
		{"mysql://h/CANARY%?user=id", "database"},
		{"mysql://h/db?user=id&sessionVariables=sql_mode=1,sql_mode=2", `"sessionVariables"`},
	})
}

// capture prepares an endpoint and returns the configuration of a connection attempt.
func capture(t *testing.T, ep driver.Endpoint) (*gomysql.Config, error) {
	t.Helper()
	return configtest.Capture(t, func(configure func(*gomysql.Config) error) (driver.Login, error) {
		return gosqldriver.Engine{Configure: configure}.Prepare(ep)
	})
}

// Whatever a URL contains, the driver gets the host, port and database that were parsed, TLS as the
// parameters say, and no variable that is not a parameter.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"mysql://h:1/db?user=id", "mysql://h/a%2Fb%3Ftls=false?user=id&tls=true", "mysql://[::1]:3/?user=id&time_zone=%27/%27",
		"mysql://h/db?user=id&sslMode=VERIFY_CA&charset=utf8mb4,utf8&timeout=1s", "mysql://h/)%2F%3Ftls=false?user=id&tls=skip-verify&@x='%26tls=false'",
		"mysql:///?user=id&sessionVariables=sql_mode='a,b';@x=(1,2)&loc=UTC&connectionAttributes=a:b%26tls=false", "mysql://h?user=a/b&parseTime=True",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := gosqldriver.Engine{}.ParseURL(raw, configtest.NotOwn)
		if err != nil {
			return
		}
		ep := configtest.EndpointOf(t, gosqldriver.Engine{}, u)
		c, err := capture(t, ep)
		if err != nil {
			return // what is registered, installed or unknown
		}
		if want := net.JoinHostPort(ep.Host, strconv.Itoa(ep.Port)); c.Net != "tcp" || c.Addr != want || c.DBName != u.Database || c.User != "" || c.Passwd != "" {
			t.Errorf("%s(%s)/%s, want %s/%s", c.Net, c.Addr, c.DBName, want, u.Database)
		}
		if c.AllowAllFiles || c.AllowOldPasswords {
			t.Error("files or old passwords are allowed")
		}
		required := map[string]bool{"1": true, "true": true, "TRUE": true, "True": true, "skip-verify": true}[strings.ToLower(u.Params["tls"])]
		if required && (c.TLS == nil || c.AllowFallbackToPlaintext) {
			t.Errorf("TLS is not required with tls=%s", u.Params["tls"])
		}
		known := []string{"allowCleartextPasswords", "allowNativePasswords", "charset", "checkConnLiveness", "clientFoundRows", "collation",
			"columnsWithAlias", "compress", "connectionAttributes", "interpolateParams", "loc", "maxAllowedPacket", "multiStatements",
			"parseTime", "readTimeout", "rejectReadOnly", "serverPubKey", "ssl-ca", "ssl-cert", "ssl-key", "timeTruncate", "timeout", "tls", "writeTimeout"}
		want := maps.Clone(u.Params)
		for _, name := range known {
			delete(want, name)
		}
		if len(want)+len(c.Params) > 0 && !maps.Equal(c.Params, want) {
			t.Errorf("variables %q, want %q", c.Params, want)
		}
		if c.Collation != u.Params["collation"] || c.ConnectionAttributes != u.Params["connectionAttributes"] {
			t.Errorf("collation %q, attributes %q", c.Collation, c.ConnectionAttributes)
		}
	})
}

// Every value reaches the driver unchanged.
func FuzzParams(f *testing.F) {
	f.Add("db", "'value'")
	f.Add("a/b?c=d&e%20", "'/?&=%2F+ '")
	f.Add(")/x?tls=false", ")/x?tls=false")
	f.Fuzz(func(t *testing.T, database, value string) {
		if strings.ContainsRune(database+value, 0) || value == "" {
			return
		}
		c, err := capture(t, driver.Endpoint{Host: "h", Port: 1, Database: database,
			Params: pairs("sql_mode", value, "@x", value, "connectionAttributes", value, "tls", "true")})
		if err != nil {
			t.Fatal(err)
		}
		if c.Addr != "h:1" || c.DBName != database || c.TLS == nil || c.TLS.ServerName != "h" || c.AllowFallbackToPlaintext ||
			c.ConnectionAttributes != value || !maps.Equal(c.Params, pairs("sql_mode", value, "@x", value)) {
			t.Errorf("%q and %q became %s/%s, variables %q", database, value, c.Addr, c.DBName, c.Params)
		}
		if _, err := url.PathUnescape(url.PathEscape(database)); err != nil {
			t.Error(err)
		}
	})
}
