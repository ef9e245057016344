package goora_test

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/internal/loopback"
	"github.com/sqlsecrets/sqlsecrets/internal/testca"
	"github.com/sqlsecrets/sqlsecrets/internal/tnsserver"
)

func TestConformance(t *testing.T) {
	for _, c := range []struct {
		name string
		opts *tnsserver.Options
	}{
		{"TCP", nil},
		{"markers before errors", &tnsserver.Options{BreakOnError: true}},
	} {
		t.Run(c.name, func(t *testing.T) { drivertest.Run(t, suite(tnsserver.New(t, c.opts))) })
	}
	t.Run("IPv6", func(t *testing.T) {
		if !loopback.HasIPv6() {
			t.Skip("no IPv6 here")
		}
		s := suite(tnsserver.New(t, &tnsserver.Options{IPv6: true}))
		s.HostIPv6 = "::1"
		drivertest.Run(t, s)
	})
}

// The server's TLS is asked for by name, as the suite's parameters can, and by
// Options.TLS, which an engine of the test adds.
func TestConformanceOverTLS(t *testing.T) {
	certs := testca.New("127.0.0.1")
	for _, c := range []struct {
		name string
		opts *tnsserver.Options
	}{
		{"TCPS", &tnsserver.Options{TLS: certs.Server}},
		{"second handshake", &tnsserver.Options{TLS: certs.Server, ResendTLS: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := suite(tnsserver.New(t, c.opts))
			s.Engine = withTLS{s.Engine, &tls.Config{RootCAs: certs.Pool}}
			s.TLSVerified = "SSL=true"
			s.TLSWrongName = "SSL=true&host=localhost"
			drivertest.Run(t, s)
			s.Engine = goora.Engine{}
			s.Params = "SSL=true&ssl_verify=false"
			s.TLSVerified, s.TLSWrongName = "", ""
			drivertest.Run(t, s)
		})
	}
	t.Run("unknown authority", func(t *testing.T) {
		s := suite(tnsserver.New(t, nil))
		tcps := tnsserver.New(t, &tnsserver.Options{TLS: certs.Server})
		s.TLSUnknownAuthority = "SSL=true&port=" + port(tcps)
		drivertest.Run(t, s)
	})
}

func suite(s *tnsserver.Server) drivertest.Server {
	return drivertest.Server{
		Engine:      goora.Engine{},
		Host:        s.Host,
		Port:        s.Port,
		Database:    "ORCL",
		Query:       "SELECT 1 FROM DUAL",
		ConnType:    "*go_ora.Connection",
		SetPassword: func(_ testing.TB, user, password string) { s.SetPassword(user, password) },
		Logins:      func(_ testing.TB, user string) (int, int) { return s.Logins(user) },
	}
}

// withTLS is an engine with Options.TLS.
type withTLS struct {
	driver.Engine
	config *tls.Config
}

func (e withTLS) Prepare(ep driver.Endpoint) (driver.Login, error) {
	ep.TLS = e.config
	return e.Engine.Prepare(ep)
}

func port(s *tnsserver.Server) string {
	_, port, _ := net.SplitHostPort(s.Addr())
	return port
}
