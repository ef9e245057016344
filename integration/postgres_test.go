package integration_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

// Tests of the PostgreSQL engine that depend on answers of the server run on a real one.

// connections returns how many clients have connected to a server that logs them, except those on
// its Unix socket.
func connections(t *testing.T, s *testdb.Server) (n int) {
	t.Helper()
	err := s.Admin().QueryRowContext(t.Context(),
		`SELECT count(*) FROM regexp_matches(pg_read_file('log/server.csv'), 'connection received: host=[0-9]', 'g')`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The engine asks for TLS on the connection that it then uses for the login.
func TestPostgresWithoutTLSGetsOneConnectionForEachLogin(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{Private: true})
	connections(t, v.Server) // the administrator's own is open
	const logins = 5
	for _, mode := range []string{"", "sslmode=prefer"} {
		c := v.connector(t, mode, nil)
		before, loggedIn := connections(t, v.Server), v.Logins(v.user)
		for range logins {
			if err := connect(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if n := v.Logins(v.user) - loggedIn; n != logins {
			t.Errorf("%q: %d logins, want %d", mode, n, logins)
		}
		if n := connections(t, v.Server) - before; n != logins {
			t.Errorf("%q: %d logins took %d connections, want one for each", mode, logins, n)
		}
	}
}

// A query is canceled over TLS if its connection has TLS, and without TLS if it has none.
func TestPostgresCancelsQueriesInTheDefaultMode(t *testing.T) {
	for _, encrypted := range []bool{true, false} {
		v := newEnv(t, engineNamed("postgres"), testdb.Options{TLS: encrypted})
		conn, err := v.open(t, "", nil).Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err = conn.ExecContext(ctx, "SELECT pg_sleep(300)")
		cancel()
		_ = conn.Close()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Exec = %v", err)
		}
		v.WaitSessions(v.user, 0)
	}
}

// putSecret changes the secret's JSON.
func (v *env) putSecret(t *testing.T, change func(map[string]any)) {
	t.Helper()
	fields := map[string]any{}
	err := json.Unmarshal([]byte(v.secret(v.user, v.password)), &fields)
	change(fields)
	b, err2 := json.Marshal(fields)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	v.sm.Put(v.id, string(b))
}

// "ssl" in a secret requires TLS, as AWS's rotation functions understand it.
func TestPostgresEncryptsIfTheSecretSaysSo(t *testing.T) {
	for _, value := range []any{true, "true", "True"} {
		asks := func(fields map[string]any) { fields["ssl"] = value }
		secure, plain := newEnv(t, engineNamed("postgres"), testdb.Options{TLS: true}), newEnv(t, engineNamed("postgres"), testdb.Options{})
		secure.putSecret(t, asks)
		plain.putSecret(t, asks)
		for _, mode := range []string{"", "sslmode=prefer", "sslmode=require"} {
			if !secure.engine.encrypted(t, secure, secure.open(t, mode, nil)) {
				t.Errorf("ssl %v, %q: no TLS", value, mode)
			}
			failsWithoutLogin(t, plain, plain.open(t, mode, nil))
		}
		if secure.engine.encrypted(t, secure, secure.open(t, "sslmode=disable", nil)) {
			t.Errorf("ssl %v: TLS in spite of sslmode=disable", value)
		}
		mustPing(t, plain.open(t, "sslmode=disable", nil))
	}
}

// Files that parameters name are read again when they change. A file that is half written changes
// nothing, and is reported.
func TestPostgresReadsChangedFilesAgain(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{TLS: true, Private: true})
	clients := testca.New()
	requireClientCertificates(t, v, clients)
	dir := t.TempDir()
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	issue := func(name string) (certPEM, keyPEM []byte) {
		c, k := testca.KeyPair(t, clients.Issue(name))
		return readFile(t, c), readFile(t, k)
	}
	firstCert, firstKey := issue("first")
	secondCert, secondKey := issue("second")
	right, wrong := readFile(t, v.CA.File), readFile(t, testdb.UnknownCA(t).File)
	replaceFile(t, ca, wrong)
	replaceFile(t, cert, firstCert)
	replaceFile(t, key, firstKey)

	var log strings.Builder
	db := v.open(t, "sslmode=verify-full&sslrootcert="+ca+"&sslcert="+cert+"&sslkey="+key,
		&driver.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	db.SetMaxIdleConns(-1) // each query logs in
	sees := func(when, want string) {
		t.Helper()
		got, err := clientName(t.Context(), db)
		if err != nil || got != want {
			t.Errorf("%s: the server sees the certificate %q, want %q (%v)", when, got, want, err)
		}
	}
	var unknown x509.UnknownAuthorityError
	if _, err := clientName(t.Context(), db); !errors.As(err, &unknown) {
		t.Errorf("with another authority: %v", err)
	}
	replaceFile(t, ca, append(right, wrong...))
	sees("with the right authority", "first")
	replaceFile(t, cert, secondCert)
	sees("with a certificate whose key is not there yet", "first")
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), key) {
		t.Errorf("the log has no record of it: %s", log.String())
	}
	replaceFile(t, key, secondKey)
	sees("with the key", "second")
	replaceFile(t, ca, append(right, wrong[:len(wrong)/2]...))
	sees("with a bundle that is cut off", "second")
	replaceFile(t, ca, right)
	replaceFile(t, cert, firstCert)
	replaceFile(t, key, firstKey)
	sees("with the former pair", "first")
	if strings.Contains(log.String(), "PRIVATE KEY") {
		t.Error("the log shows a key")
	}
}

