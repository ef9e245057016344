package pgxv5_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/pgserver"
)

// BenchmarkConnect compares a login with pgx's own connector, with a configuration
// that is parsed once, on the same stand-in.
func BenchmarkConnect(b *testing.B) {
	s := (&pgserver.Server{}).Start(b)
	b.Run("pgx", func(b *testing.B) {
		config, err := pgx.ParseConfig("host=" + s.Host + " user=u password=p database=app sslmode=disable")
		if err != nil {
			b.Fatal(err)
		}
		config.Port = uint16(s.Port)
		connector := stdlib.GetConnector(*config)
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
			l, err := pgxv5.Engine{}.Prepare(endpoint(s, "sslmode", "disable"))
			if err != nil {
				b.Fatal(err)
			}
			password := driver.NewPassword("p")
			b.ReportAllocs()
			for b.Loop() {
				conn, err := l.Connect(b.Context(), driver.Credentials{User: "u", Password: password, Superseded: c.superseded})
				if err != nil {
					b.Fatal(err)
				}
				_ = conn.Close()
			}
		})
	}
}

func BenchmarkPrepare(b *testing.B) {
	ep := driver.Endpoint{Host: "db.test", Port: 5432, Database: "app", Params: pairs("sslmode", "require")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (pgxv5.Engine{}).Prepare(ep); err != nil {
			b.Fatal(err)
		}
	}
}
