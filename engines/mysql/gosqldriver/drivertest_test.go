package gosqldriver_test

import (
	"crypto/tls"
	"fmt"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver/drivertest"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/testca"
)

func TestConformance(t *testing.T) {
	for _, engine := range []gosqldriver.Engine{{}, {MariaDB: true}} {
		for _, names := range [][]string{{"127.0.0.1"}, {"localhost", "::1"}, nil} {
			t.Run(fmt.Sprint(engine.Info().Name, names), func(t *testing.T) {
				certs := testca.New(names...)
				const ca = "conformance" // the vendor has a registry, and no files
				if err := gomysql.RegisterTLSConfig(ca, &tls.Config{RootCAs: certs.Pool}); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { gomysql.DeregisterTLSConfig(ca) })
				server := &mysqlserver.Server{Method: mysqlserver.CachingSHA2, Databases: []string{"app"}}
				params := ""
				if names != nil {
					server.TLS = certs.Server
				} else {
					params = "autocommit=1" // a query of each login
				}
				s := server.Start(t)
				drivertest.Run(t, drivertest.Server{
					Engine: engine, Host: s.Host, Port: s.Port, Database: "app", Params: params, Query: "SELECT 1", ConnType: "*mysql.mysqlConn",
					SetPassword: s.SetPassword, Logins: s.Logins, Refuse: s.Refuse,
					TLS: &drivertest.TLS{
						Names: names, Roots: certs.Pool, Verified: "tls=" + ca, Unknown: "tls=true", IfAvailable: "tls=preferred", Off: "tls=false",
						URL: func(address, id string) string {
							return engine.Info().Name + "://" + address + "/app?user=" + id + "&tls=" + ca
						},
					},
				})
			})
		}
	}
}
