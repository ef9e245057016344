package redshift_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/leak"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

func TestConformance(t *testing.T) {
	for _, names := range [][]string{{"127.0.0.1"}, {"localhost", "::1"}, nil} {
		t.Run(fmt.Sprint(names), func(t *testing.T) {
			t.Parallel()
			certs := testca.New(names...)
			verify := "sslmode=verify-full&sslrootcert=" + certs.File(t)
			config := certs.Server
			if names == nil {
				config = nil
			}
			s := start(t, config)
			drivertest.Run(t, drivertest.Server{
				Engine: redshift.Engine{}, Host: s.Host, Port: s.Port, Database: database,
				Query: "SELECT 1", ConnType: "*stdlib.Conn",
				SetPassword: s.SetPassword, Logins: s.Logins, Refuse: s.Refuse,
				TLS: &drivertest.TLS{
					Names: names, Roots: certs.Pool, Verified: verify, Unknown: "sslmode=verify-full", IfAvailable: "sslmode=prefer", Off: "sslmode=disable",
					URL: func(address, id string) string {
						return "redshift://" + address + "/" + database + ";user=" + id + ";ssl=true;sslRootCert=" + certs.File(t)
					},
				},
			})
		})
	}
}

func TestIPv6(t *testing.T) {
	if !loopback.HasIPv6() {
		t.Skip("no IPv6 here")
	}
	s := start(t, nil, "::1")
	s.SetPassword(t, "u", "p")
	db := open(t, "app?host=[::1]", secret(s, map[string]any{"host": nil}))
	if err := db.PingContext(t.Context()); err != nil {
		t.Error(err)
	}
}

// secret returns a secret in AWS's form for a cluster, with changes. A nil value leaves the key
// out.
// https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
func secret(s *pgserver.Server, changes map[string]any) string {
	fields := map[string]any{"engine": "redshift", "host": s.Host, "port": s.Port, "username": "u", "password": "p",
		"dbname": database, "dbClusterIdentifier": "clu"}
	maps.Copy(fields, changes)
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}

type source string // the secret's value

func (s source) Fetch(_ context.Context, id, stage string) (*secretcache.Secret, error) {
	return secretcache.NewSecret(secretcache.Value{ID: id, Name: id, VersionID: "v1", Stages: []string{stage}, String: string(s)}), nil
}

func open(t *testing.T, dsn, value string) *sql.DB {
	t.Helper()
	cache := secretcache.New(source(value), nil)
	c, err := redshift.NewConnector(dsn, &driver.Options{Secrets: cache, FallbackStages: []string{}})
	if err != nil {
		t.Fatalf("NewConnector(%q): %v", dsn, err)
	}
	db := sql.OpenDB(c)
	t.Cleanup(func() { _ = db.Close(); _ = cache.Close() })
	return db
}

// If a JDBC URL says nothing about TLS, Redshift's JDBC driver uses TLS and verifies the authority,
// and so does a JDBC URL here. Any other data source name does not.
func TestJDBCURLWithoutTLSPropertiesRequiresTLS(t *testing.T) {
	s := start(t, nil)
	s.SetPassword(t, "u", "p")
	url := "jdbc-secretsmanager:redshift://" + net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) + "/dev?user=app"
	for dsn, want := range map[string]string{
		url: "the server does not have it, and sslmode=verify-ca requires it", url + "&ssl=true": "sslmode=verify-full requires it",
		url + "&sslMode=prefer": "", url + "&ssl=false": "", "app": "",
	} {
		err := open(t, dsn, secret(s, nil)).PingContext(t.Context())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s, and a server without TLS: Ping = %v, want %q", dsn, err, want)
		}
	}
}

// With a secret whose "ssl" is true, no login goes in plaintext, unless parameters turn TLS off. It
// does not ask for verification.
func TestTheSecretAsksForTLS(t *testing.T) {
	plain, encrypted := start(t, nil), start(t, testca.New("another.test").Server)
	url := func(s *pgserver.Server) string {
		return "jdbc-secretsmanager:redshift://" + net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) + "/dev?user=app"
	}
	for _, c := range []struct {
		server *pgserver.Server
		dsn    string
		ssl    any
		want   string // an error; empty: a login
	}{
		{plain, "app", true, `the server does not have it, and the secret's "ssl" requires it`},
		{plain, "app?sslmode=prefer", "True", `the secret's "ssl" requires it`},
		{plain, url(plain) + "&sslMode=prefer", true, `the secret's "ssl" requires it`},
		{plain, "app?sslmode=disable", true, ""},
		{plain, url(plain) + "&ssl=false", true, ""},
		{plain, "app", false, ""},
		{encrypted, "app", true, ""},
		{encrypted, "app?sslmode=verify-full", true, "the certificate is for another.test"},
		{encrypted, url(encrypted), true, "sslrootcert"},
	} {
		c.server.SetPassword(t, "u", "p")
		before := len(c.server.Seen())
		err := open(t, c.dsn, secret(c.server, map[string]any{"ssl": c.ssl})).PingContext(t.Context())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf(`%s, "ssl": %v: Ping = %v, want %q`, c.dsn, c.ssl, err, c.want)
		}
		for _, l := range c.server.Seen()[before:] {
			if c.want != "" || l.TLS != (c.server == encrypted) {
				t.Errorf(`%s, "ssl": %v: a login, over TLS: %t`, c.dsn, c.ssl, l.TLS)
			}
		}
	}
}

