package pgxv5_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
)

// With a query mode for PgBouncer and a dialer of the program.
func ExampleEngine() {
	engine := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		c.DefaultQueryExecMode = pgx.QueryExecModeExec
		c.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			slog.Debug("dial", "addr", addr)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}
		return nil
	}}
	connector, err := driver.NewConnector(engine, "prod/app?sslmode=verify-full", engines.Options(nil))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector)
	// Output: secretsmanager-postgres prod/app
}

// A feature of pgx that database/sql does not have: COPY.
func ExampleEngine_raw() {
	copyRows := func(ctx context.Context, db *sql.DB, rows [][]any) error {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Raw(func(c any) error {
			_, err := c.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{"items"}, []string{"id", "name"}, pgx.CopyFromRows(rows))
			return err
		})
	}
	_ = copyRows
}

// A pgxpool with an engine and options of the program.
func ExampleNewPool() {
	pool, err := pgxv5.NewPool(context.Background(), pgxv5.Engine{}, "prod/app?sslmode=verify-full&pool_max_conns=10", engines.Options(nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
}

// A pool with a configuration that the program already has.
func ExampleConfigurePool() {
	config, err := pgxpool.ParseConfig("pool_max_conns=10")
	if err != nil {
		log.Fatal(err)
	}
	if err := pgxv5.ConfigurePool(config, pgxv5.Engine{}, "prod/app?sslmode=verify-full", engines.Options(nil)); err != nil {
		log.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
}

// A connection outside a pool that waits for LISTEN.
func ExampleConfigureConn() {
	ctx := context.Background()
	config, err := pgx.ParseConfig("")
	if err != nil {
		log.Fatal(err)
	}
	if err := pgxv5.ConfigureConn(config, pgxv5.Engine{}, "prod/app?sslmode=verify-full", engines.Options(nil)); err != nil {
		log.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
}

// With keep-alive probes that find a dead host sooner than by default.
func ExampleEngine_keepAlive() {
	engine := pgxv5.Engine{Configure: func(c *pgx.ConnConfig) error {
		c.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
		}}).DialContext // and Control, to set TCP_USER_TIMEOUT
		return nil
	}}
	connector, err := driver.NewConnector(engine, "prod/app/db", engines.Options(nil))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// A program that reads its secrets from the Secrets Manager Agent. It links no AWS SDK.
func ExampleEngine_agent() {
	cache := secretcache.New(agent.New(), &secretcache.Options{TTL: time.Minute})
	defer cache.Close()
	connector, err := driver.NewConnector(pgxv5.Engine{}, "prod/app/db?sslmode=verify-full&sslrootcert=rds.pem",
		&driver.Options{Secrets: cache})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}
