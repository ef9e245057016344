package integration_test

import (
	"crypto/tls"
	"database/sql"
	"errors"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/internal/testdb"
)

// encrypted reports whether a new connection of db uses TLS, by the server's word.
func encrypted(t *testing.T, e *engine, db *sql.DB) bool {
	t.Helper()
	var name, cipher string
	if err := db.QueryRowContext(t.Context(), e.cipher).Scan(&name, &cipher); err != nil {
		t.Fatalf("query: %v", err)
	}
	return cipher != ""
}

func TestTLSIfAvailable(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		for _, c := range []struct {
			name   string
			server bool // takes TLS
			params string
			want   bool
		}{
			{"server with TLS", true, "", true},
			{"server without TLS", false, "", false},
			{"server with TLS, turned off", true, e.noTLS, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				v := newEnv(t, e, testdb.Options{TLS: c.server})
				if got := encrypted(t, e, v.open(t, c.params, nil)); got != c.want {
					t.Errorf("TLS used: %v, want %v", got, c.want)
				}
			})
		}
	})
}

// TestTLSAskedFor: verification fails where the server has no TLS, without a login.
// Wrong names and unknown authorities are in the conformance suite.
func TestTLSAskedFor(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		tlsServer := newEnv(t, e, testdb.Options{TLS: true})
		plainServer := newEnv(t, e, testdb.Options{})
		params := e.verify(t, tlsServer.CA)
		opts := func() *driver.Options {
			return &driver.Options{TLS: &tls.Config{RootCAs: tlsServer.CA.Pool, MinVersion: tls.VersionTLS12}}
		}
		t.Run("by the data source name", func(t *testing.T) {
			if !encrypted(t, e, tlsServer.open(t, params, nil)) {
				t.Error("TLS not used")
			}
		})
		t.Run("by Options.TLS", func(t *testing.T) {
			if !encrypted(t, e, tlsServer.open(t, "", opts())) {
				t.Error("TLS not used")
			}
		})
		t.Run("by the data source name, server without TLS", func(t *testing.T) {
			refuses(t, plainServer, plainServer.open(t, params, nil))
		})
		t.Run("by Options.TLS, server without TLS", func(t *testing.T) {
			refuses(t, plainServer, plainServer.open(t, "", opts()))
		})
	})
}

func refuses(t *testing.T, v *env, db *sql.DB) {
	t.Helper()
	if err := db.PingContext(t.Context()); err == nil || errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("Ping = %v, want an error of TLS", err)
	}
	if n := v.Logins(v.user) + v.RejectedLogins(v.user); n != 0 {
		t.Errorf("the server saw %d logins, want none", n)
	}
}
