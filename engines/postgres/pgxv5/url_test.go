package pgxv5_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// The meaning of the properties is tested in guide_test.go.
func TestParseURL(t *testing.T) {
	configtest.ParseURL(t, pgxv5.Engine{}, configtest.Own, []configtest.URLCase{
		{"postgresql://example.com:5433/database?user=prod/app/db", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 5433, Database: "database"}},
		{"postgres://example.com/?user=id", driver.URL{SecretID: "id", Host: "example.com"}},
		{"postgresql://example.com?user=id", driver.URL{SecretID: "id", Host: "example.com"}},
		{"postgresql:///db?user=id", driver.URL{SecretID: "id", Database: "db"}},
		{"postgresql:///?user=id", driver.URL{SecretID: "id"}},
		{"postgresql://?user=id", driver.URL{SecretID: "id"}},
		{"postgresql:db?user=id", driver.URL{SecretID: "id", Database: "db"}},
		{"postgresql:?user=id", driver.URL{SecretID: "id"}},
		{"postgresql://:5433/db?user=id", driver.URL{SecretID: "id", Port: 5433, Database: "db"}},
		{"postgresql://[::1]:5433/db?user=id", driver.URL{SecretID: "id", Host: "::1", Port: 5433, Database: "db"}},
		{"postgresql://[fe80::1%eth0]/db?user=id", driver.URL{SecretID: "id", Host: "fe80::1%eth0", Database: "db"}},
		{"postgresql://h1:5432,h2:5433/db?user=id", driver.URL{SecretID: "id", Host: "h1:5432,h2:5433", Database: "db"}},
		{"postgresql://h1,[::1]:5433,10.0.0.1/db?user=id", driver.URL{SecretID: "id", Host: "h1,[::1]:5433,10.0.0.1", Database: "db"}},
		{"postgresql://h/a%2Fb%20c+d%25?user=id", driver.URL{SecretID: "id", Host: "h", Database: "a/b c+d%"}},
		{"postgresql://h/db#x?user=id", driver.URL{SecretID: "id", Host: "h", Database: "db#x"}},
		{"postgresql://h/?user=arn:aws:secretsmanager:us-west-2:123456789012:secret:a%2Fb-a1b2c3", driver.URL{SecretID: "arn:aws:secretsmanager:us-west-2:123456789012:secret:a/b-a1b2c3", Host: "h"}},
		{"postgresql://h/?user=id&databaseName=x%2By", driver.URL{SecretID: "id", Host: "h", Database: "x+y"}},
		{"postgresql://h/?&user=id&&stage=AWS%20X&region=r", driver.URL{SecretID: "id", Host: "h", Params: pairs("stage", "AWS X", "region", "r")}},
		{"postgresql://h/?user=id&application_name=a+b%20c", driver.URL{SecretID: "id", Host: "h", Params: pairs("application_name", "a+b c")}},
	})
}

func TestParseURLFails(t *testing.T) {
	configtest.ParseURLFails(t, pgxv5.Engine{}, configtest.Own, []configtest.ErrorCase{
		{"postgresql://h/db?user=id&password=s&CANARY&more=1", `"password" is not allowed`},
		{"postgresql://h/db?user=id&password=s&CANARY=1", `"password" is not allowed`},
		{"postgresql://h/db?user=id&CANARY", "a property has no value"},
		{"postgresql://h/db?user=id&CAN%41RY=1", "an impossible name"},
		{"postgresql://h/db?user=id&application_name=CANARY%zz", `"application_name"`},
		{"postgresql://h/db?user=id&application_name=CANARY%00", `"application_name"`},
		{"postgresql://h/CANARY%2?user=id", "database"},
		{"postgresql://h/CANARY/x?user=id", `"/"`},
		{"postgresql://[CANARY:]/db?user=id", "host"},
		{"postgresql://h1,,h2/db?user=id", "empty"},
		{"postgresql://h1,h2:x/db?user=id", "port"},
		{"postgresql://h1,/db?user=id", "empty"},
		{"postgresql://%2Fvar%2Frun/db?user=id", "host"},
		{"postgresql://h/db?user=id&databaseName=CANARY", `"databaseName"`},
	})
}

// capture prepares an endpoint and returns the configurations that its hosts get.
func capture(t *testing.T, ep driver.Endpoint) (configs []*pgx.ConnConfig, err error) {
	t.Helper()
	e := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		configs = append(configs, c)
		c.LookupFunc = func(context.Context, string) ([]string, error) { return nil, errors.New("not dialled") }
		return nil
	}}
	l, err := e.Prepare(ep)
	if err != nil {
		return nil, err
	}
	if _, err := l.Connect(t.Context(), driver.Credentials{User: "u", Password: driver.NewPassword("p")}); err == nil {
		t.Fatal("Connect succeeded")
	}
	return configs, nil
}