// The client's certificate that parameters name is sent together with Options.TLS.
func TestPostgresClientCertificateWithOptionsTLS(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{TLS: true, Private: true})
	clients := testca.New()
	requireClientCertificates(t, v, clients)
	cert, key := testca.KeyPair(t, clients.Issue("client"))
	db := v.open(t, "sslcert="+cert+"&sslkey="+key, &driver.Options{TLS: &tls.Config{RootCAs: v.CA.Pool}})
	if got, err := clientName(t.Context(), db); err != nil || got != "client" {
		t.Errorf("the server sees the certificate %q, want the client's (%v)", got, err)
	}
}

func clientName(ctx context.Context, db *sql.DB) (name string, err error) {
	err = db.QueryRowContext(ctx, "SELECT coalesce(client_dn, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&name)
	return strings.TrimPrefix(name, "/CN="), err
}

// requireClientCertificates makes the server require a certificate of an authority from every user
// except the administrator.
func requireClientCertificates(t *testing.T, v *env, ca testca.Certificates) {
	t.Helper()
	exec(t, v, "COPY (SELECT unnest(string_to_array($$"+string(testca.PEM(ca.Authority.Raw))+"$$, E'\\n'))) TO '/var/lib/postgresql/data/client-ca.pem'")
	exec(t, v, "ALTER SYSTEM SET ssl_ca_file = '/var/lib/postgresql/data/client-ca.pem'")
	authenticate(t, v.Server, "hostssl all all all scram-sha-256 clientcert=verify-ca")
}

func exec(t *testing.T, v *env, statement string) {
	t.Helper()
	if _, err := v.Admin().ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%.60s: %v", statement, err)
	}
}

// authenticate replaces all lines of pg_hba.conf except those for the administrator, and waits
// until the server has read the file. The server ends with the test.
func authenticate(t *testing.T, s *testdb.Server, lines ...string) {
	t.Helper()
	lines = append([]string{"local all all trust", "host all " + s.User + " all scram-sha-256"}, lines...)
	conn, err := s.Admin().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var before, after time.Time
	var file string
	if err := conn.QueryRowContext(t.Context(), "SELECT pg_conf_load_time(), current_setting('hba_file')").Scan(&before, &file); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(lines, "\n")
	for _, statement := range []string{
		"COPY (SELECT unnest(string_to_array($$" + text + "$$, E'\\n'))) TO '" + file + "'",
		"SELECT pg_reload_conf()",
	} {
		if _, err := conn.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	var problem string
	err = conn.QueryRowContext(t.Context(), "SELECT coalesce(string_agg(error, ', '), '') FROM pg_hba_file_rules").Scan(&problem)
	if err != nil || problem != "" {
		t.Fatalf("pg_hba.conf: %s (%v)", problem, err)
	}
	for deadline := time.Now().Add(20 * time.Second); !after.After(before); {
		if err := conn.QueryRowContext(t.Context(), "SELECT pg_conf_load_time() FROM pg_sleep(0.02)").Scan(&after); err != nil || time.Now().After(deadline) {
			t.Fatalf("the server has not read its configuration again: %v", err)
		}
	}
}

// Passwords that SASLprep changes, and passwords that it does not accept, log in as with psql: by
// one login, and without a rejected one.
func TestPostgresPreparesPasswordsForSCRAM(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{Private: true})
	authenticate(t, v.Server,
		"host all scram_user all scram-sha-256",
		"host all md5_user all md5",
		"host all clear_user all password")
	for user, encryption := range map[string]string{"scram_user": "scram-sha-256", "md5_user": "md5", "clear_user": "scram-sha-256"} {
		exec(t, v, "CREATE ROLE "+user+" LOGIN")
		for i, password := range []string{
			"plain ASCII", "pässwörd", "x²", "½", "µ", "ª", "wait…", "brand™", "oﬃce", "ＡＢＣ", "so\u00adft", "a\u00a0b", "zero\u200bwidth",
			"e\u0301", "²😀", "²ᴬ", "²\u0627\u0031", "²\ufffd", "\u00ad", "密码", "\u0627\u0031\u0628",
		} {
			conn, err := v.Admin().Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = conn.ExecContext(t.Context(), fmt.Sprintf("SET password_encryption = '%s'; ALTER ROLE %s PASSWORD '%s'", encryption, user, password))
			_ = conn.Close()
			if err != nil {
				t.Fatal(err)
			}
			v.sm.Put(v.id, v.secret(user, password))
			accepted, rejected := v.Logins(user), v.RejectedLogins(user)
			err = v.open(t, "", nil).PingContext(t.Context())
			accepted, rejected = v.Logins(user)-accepted, v.RejectedLogins(user)-rejected
			if err != nil || accepted != 1 || rejected != 0 {
				t.Errorf("%s, password %d, %+q: %d logins accepted and %d rejected (%v)", user, i, password, accepted, rejected, err)
			}
		}
	}
	for requireAuth, want := range map[string]bool{"scram-sha-256": false, "md5": true, "!md5": false, "!password": true} {
		exec(t, v, "SET password_encryption = 'md5'; ALTER ROLE md5_user PASSWORD 'x²'; RESET password_encryption")
		v.sm.Put(v.id, v.secret("md5_user", "x²"))
		if err := v.open(t, "require_auth="+requireAuth, nil).PingContext(t.Context()); (err == nil) != want {
			t.Errorf("a server that wants md5, require_auth=%s: %v", requireAuth, err)
		}
	}
}
