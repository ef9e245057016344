package redshift_test

import (
	"context"
	"database/sql"
	"log"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/redshift"
)

// sql.Open needs only the import of the package.
func Example() {
	db, err := sql.Open(redshift.DriverName, "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// A secret that Redshift manages has only user and password.
func Example_managedPassword() {
	db, err := sql.Open(redshift.DriverName, "redshift!my-cluster-awsuser?dbname=dev&sslmode=verify-full"+
		"&host=my-cluster.abc123xyz789.us-west-2.redshift.amazonaws.com")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// For tools that take only the name of a driver: a name with options of its own.
func ExampleRegister() {
	redshift.Register("warehouse", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("warehouse", "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// With a logger that shows rejected logins, refreshes and the versions in use.
func ExampleNewConnector() {
	connector, err := redshift.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// A pgxpool. The parameters that begin with pool_ are those of pgxpool.
func ExampleNewPool() {
	pool, err := redshift.NewPool(context.Background(), "prod/app/db?sslmode=verify-full&pool_max_conns=10", nil, nil)
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
	if err := redshift.ConfigurePool(config, "prod/app/db?sslmode=verify-full", nil); err != nil {
		log.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
}

// A connection outside a pool.
func ExampleConfigureConn() {
	ctx := context.Background()
	config, err := pgx.ParseConfig("")
	if err != nil {
		log.Fatal(err)
	}
	if err := redshift.ConfigureConn(config, "prod/app/db?sslmode=verify-full", nil); err != nil {
		log.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close(ctx)
}
