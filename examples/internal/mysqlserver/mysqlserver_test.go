package mysqlserver_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/examples/internal/mysqlserver"
)

// TestConformance runs the conformance suite of engines. It needs nothing but Go.
func TestConformance(t *testing.T) {
	server, err := mysqlserver.Start(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	made := map[string]bool{}
	drivertest.Run(t, drivertest.Server{
		Engine: gosqldriver.Engine{}, Host: server.Host, Port: server.Port, Database: "app",
		Query: "SELECT 1", ConnType: "*mysql.mysqlConn",
		NoUnknownUser: true, // for an unknown user it sends error 2012, which no real server sends
		SetPassword: func(t testing.TB, user, password string) {
			t.Helper()
			set := server.SetPassword
			if !made[user] {
				made[user], set = true, server.CreateUser
			}
			if err := set(t.Context(), user, password); err != nil {
				t.Fatal(err)
			}
		},
		TLS: &drivertest.TLS{ // the server has no TLS
			Verified: "tls=true", Unknown: "tls=true", Off: "tls=false",
			URL: func(address, id string) string {
				return "mysql://" + address + "/app?user=" + id + "&sslMode=VERIFY_IDENTITY"
			},
		},
	})
}