// The secrets that AWS documents, with what the data source name must add.
func TestSecrets(t *testing.T) {
	s := start(t, nil)
	s.SetPassword(t, "u", "p")
	at := "host=" + s.Host + "&port=" + strconv.Itoa(s.Port)
	jdbc := "jdbc-secretsmanager:redshift://" + net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	managed := map[string]any{"engine": nil, "host": nil, "port": nil, "dbname": nil, "dbClusterIdentifier": nil}
	for _, c := range []struct {
		name, dsn string
		changes   map[string]any
		want      error  // nil: it connects
		text      string // of the error
	}{
		{"cluster", "app", nil, nil, ""},
		{"serverless", "app", map[string]any{"dbClusterIdentifier": nil, "namespaceName": "ns"}, nil, ""},
		{"alternating users", "app", map[string]any{"masterarn": "arn:aws:secretsmanager:us-west-2:123456789012:secret:admin-a1b2c3"}, nil, ""},
		{"engine in another case", "app", map[string]any{"engine": "Redshift"}, nil, ""},
		{"managed, all in the data source name", "app?dbname=dev&" + at, managed, nil, ""},
		{"managed, JDBC", jdbc + "/dev?user=app&sslMode=prefer", managed, nil, ""},
		{"managed, no host", "app?dbname=dev", managed, driver.ErrMalformedSecret, `key "host" is missing`},
		{"managed, no database", "app?" + at, managed, driver.ErrMalformedSecret, `key "dbname" is missing`},
		{"JDBC without a database", jdbc + "?user=app", managed, driver.ErrMalformedSecret, `key "dbname" is missing`},
		{"another engine's", "app", map[string]any{"engine": "postgres"}, driver.ErrEngineMismatch, `"engine"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := open(t, c.dsn, secret(s, c.changes)).PingContext(t.Context())
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("Ping = %v, want %v with %s", err, c.want, c.text)
			}
		})
	}
}

// Queries use the extended protocol with values as text, and no statement stays prepared on the
// server, although Redshift reports less than PostgreSQL. The settings reach the server.
func TestQueryMode(t *testing.T) {
	s := start(t, nil)
	s.SetPassword(t, "u", "p")
	for _, c := range []struct {
		params   string
		prepared bool
	}{
		{"", false},
		{"default_query_exec_mode=exec", false},
		{"default_query_exec_mode=cache_statement", true},
	} {
		before := len(s.Queries())
		db := open(t, strings.TrimSuffix("app?query_group=nightly&Search_Path=a,public&"+c.params, "&"), secret(s, nil))
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT $1", "x").Scan(&n); err != nil || n != 1 {
			t.Errorf("%s: query = %d, %v", c.params, n, err)
		}
		startup, queries := settings(s), s.Queries()[before:]
		prepared, binary := false, false
		for _, q := range queries {
			prepared = prepared || q.Name != ""
			binary = binary || slices.Contains(q.Formats, 1)
			if q.Simple {
				t.Errorf("%s: query %q went in the simple protocol", c.params, q.SQL)
			}
		}
		if prepared != c.prepared || binary != c.prepared || len(queries) == 0 {
			t.Errorf("%s: queries %+v, want prepared and binary to be %t", c.params, queries, c.prepared)
		}
		want := map[string]string{"user": "u", "database": database, "query_group": "nightly", "Search_Path": "a,public"}
		if !maps.Equal(startup, want) {
			t.Errorf("%s: settings %q, want %q", c.params, startup, want)
		}
	}
}

// settings returns the settings of the last login that a server saw.
func settings(s *pgserver.Server) map[string]string {
	seen := s.Seen()
	return seen[len(seen)-1].Params
}

// Configure is called last, and sees the settings.
func TestConfigure(t *testing.T) {
	s := start(t, nil)
	s.SetPassword(t, "u", "p")
	e := redshift.Engine{}
	e.Configure = func(c *pgx.ConnConfig) error {
		if c.DefaultQueryExecMode != pgx.QueryExecModeExec || c.RuntimeParams["query_group"] != "g" {
			t.Errorf("mode %v, settings %q", c.DefaultQueryExecMode, c.RuntimeParams)
		}
		c.RuntimeParams["query_group"] = "changed"
		return nil
	}
	l, err := e.Prepare(driver.Endpoint{Host: s.Host, Port: s.Port, Database: database, Params: map[string]string{"query_group": "g"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // each with a copy of its own
		conn, err := l.Connect(t.Context(), driver.Credentials{User: "u", Password: driver.NewPassword("p")})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if startup := settings(s); startup["query_group"] != "changed" {
			t.Errorf("settings %q", startup)
		}
	}
}

func TestSHA256DigestIsAnErrorWithARemedy(t *testing.T) {
	s := (&pgserver.Server{Method: pgserver.SHA256}).Start(t)
	err := open(t, "app", secret(s, map[string]any{"password": "hunter2-hunter2"})).PingContext(t.Context())
	if err == nil || errors.Is(err, driver.ErrAuthFailed) || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("Ping = %v, want an error other than ErrAuthFailed that names SHA-256", err)
	}
	if path := leak.Find(err, "hunter2-hunter2"); path != "" {
		t.Errorf("the error holds the password in %s", path)
	}
}

func TestRejected(t *testing.T) {
	const wrong = `password authentication failed for user "app"`
	for _, c := range []struct {
		code, routine, message string
		want                   bool
	}{
		{"28000", "auth_failed", wrong, true},
		{"28000", "", wrong, true},
		{"28P01", "auth_failed", wrong, true},
		{"28P01", "", "whatever it says", true},
		{"28P02", "auth_failed", wrong, false}, // a near miss of AWS's JDBC library
		{"28000", "auth_failed", wrong + " (IAM)", false},
		{"28000", "auth_failed", "not a " + wrong, false},
		{"28000", "ClientAuthentication", `no pg_hba.conf entry for host "10.0.0.1", user "app", database "dev", SSL off`, false},
		{"08001", "auth_failed", wrong, false},
		{"3D000", "ReverifyMyDatabase", `database "dev" does not exist`, false},
		{"53300", "", "connection limit \"500\" exceeded for non-bootstrap users", false},
		{"57P03", "", "the cluster is resuming", false},
	} {
		pg := &pgconn.PgError{Code: c.code, Routine: c.routine, Message: c.message}
		logintest.Verdict(t, redshift.Engine{}, pg, c.want, c.code == "3D000")
	}
	for _, err := range []error{nil, errors.New(wrong), errors.New("28000"), context.DeadlineExceeded} {
		logintest.Verdict(t, redshift.Engine{}, err, false, false)
	}
}

func TestCheckParams(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"query_group", "a\x00b", "NUL"},
		{"applicationname", "a", `did you mean "application_name"`},
		{"standard_conforming_strings", "on", "not known"},
		{"can ary", "x", "a name that none has"},
	} {
		err := redshift.Engine{}.CheckParams(map[string]string{c.name: c.value})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("CheckParams(%s=%s) = %v, want %q", c.name, c.value, err, c.want)
		}
	}
	err := redshift.Engine{}.CheckParams(map[string]string{"timezone": "UTC", "TimeZone": "CET"})
	if err == nil || !strings.Contains(err.Error(), "are the same") {
		t.Errorf("CheckParams(timezone, TimeZone) = %v", err)
	}
}

func TestPrepareFails(t *testing.T) {
	for name, want := range map[string]string{"applicationname": "application_name", "sslrootcert": "no such file"} {
		ep := driver.Endpoint{Host: "h", Port: 1, Database: "dev", Params: map[string]string{name: "/no/such/file", "sslmode": "verify-full"}}
		if _, err := (redshift.Engine{}).Prepare(ep); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Prepare with %s = %v, want %q", name, err, want)
		}
	}
}

// The port is Redshift's default if nothing else gives one.
func TestDefaultPort(t *testing.T) {
	for _, dsn := range []string{"app?host=127.0.0.1", "jdbc-secretsmanager:redshift://127.0.0.1/dev?user=app"} {
		err := open(t, dsn+"&connect_timeout=1", secret(start(t, nil), map[string]any{"host": nil, "port": nil})).PingContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), "127.0.0.1:5439") {
			t.Errorf("%s: Ping = %v, want an error of port 5439", dsn, err)
		}
	}
}