// Whatever a URL contains, pgx gets the host, port and database that were parsed, TLS as sslmode
// says, and no setting that is not a parameter.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"postgresql://h:1/db?user=id", "postgresql://h1,h2:2/?user=id&sslmode=require", "postgresql:db?user=a/b",
		"postgresql://[::1]:3/a%27%20sslmode=%27disable?user=id&sslmode=verify-full",
		"postgresql://h/' host='evil?user=id&sslmode=require&application_name=%5C%27%20host%3D%27evil",
		"postgresql://h/db?user=id&options=%27&ssl=true&a.b=c%5C", "postgres:?user=x&krbspn='%20password='x",
		"postgresql://h/db?user=id&connectTimeout=3&search_path=%22a%22,%20b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		u, err := pgxv5.Engine{}.ParseURL(url, configtest.NotOwn)
		if err != nil || !utf8.ValidString(url) {
			return
		}
		ep := configtest.EndpointOf(t, pgxv5.Engine{}, u)
		if (pgxv5.Engine{}).CheckParams(u.Params) != nil {
			return
		}
		for _, file := range []string{"sslrootcert", "sslcert", "sslkey"} {
			if _, ok := u.Params[file]; ok {
				return
			}
		}
		configs, err := capture(t, ep)
		if err != nil {
			t.Fatalf("Prepare of %+v: %v", ep, err)
		}
		var hosts []string
		for _, c := range configs {
			hosts = append(hosts, fmt.Sprintf("%s port %d", c.Host, c.Port))
			if c.Database != u.Database || c.User != "" || c.Password != "" || len(c.Fallbacks) != 0 {
				t.Errorf("database %q, user %q, %d fall-backs, want %q, none, none", c.Database, c.User, len(c.Fallbacks), u.Database)
			}
			if (c.TLSConfig == nil) != (u.Params["sslmode"] == "disable") {
				t.Errorf("TLS is %t with sslmode=%q", c.TLSConfig != nil, u.Params["sslmode"])
			}
			if m := u.Params["sslmode"]; c.TLSConfig != nil && (m == "verify-full") != !c.TLSConfig.InsecureSkipVerify {
				t.Errorf("verification is %t with sslmode=%q", !c.TLSConfig.InsecureSkipVerify, m)
			}
			want := maps.Clone(u.Params)
			for _, name := range []string{"sslmode", "sslcertmode", "sslnegotiation", "sslsni", "channel_binding", "require_auth",
				"krbsrvname", "krbspn", "connect_timeout", "target_session_attrs", "min_protocol_version", "max_protocol_version",
				"default_query_exec_mode", "statement_cache_capacity", "description_cache_capacity"} {
				delete(want, name)
			}
			if !maps.Equal(c.RuntimeParams, want) {
				t.Errorf("settings %q, want %q", c.RuntimeParams, want)
			}
		}
		if !strings.Contains(ep.Host, ",") {
			if want := []string{fmt.Sprintf("%s port %d", ep.Host, ep.Port)}; !reflect.DeepEqual(hosts, want) {
				t.Errorf("hosts %q, want %q", hosts, want)
			}
		} else if len(hosts) != strings.Count(ep.Host, ",")+1 {
			t.Errorf("hosts %q of %q", hosts, ep.Host)
		}
	})
}

// Every value reaches pgx unchanged.
func FuzzParams(f *testing.F) {
	f.Add("db", "value")
	f.Add("' host='evil", `\' host=evil`)
	f.Add(`\`, `\\'`)
	f.Add("a=b c=d", "\t\n' '")
	f.Fuzz(func(t *testing.T, database, value string) {
		if strings.ContainsRune(database+value, 0) {
			return
		}
		configs, err := capture(t, driver.Endpoint{Host: "h", Port: 1, Database: database,
			Params: pairs("application_name", value, "x.y", value, "krbspn", value, "sslmode", "require")})
		if err != nil {
			t.Fatal(err)
		}
		c := configs[0]
		if c.Host != "h" || c.Port != 1 || c.Database != database || c.TLSConfig == nil || c.KerberosSpn != value ||
			!maps.Equal(c.RuntimeParams, pairs("application_name", value, "x.y", value)) {
			t.Errorf("%q and %q became host %q, database %q, settings %q", database, value, c.Host, c.Database, c.RuntimeParams)
		}
	})
}
