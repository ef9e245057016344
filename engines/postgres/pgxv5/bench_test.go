package pgxv5_test

import (
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
)

// BenchmarkConnect compares a login with pgx's own connector, with a configuration
// that is parsed once, on the same stand-in.
func BenchmarkConnect(b *testing.B) {
	s := (&pgserver.Server{}).Start(b)
	ep := endpoint(s, "sslmode", "disable")
	logintest.Benchmark(b, "pgx", vendors(b, s))
	logintest.Benchmark(b, "engine", newConnector(b, pgxv5.Engine{}, ep, nil))
	logintest.Benchmark(b, "engine, Superseded", newConnector(b, pgxv5.Engine{}, ep, logintest.NotSuperseded))
}

func BenchmarkPrepare(b *testing.B) {
	logintest.BenchmarkPrepare(b, pgxv5.Engine{}, driver.Endpoint{Host: "db.test", Port: 5432, Database: "app", Params: pairs("sslmode", "require")})
}
