package redshift_test

import (
	"maps"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/configtest"
)

// The meaning of the properties is tested in guide_test.go.
func TestParseURL(t *testing.T) {
	at := func(params ...string) driver.URL {
		return driver.URL{SecretID: "id", Host: "h", Database: "dev", Params: configtest.Pairs(params...)}
	}
	// Without a property about TLS.
	byDefault := configtest.Pairs("sslmode", "verify-ca")
	configtest.ParseURL(t, redshift.Engine{}, configtest.Own, []configtest.URLCase{
		{"redshift://example.com:5439/dev?user=prod/app/db", driver.URL{SecretID: "prod/app/db", Host: "example.com", Port: 5439, Database: "dev", Params: byDefault}},
		{"redshift://[::1]:5439/dev?user=id", driver.URL{SecretID: "id", Host: "::1", Port: 5439, Database: "dev", Params: byDefault}},
		{"redshift:dev?user=id", driver.URL{SecretID: "id", Database: "dev", Params: byDefault}},
		{"redshift:?user=id", driver.URL{SecretID: "id", Params: byDefault}},
		{"redshift://h/a%2Fb+c?user=id", driver.URL{SecretID: "id", Host: "h", Database: "a/b+c", Params: byDefault}},
		{"redshift://h/dev;user=id;ssl=true", at("sslmode", "verify-full")},
		{"redshift://h/dev?user=id;ssl=true&ApplicationName=a%3Bb", at("sslmode", "verify-full", "application_name", "a;b")},
		{"redshift://h/dev?user=id&SSLMode=require&SSLCert=/c&sslKey=/k&Options=-c%20x=y", at("sslmode", "require", "sslcert", "/c", "sslkey", "/k", "options", "-c x=y")},
		{"redshift://h/dev?user=id&stage=X&region=eu-west-1&enable_result_cache_for_session=off", at("sslmode", "verify-ca", "stage", "X", "region", "eu-west-1", "enable_result_cache_for_session", "off")},
	})
}

func TestParseURLFails(t *testing.T) {
	configtest.ParseURLFails(t, redshift.Engine{}, configtest.Own, []configtest.ErrorCase{
		{"redshift:iam://CANARY:eu-west-1/dev?user=id", "IAM"},
		{"redshift://h/dev?user=id&password=a;CANARY=b", `"password" is not allowed`},
		{"redshift://h/dev?user=id&CANARY", "a property has no value"},
		{"redshift://h/CANARY/x?user=id", `"/"`},
		{"redshift://h/CANARY%2?user=id", "database"},
		{"redshift://h1,CANARY/dev?user=id", "several hosts"},
	})
}

// Whatever a URL contains, pgx gets the host, port and database that were parsed, TLS as sslmode
// says, and no setting that is not a parameter.
func FuzzParseURL(f *testing.F) {
	for _, s := range []string{
		"redshift://h:1/dev?user=id", "redshift://h/dev;user=id;ssl=true", "redshift:dev?user=a/b",
		"redshift://[::1]:3/a%27%20sslmode=%27disable?user=id&SSLMODE=verify-full",
		"redshift://h/' host='evil?user=id;sslmode=require&ApplicationName=%5C%27%20host%3D%27evil",
		"redshift://h/dev?user=id&options=%27&query_group=c%5C;timezone='x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, url string) {
		u, err := redshift.Engine{}.ParseURL(url, func(string) bool { return false })
		if err != nil || (redshift.Engine{}).CheckParams(u.Params) != nil {
			return
		}
		for _, file := range []string{"sslrootcert", "sslcert", "sslkey"} {
			if _, ok := u.Params[file]; ok {
				return
			}
		}
		ep := configtest.EndpointOf(t, redshift.Engine{}, u)
		config, err := configtest.Capture(t, func(configure func(*pgx.ConnConfig) error) (driver.Login, error) {
			e := redshift.Engine{}
			e.Configure = configure
			return e.Prepare(ep)
		})
		if err != nil {
			t.Fatalf("Prepare of %+v: %v", u, err)
		}
		if config.Host != ep.Host || int(config.Port) != ep.Port || config.Database != u.Database || config.User != "" {
			t.Errorf("host %q, port %d, database %q, want %+v", config.Host, config.Port, config.Database, ep)
		}
		if (config.TLSConfig == nil) != (u.Params["sslmode"] == "disable") {
			t.Errorf("TLS is %t with sslmode=%q", config.TLSConfig != nil, u.Params["sslmode"])
		}
		want := maps.Clone(u.Params)
		for _, name := range []string{"sslmode", "sslcertmode", "sslsni", "connect_timeout", "default_query_exec_mode",
			"statement_cache_capacity", "description_cache_capacity"} {
			delete(want, name)
		}
		if !maps.Equal(config.RuntimeParams, want) {
			t.Errorf("settings %q, want %q", config.RuntimeParams, want)
		}
	})
}
