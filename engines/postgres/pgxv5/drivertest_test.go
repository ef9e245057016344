package pgxv5_test

import (
	"crypto/tls"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name  string
		names []string // in the certificate; none: the server has no TLS
		host  string   // where it listens
	}{
		{"TLS", []string{"127.0.0.1"}, "127.0.0.1"},
		{"TLS, other names", []string{"localhost", "::1"}, "127.0.0.1"},
		{"no TLS", nil, "127.0.0.1"},
		{"IPv6", []string{"::1"}, "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.host == "::1" {
				needsIPv6(t)
			}
			certs := testca.New(c.names...)
			verify := "sslmode=verify-full&sslrootcert=" + certs.File(t)
			config := certs.Server
			if c.names == nil {
				config = nil
			}
			drivertest.Run(t, suite(t, config, c.host, &drivertest.TLS{
				Names: c.names, Roots: certs.Pool, Verified: verify, Unknown: "sslmode=verify-full", IfAvailable: "sslmode=prefer", Off: "sslmode=disable",
				URL: func(address, id string) string {
					return "postgresql://" + address + "/app?user=" + id + "&" + verify
				},
			}))
		})
	}
}

func suite(t *testing.T, config *tls.Config, host string, of *drivertest.TLS) drivertest.Server {
	s := (&pgserver.Server{TLS: config, CheckPasswords: true, Databases: []string{"app"}}).Start(t, host)
	d := drivertest.Server{
		Engine: pgxv5.Engine{}, Host: s.Host, Port: s.Port, Database: "app", Query: "SELECT 1", ConnType: "*stdlib.Conn",
		SetPassword: s.SetPassword, Logins: s.Logins, Refuse: s.Refuse, TLS: of,
	}
	if config == nil {
		d.Params = "target_session_attrs=read-write" // a query of each login
	}
	if host == "::1" {
		d.HostIPv6 = host
	}
	return d
}
