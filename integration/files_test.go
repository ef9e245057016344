package integration_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// forMySQL runs a test on MariaDB and on MySQL.
func forMySQL(t *testing.T, f func(t *testing.T, e *engine)) {
	forEach(t, func(t *testing.T, e *engine) {
		if !strings.HasPrefix(e.noTLS, "tls=") {
			t.Skip("other parameters")
		}
		f(t, e)
	})
}

// A logBuffer is a log that several goroutines write to.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(part string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), part)
}

// replaceFile replaces a file by another one, as a rotation of certificates does.
func replaceFile(t *testing.T, path string, text []byte) {
	t.Helper()
	then := time.Now().Add(-time.Minute) // older than a tick of the clock
	if err := errors.Join(os.WriteFile(path+".new", text, 0o600), os.Chtimes(path+".new", then, then), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestAuthoritiesOfAFileAreReadAgain: the file that ssl-ca names verifies the server. A new file is
// used without a restart, and half a file leaves the former one in use.
func TestAuthoritiesOfAFileAreReadAgain(t *testing.T) {
	forMySQL(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{TLS: true})
		good, other := readFile(t, v.CA.File), readFile(t, testdb.UnknownCA(t).File)
		file, log := filepath.Join(t.TempDir(), "ca.pem"), &logBuffer{}
		replaceFile(t, file, good)
		db := v.open(t, "ssl-ca="+file, &driver.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
		db.SetMaxIdleConns(-1) // each query logs in
		if !e.encrypted(t, v, db) {
			t.Error("TLS not used")
		}
		replaceFile(t, file, other)
		if err := db.PingContext(t.Context()); err == nil || !strings.Contains(err.Error(), "a certificate by an unknown authority") {
			t.Errorf("with another authority: Ping = %v, want that the authority is unknown", err)
		}
		replaceFile(t, file, append(bytes.Clone(other), good...))
		mustPing(t, db)
		if n := log.count("level=WARN"); n != 0 {
			t.Errorf("%d warnings, want none", n)
		}
		bundle := append(bytes.Clone(good), other...)
		replaceFile(t, file, bundle[:len(bundle)-40])
		mustPing(t, db)
		mustPing(t, db)
		if n := log.count("level=WARN"); n != 1 || log.count("it is cut off") != 1 {
			t.Errorf("%d warnings, want one that the file is cut off", n)
		}
	})
}

// TestCertificateOfAClientIsReadAgain: a user who needs a certificate logs in with ssl-cert and
// ssl-key, and with new files without a restart. If the key does not fit, the former pair stays in
// use.
func TestCertificateOfAClientIsReadAgain(t *testing.T) {
	forMySQL(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{TLS: true})
		if _, err := v.Admin().ExecContext(t.Context(), "ALTER USER '"+v.user+"'@'%' REQUIRE X509"); err != nil {
			t.Fatal(err)
		}
		params := "ssl-ca=" + v.CA.File
		if err := v.open(t, params, nil).PingContext(t.Context()); !errors.Is(err, driver.ErrAuthFailed) {
			t.Errorf("without a certificate: Ping = %v, want ErrAuthFailed", err)
		}
		cert, key := v.CA.Client(t)
		log := &logBuffer{}
		db := v.open(t, params+"&ssl-cert="+cert+"&ssl-key="+key, &driver.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
		db.SetMaxIdleConns(-1)
		mustPing(t, db)

		unknownCert, unknownKey := testdb.UnknownCA(t).Client(t)
		goodCert, goodKey := readFile(t, cert), readFile(t, key)
		replaceFile(t, cert, readFile(t, unknownCert)) // half of the change: the key does not fit
		mustPing(t, db)
		if n := log.count("level=WARN"); n != 1 {
			t.Errorf("%d warnings, want one", n)
		}
		replaceFile(t, key, readFile(t, unknownKey))
		if err := db.PingContext(t.Context()); err == nil {
			t.Error("a certificate that the server does not know is accepted, or is not read")
		}
		replaceFile(t, cert, goodCert)
		replaceFile(t, key, goodKey)
		mustPing(t, db)
	})
}
