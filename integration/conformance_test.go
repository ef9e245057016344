package integration_test

import (
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// TestConformance runs the suite that every engine has to pass, on a server with TLS and
// on one without.
func TestConformance(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		t.Run("TLS", func(t *testing.T) {
			e.need(t, tlsServer)
			drivertest.Run(t, conformance(t, e, []string{"127.0.0.1"}))
		})
		t.Run("no TLS", func(t *testing.T) {
			e.need(t, plainServer)
			drivertest.Run(t, conformance(t, e, nil))
		})
	})
}

// conformance describes a server for the suite. The server has TLS if names for its certificate are
// given.
func conformance(t *testing.T, e *engine, names []string) drivertest.Server {
	server := e.start(t, testdb.Options{TLS: names != nil, Names: names})
	others := testdb.UnknownCA(t)
	ca, port, params := server.CA, server.Port, ""
	if ca == nil { // it verifies nothing
		ca = others
	}
	_, onlyIfAsked := e.lacks[tlsIfAvailable]
	if names != nil && onlyIfAsked {
		port, params = server.TLSPort, e.anyTLS
	}
	verified := e.verify(t, ca)
	made := map[string]bool{}
	return drivertest.Server{
		Engine: e.adapter, Host: server.Host, Port: port, Database: server.Database, Params: params,
		Query: e.selectFrom("1"), ConnType: e.connType,
		SetPassword: func(t testing.TB, user, password string) {
			t.Helper()
			if e.noUser != nil {
				if why, unfit := e.noUser(password); unfit {
					t.Skip(why)
				}
			}
			if !made[user] {
				made[user] = true
				server.CreateUser(user, password)
				return
			}
			if err := server.SetPassword(t.Context(), user, password); err != nil {
				t.Fatal(err)
			}
		},
		Logins: func(_ testing.TB, user string) (accepted, rejected int) {
			return server.Logins(user), server.RejectedLogins(user)
		},
		Refuse: func(t testing.TB, user string) {
			t.Helper()
			if err := server.Lock(t.Context(), user); err != nil {
				t.Fatal(err)
			}
		},
		TLS: &drivertest.TLS{
			Names: names, Roots: ca.Pool, Verified: verified, Unknown: e.verify(t, others),
			IfAvailable: e.mayTLS, Off: e.noTLS, OnlyIfAsked: onlyIfAsked,
			URL: func(address, id string) string {
				return strings.NewReplacer("$address", address, "$database", server.Database, "$id", id, "$verify", verified, "$ca", ca.File).Replace(e.verifyURL)
			},
		},
	}
}
