package gosqldriver_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
)

// BenchmarkConnect compares a login with the driver's own connector, made once, on
// the same stand-in.
func BenchmarkConnect(b *testing.B) {
	s := start(b, &mysqlserver.Server{})
	ep := endpoint(s, "tls", "false")
	logintest.Benchmark(b, "go-sql-driver", vendors(b, s))
	logintest.Benchmark(b, "engine", newConnector(b, gosqldriver.Engine{}, ep, nil))
	logintest.Benchmark(b, "engine, Superseded", newConnector(b, gosqldriver.Engine{}, ep, logintest.NotSuperseded))
}

func BenchmarkPrepare(b *testing.B) {
	logintest.BenchmarkPrepare(b, gosqldriver.Engine{}, driver.Endpoint{Host: "db.test", Port: 3306, Database: "app", Params: pairs("parseTime", "true")})
}
