package pgxv5_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
)

// environment has the variables that libpq and pgx read, with values that a test would notice. See
// https://www.postgresql.org/docs/current/libpq-envars.html and parseEnvSettings in
// pgconn/config.go.
var environment = map[string]string{
	"PGHOST":               "evil.test",
	"PGHOSTADDR":           "192.0.2.1",
	"PGPORT":               "1",
	"PGDATABASE":           "evil",
	"PGUSER":               "evil",
	"PGPASSWORD":           "evil",
	"PGPASSFILE":           "/evil",
	"PGREQUIREAUTH":        "gss",
	"PGCHANNELBINDING":     "require",
	"PGSERVICE":            "evil",
	"PGSERVICEFILE":        "/evil",
	"PGOPTIONS":            "-c search_path=evil",
	"PGAPPNAME":            "evil",
	"PGSSLMODE":            "disable",
	"PGREQUIRESSL":         "1",
	"PGSSLNEGOTIATION":     "direct",
	"PGSSLCOMPRESSION":     "1",
	"PGSSLCERT":            "/evil",
	"PGSSLKEY":             "/evil",
	"PGSSLCERTMODE":        "require",
	"PGSSLROOTCERT":        "/evil",
	"PGSSLCRL":             "/evil",
	"PGSSLSNI":             "0",
	"PGSSLPASSWORD":        "evil",
	"PGREQUIREPEER":        "evil",
	"PGGSSENCMODE":         "require",
	"PGKRBSRVNAME":         "evil",
	"PGCONNECT_TIMEOUT":    "nonsense",
	"PGCLIENTENCODING":     "LATIN1",
	"PGTARGETSESSIONATTRS": "standby",
	"PGLOADBALANCEHOSTS":   "random",
	"PGMINPROTOCOLVERSION": "3.2",
	"PGMAXPROTOCOLVERSION": "nonsense",
	"PGDATESTYLE":          "evil",
	"PGTZ":                 "evil",
	"PGGEQO":               "evil",
}

// prepared has the parts of a configuration that the test compares.
type prepared struct {
	Host, Database, User, Password         string
	Port                                   uint16
	TLS, Verified                          bool
	ServerName                             string
	Certificates                           int
	Timeout                                time.Duration
	ChannelBinding, RequireAuth, CertMode  string
	Min, Max, Negotiation, Kerberos, SPN   string
	Settings                               string
	Fallbacks                              int
	Wanted                                 string
	StatementCacheCapacity, DescribeCaches int
}

func prepare(t *testing.T, ep driver.Endpoint) prepared {
	t.Helper()
	configs, err := capture(t, ep)
	if err != nil {
		t.Fatal(err)
	}
	c := configs[0]
	lg, err := pgxv5.Engine{}.Prepare(ep)
	if err != nil {
		t.Fatal(err)
	}
	_, wanted := pgxv5.Attempts(lg)
	p := prepared{
		Host: c.Host, Database: c.Database, User: c.User, Password: c.Password, Port: c.Port,
		Timeout: c.ConnectTimeout, ChannelBinding: c.ChannelBinding, RequireAuth: c.RequireAuth, CertMode: c.SSLCertMode,
		Min: c.MinProtocolVersion, Max: c.MaxProtocolVersion, Negotiation: c.SSLNegotiation, Kerberos: c.KerberosSrvName, SPN: c.KerberosSpn,
		Fallbacks: len(c.Fallbacks), Wanted: wanted,
		StatementCacheCapacity: c.StatementCacheCapacity, DescribeCaches: c.DescriptionCacheCapacity,
	}
	for _, k := range sortedKeys(c.RuntimeParams) {
		p.Settings += k + "=" + c.RuntimeParams[k] + ";"
	}
	if c.TLSConfig != nil {
		p.TLS, p.Verified, p.ServerName, p.Certificates = true, !c.TLSConfig.InsecureSkipVerify, c.TLSConfig.ServerName, len(c.TLSConfig.Certificates)
	}
	return p
}

