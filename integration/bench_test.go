package integration_test

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	awscache "github.com/aws/aws-secretsmanager-caching-go/v2/secretcache"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/integration/internal/testdb"
	"github.com/sqlsecrets/sqlsecrets/internal/testkit/logintest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// awsClient is AWS's own caching client for Go on the same Secrets Manager.
func awsClient(b *testing.B, sm *awssmtest.Server, size int) *awscache.Cache {
	b.Helper()
	client := secretsmanager.NewFromConfig(aws.Config{
		Region: "us-west-2", BaseEndpoint: aws.String(sm.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "example", ""),
	})
	c, err := awscache.New(func(c *awscache.Cache) {
		c.Client = client
		c.CacheConfig.MaxCacheSize = size
		c.CacheConfig.CacheItemTTL = int64(time.Hour)
	})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkConnect compares a connect and its end with the vendor's own.
func BenchmarkConnect(b *testing.B) {
	forEachBench(b, func(b *testing.B, _ *env, vendor, ours sqldriver.Connector) {
		logintest.Benchmark(b, "vendor", vendor)
		logintest.Benchmark(b, "sqlsecrets", ours)
	})
}

// BenchmarkSelect1 compares a query on an open connection with the vendor's own.
func BenchmarkSelect1(b *testing.B) {
	forEachBench(b, func(b *testing.B, v *env, vendor, ours sqldriver.Connector) {
		for _, c := range []struct {
			name      string
			connector sqldriver.Connector
		}{{"vendor", vendor}, {"sqlsecrets", ours}} {
			b.Run(c.name, func(b *testing.B) {
				db := sql.OpenDB(c.connector)
				defer db.Close()
				b.ReportAllocs()
				for b.Loop() {
					var n int
					if err := db.QueryRowContext(b.Context(), v.engine.selectFrom("1")).Scan(&n); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}

// BenchmarkPool compares a pgxpool of ours with a plain one: a query, and a connection.
func BenchmarkPool(b *testing.B) {
	v := newEnv(b, engineNamed("postgres"), testdb.Options{})
	config := func(b *testing.B) *pgxpool.Config {
		c, err := pgxpool.ParseConfig("sslmode=disable")
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	vendor, ours := config(b), config(b)
	vendor.ConnConfig.Host, vendor.ConnConfig.Port, vendor.ConnConfig.Database = v.Host, uint16(v.Port), v.Database
	vendor.ConnConfig.User, vendor.ConnConfig.Password = v.user, v.password
	if err := postgres.ConfigurePool(ours, v.id+"?sslmode=disable", v.options(b, nil)); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config *pgxpool.Config
	}{{"vendor", vendor}, {"sqlsecrets", ours}} {
		b.Run("select/"+c.name, func(b *testing.B) {
			p, err := pgxpool.NewWithConfig(b.Context(), c.config)
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			if err := p.Ping(b.Context()); err != nil { // the connect is not measured
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var n int
				if err := p.QueryRow(b.Context(), "SELECT 1").Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("connect/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				conn, err := pgx.ConnectConfig(b.Context(), c.config.ConnConfig)
				if err != nil {
					b.Fatal(err)
				}
				if err := conn.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRecovery is the first connect after a rotation has finished, with what was
// cached before: the login that is rejected, the secret, and the next login. Beside it
// the same by hand with the vendor's driver and AWS's caching client, whose RefreshNow
// sleeps. Calls and logins are by the servers' own counts.
func BenchmarkRecovery(b *testing.B) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			b.Run("sqlsecrets", func(b *testing.B) {
				v := newEnv(b, e, testdb.Options{})
				c := v.connector(b, e.noTLS, nil)
				recovery(b, v, func() error { return connect(b.Context(), c) })
			})
			b.Run("aws", func(b *testing.B) {
				v := newEnv(b, e, testdb.Options{})
				cache := awsClient(b, v.sm, 1024)
				try := func() error {
					value, err := cache.GetSecretStringWithContext(b.Context(), v.id)
					if err != nil {
						return err
					}
					var s struct{ Username, Password string }
					if err := json.Unmarshal([]byte(value), &s); err != nil {
						return err
					}
					c, err := e.vendorAs(v, s.Username, s.Password)
					if err != nil {
						return err
					}
					return connect(b.Context(), c)
				}
				recovery(b, v, func() error {
					err := try()
					if err != nil && e.adapter.Rejected(err) {
						cache.RefreshNow(v.id)
						err = try()
					}
					return err
				})
			})
		})
	}
}

// recovery measures connects that each come after a rotation.
func recovery(b *testing.B, v *env, connect func() error) {
	if err := connect(); err != nil {
		b.Fatal(err)
	}
	n, calls, rejected := 0, 0, 0
	for b.Loop() {
		b.StopTimer()
		n++
		password := fmt.Sprintf("password %d of %s", n, v.user)
		if err := v.SetPassword(b.Context(), v.user, password); err != nil {
			b.Fatal(err)
		}
		v.sm.Put(v.id, v.secret(v.user, password))
		calls -= v.sm.Calls("GetSecretValue") + v.sm.Calls("DescribeSecret")
		b.StartTimer()
		if err := connect(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		calls += v.sm.Calls("GetSecretValue") + v.sm.Calls("DescribeSecret")
		b.StartTimer()
	}
	rejected = v.RejectedLogins(v.user)
	b.ReportMetric(float64(calls)/float64(n), "calls/op")
	b.ReportMetric(float64(rejected)/float64(n), "rejected/op")
	b.ReportMetric(float64(v.Logins(v.user)-1)/float64(n), "accepted/op")
}

// forEachBench runs a benchmark on each engine, over connections without TLS.
func forEachBench(b *testing.B, f func(b *testing.B, v *env, vendor, ours sqldriver.Connector)) {
	for _, e := range engines {
		b.Run(e.name, func(b *testing.B) {
			v := newEnv(b, e, testdb.Options{})
			vendor, err := e.vendorAs(v, v.user, v.password)
			if err != nil {
				b.Fatal(err)
			}
			f(b, v, vendor, v.connector(b, e.noTLS, &driver.Options{}))
		})
	}
}
