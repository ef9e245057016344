package gosqldriver_test

import (
	"testing"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
)

// BenchmarkConnect compares a login with the driver's own connector, made once, on
// the same stand-in.
func BenchmarkConnect(b *testing.B) {
	s := start(b, &mysqlserver.Server{})
	b.Run("go-sql-driver", func(b *testing.B) {
		config := gomysql.NewConfig()
		config.Net, config.Addr = "tcp", s.Addr()
		config.User, config.Passwd, config.DBName = "app_user", goodPassword, "app"
		connector, err := gomysql.NewConnector(config)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			conn, err := connector.Connect(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			_ = conn.Close()
		}
	})
	for _, c := range []struct {
		name       string
		superseded func() bool
	}{{"engine", nil}, {"engine, Superseded", notSuperseded}} {
		b.Run(c.name, func(b *testing.B) {
			l, err := gosqldriver.Engine{}.Prepare(endpoint(s, "tls", "false"))
			if err != nil {
				b.Fatal(err)
			}
			password := driver.NewPassword(goodPassword)
			b.ReportAllocs()
			for b.Loop() {
				conn, err := l.Connect(b.Context(), driver.Credentials{User: "app_user", Password: password, Superseded: c.superseded})
				if err != nil {
					b.Fatal(err)
				}
				_ = conn.Close()
			}
		})
	}
}

func BenchmarkPrepare(b *testing.B) {
	ep := driver.Endpoint{Host: "db.test", Port: 3306, Database: "app", Params: pairs("parseTime", "true")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (gosqldriver.Engine{}).Prepare(ep); err != nil {
			b.Fatal(err)
		}
	}
}