var endpoints = map[string]driver.Endpoint{
	"nothing said":  {Host: "db.test", Port: 5432, Database: "app"},
	"no database":   {Host: "db.test", Port: 5432},
	"disable":       {Host: "db.test", Port: 5433, Database: "app", Params: pairs("sslmode", "disable")},
	"require":       {Host: "db.test", Port: 5433, Database: "app", Params: pairs("sslmode", "require", "application_name", "mine")},
	"verify-full":   {Host: "db.test", Port: 5433, Database: "app", Params: pairs("sslmode", "verify-full", "timezone", "UTC")},
	"target":        {Host: "db.test", Port: 5433, Database: "app", Params: pairs("target_session_attrs", "primary")},
	"other timeout": {Host: "db.test", Port: 5433, Database: "app", Params: pairs("connect_timeout", "7")},
}

func TestEnvironmentDoesNotCount(t *testing.T) {
	for name := range environment {
		t.Setenv(name, "")
		_ = os.Unsetenv(name)
	}
	want := map[string]prepared{}
	for name, ep := range endpoints {
		want[name] = prepare(t, ep)
	}
	check := func(t *testing.T) {
		t.Helper()
		for name, ep := range endpoints {
			if got := prepare(t, ep); got != want[name] {
				t.Errorf("%s:\n%+v, without:\n%+v", name, got, want[name])
			}
		}
	}
	for name, value := range environment {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			check(t)
		})
	}
	t.Run("all", func(t *testing.T) {
		for name, value := range environment {
			t.Setenv(name, value)
		}
		check(t)
	})
	t.Run("home", func(t *testing.T) {
		home := t.TempDir()
		t.Setenv("HOME", home)
		t.Setenv("APPDATA", home)
		for _, dir := range []string{".postgresql", "postgresql"} {
			if err := os.Mkdir(filepath.Join(home, dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		service := "[evil]\nhost=evil.test\nport=1\nsslmode=disable\nuser=evil\npassword=evil\napplication_name=evil\nkrbspn=evil\nsearch_path=evil\n"
		for file, text := range map[string]string{
			".pgpass":          "*:*:*:*:evil\n",
			".pg_service.conf": service, "pg_service.conf": service,
			".postgresql/root.crt": "not one", ".postgresql/postgresql.crt": "not one", ".postgresql/postgresql.key": "not one",
			"postgresql/pgpass.conf": "*:*:*:*:evil\n", "postgresql/root.crt": "not one",
			"postgresql/postgresql.crt": "not one", "postgresql/postgresql.key": "not one", "postgresql/.pg_service.conf": service,
		} {
			if err := os.WriteFile(filepath.Join(home, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		check(t)
		t.Setenv("PGSERVICE", "evil")
		check(t)
		t.Setenv("PGSERVICEFILE", filepath.Join(home, ".pg_service.conf"))
		t.Setenv("PGPASSFILE", filepath.Join(home, ".pgpass"))
		check(t)

		// An empty password is a password as well.
		s := (&pgserver.Server{}).Start(t)
		conn, err := connect(t, pgxv5.Engine{}, endpoint(s), "")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if got := s.Seen()[0].Password; got != "" {
			t.Errorf("the server got a password of %d bytes, want none", len(got))
		}
	})
	t.Run("PGSERVICE without a temporary directory", func(t *testing.T) {
		t.Setenv("PGSERVICE", "evil")
		t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
		t.Setenv("TMP", filepath.Join(t.TempDir(), "none"))
		_, err := pgxv5.Engine{}.Prepare(endpoints["require"])
		if err == nil {
			t.Error("Prepare has read a service file")
		}
	})
}

// The test above would notice an effect, because pgx alone uses these variables.
func TestEnvironmentCountsForPgx(t *testing.T) {
	for name := range environment {
		t.Setenv(name, "")
		_ = os.Unsetenv(name)
	}
	t.Setenv("PGHOST", "evil.test")
	t.Setenv("PGSSLMODE", "disable")
	t.Setenv("PGAPPNAME", "evil")
	c, err := pgx.ParseConfig("user=u")
	if err != nil {
		t.Fatal(err)
	}
	if c.Host != "evil.test" || c.TLSConfig != nil || !maps.Equal(c.RuntimeParams, pairs("application_name", "evil")) {
		t.Errorf("host %q, settings %q", c.Host, c.RuntimeParams)
	}
}
