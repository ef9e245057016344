package integration_test

import (
	"crypto/tls"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

func TestTLSIfAvailable(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		e.need(t, tlsIfAvailable)
		for _, c := range []struct {
			name   string
			server bool // has TLS
			params string
			want   bool
		}{
			{"server with TLS", true, "", true},
			{"server without TLS", false, "", false},
			{"server with TLS, turned off", true, e.noTLS, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				if !c.server {
					e.need(t, plainServer)
				}
				v := newEnv(t, e, testdb.Options{TLS: c.server})
				if got := e.encrypted(t, v, v.open(t, c.params, nil)); got != c.want {
					t.Errorf("TLS used: %v, want %v", got, c.want)
				}
			})
		}
	})
}

// TestTLSAskedFor: if the server has no TLS, verification fails without a login. Wrong names and
// unknown authorities are in the conformance suite.
func TestTLSAskedFor(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		e.need(t, tlsServer)
		secure := newEnv(t, e, testdb.Options{TLS: true})
		params := e.verify(t, secure.CA)
		opts := func() *driver.Options {
			return &driver.Options{TLS: &tls.Config{RootCAs: secure.CA.Pool, MinVersion: tls.VersionTLS12}}
		}
		t.Run("by the data source name", func(t *testing.T) {
			if !e.encrypted(t, secure, secure.open(t, params+tlsPort(secure.Server), nil)) {
				t.Error("TLS not used")
			}
		})
		t.Run("by Options.TLS", func(t *testing.T) {
			if !e.encrypted(t, secure, secure.open(t, strings.TrimPrefix(tlsPort(secure.Server), "&"), opts())) {
				t.Error("TLS not used")
			}
		})
		t.Run("by the data source name, server without TLS", func(t *testing.T) {
			e.need(t, plainServer)
			plain := newEnv(t, e, testdb.Options{})
			failsWithoutLogin(t, plain, plain.open(t, params, nil))
		})
		t.Run("by Options.TLS, server without TLS", func(t *testing.T) {
			e.need(t, plainServer)
			plain := newEnv(t, e, testdb.Options{})
			failsWithoutLogin(t, plain, plain.open(t, "", opts()))
		})
	})
}

// failsWithoutLogin checks that a Ping fails for TLS, before a login.
func failsWithoutLogin(t *testing.T, v *env, db *sql.DB) {
	t.Helper()
	if err := db.PingContext(t.Context()); err == nil || errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("Ping = %v, want an error of TLS", err)
	}
	if n := v.Logins(v.user) + v.RejectedLogins(v.user); n != 0 {
		t.Errorf("the server saw %d logins, want none", n)
	}
}
