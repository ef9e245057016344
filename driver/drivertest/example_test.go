package drivertest_test

import (
	"crypto/x509"
	"errors"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/driver/vocabulary"
)

// The test of an engine starts a server that checks passwords. It tells the suite how to change a
// password and how to count logins.
func ExampleRun() {
	_ = func(t *testing.T) {
		server := startServer(t)
		var engine driver.Engine // the engine to test
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

// The test of an engine's parameters. Each case says how a parameter changes the configuration of the
// vendor's driver.
func ExampleRunVocabulary() {
	var words *vocabulary.Vocabulary // the engine's
	var engine *preparing            // its Prepare keeps the parameters and returns an error
	_ = func(t *testing.T) {
		drivertest.RunVocabulary(t, drivertest.Vocabulary{
			Words: words,
			Page:  "README.md",
			Params: drivertest.Table{Heading: "parameter", Cases: map[string][]drivertest.Case{"prod/app?": drivertest.Cases(`
				sslmode=require => sslmode="require"
				sslmode=prefer => error: one of disable, require
			`)}},
			Open: func(t *testing.T, dsn string) (drivertest.Fields, error) {
				err := drivertest.Connect(t.Context(), engine, dsn, `{"host":"h","username":"u","password":"p"}`)
				if errors.Is(err, driver.ErrBadDSN) {
					return nil, err
				}
				return drivertest.FieldsOf(engine.params), nil
			},
		})
	}
}

type preparing struct {
	driver.Engine
	params map[string]string
}
