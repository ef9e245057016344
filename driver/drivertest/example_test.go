package drivertest_test

import (
	"crypto/x509"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
)

// The test of an engine starts a server that checks passwords, and says how to
// change them and how many logins it has seen.
func ExampleRun() {
	_ = func(t *testing.T) {
		server := startServer(t)
		var engine driver.Engine // the one that is tested
		drivertest.Run(t, drivertest.Server{
			Engine:      engine,
			Host:        "127.0.0.1",
			Port:        server.port,
			Database:    "app",
			Query:       "SELECT 1",
			ConnType:    "*stdlib.Conn",
			SetPassword: server.setPassword,
			Logins:      server.logins,
			TLS: &drivertest.TLS{
				Names:       []string{"localhost"},
				Roots:       server.authorities,
				Verified:    "sslmode=verify-full&sslrootcert=ca.pem",
				Unknown:     "sslmode=verify-full",
				Off:         "sslmode=disable",
				IfAvailable: "sslmode=prefer",
				URL: func(address, id string) string {
					return "postgresql://" + address + "/app?user=" + id + "&sslmode=verify-full&sslrootcert=ca.pem"
				},
			},
		})
	}
}

type server struct {
	port        int
	authorities *x509.CertPool
}

func startServer(testing.TB) *server                               { return &server{} }
func (*server) setPassword(testing.TB, string, string)             {}
func (*server) logins(testing.TB, string) (accepted, rejected int) { return 0, 0 }
