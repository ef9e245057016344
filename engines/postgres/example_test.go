package postgres_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"log"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/file"
)

// sql.Open needs only the import of the package.
func Example() {
	db, err := sql.Open(postgres.DriverName, "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// With a logger that shows rejected logins, refreshes and the versions in use.
func ExampleNewConnector() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// Connections that were opened before a rotation end, for example because an auditor asks for that.
// Connections in use end when the pool next hands them out. Idle ones end by SetConnMaxIdleTime.
func ExampleNewConnector_closeSuperseded() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{CloseSuperseded: true})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetConnMaxIdleTime(5 * time.Minute)

	// Call Invalidate when an event says that the secret has a new version. Without an event, the
	// TTL of the cache or a rejected login shows it.
	cache, err := engines.Cache(driver.Location{})
	if err != nil {
		log.Fatal(err)
	}
	cache.Invalidate("prod/app/db")
}

// A program opens a database with the secrets of a directory. It reads a file again after 10 s.
func ExampleNewConnector_files() {
	cache := secretcache.New(file.New("/mnt/secrets-store"), &secretcache.Options{TTL: 10 * time.Second})
	defer cache.Close()
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{Secrets: cache})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// A pgxpool. The parameters that begin with pool_ are those of pgxpool.
func ExampleNewPool() {
	ctx := context.Background()
	pool, err := postgres.NewPool(ctx, "prod/app/db?sslmode=verify-full&pool_max_conns=10", nil, func(c *pgxpool.Config) error {
		c.ConnConfig.RuntimeParams["application_name"] = "orders"
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
}

// A pool with a configuration that the program already has.
func ExampleConfigurePool() {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig("pool_max_conns=10")
	if err != nil {
		log.Fatal(err)
	}
	if err := postgres.ConfigurePool(config, "prod/app/db?sslmode=verify-full", nil); err != nil {
		log.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
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
	if err := postgres.ConfigureConn(config, "prod/app/db?sslmode=verify-full", nil); err != nil {
		log.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
}

// Types and settings for each new connection.
func ExampleNewConnector_afterConnect() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{
		AfterConnect: func(ctx context.Context, conn sqldriver.Conn) error {
			c := conn.(*stdlib.Conn).Conn()
			typ, err := c.LoadType(ctx, "mood") // an enum of the database
			if err != nil {
				return err
			}
			c.TypeMap().RegisterType(typ)
			_, err = c.Exec(ctx, "SET lock_timeout = '5s'")
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// A token of AWS IAM instead of a password, for databases on Amazon RDS and Aurora. The secret has the
// host and the user.
func Example_iam() {
	db, err := sql.Open(postgres.DriverName, "prod/app/db?auth=iam&sslrootcert=rds.pem")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A token of another provider, which also returns the user.
func ExampleNewConnector_token() {
	type lease struct {
		User, Password string
		Expires        time.Time
	}
	var provider interface {
		Lease(ctx context.Context, host string) (lease, error)
	}
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{
		Token: func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
			l, err := provider.Lease(ctx, r.Host)
			return driver.Token{User: l.User, Password: driver.NewPassword(l.Password), Expires: l.Expires}, err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// For tools that take only the name of a driver: a name with options of its own.
func ExampleRegister() {
	postgres.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
