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

// Importing the package is all that sql.Open needs.
func Example() {
	db, err := sql.Open(redshift.DriverName, "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// A secret that Redshift manages has user and password only.
func Example_managedPassword() {
	db, err := sql.Open(redshift.DriverName, "redshift!my-cluster-awsuser?dbname=dev&sslmode=verify-full"+
		"&host=my-cluster.abc123xyz789.us-west-2.redshift.amazonaws.com")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// Tools that take the name of a driver get one with options of its own.
func ExampleRegister() {
	redshift.Register("warehouse", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("warehouse", "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A log of rejected logins and of versions that were found.
func ExampleNewConnector() {
	connector, err := redshift.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// A pgxpool. The parameters that begin with pool_ are pgxpool's.
func ExampleNewPool() {
	pool, err := redshift.NewPool(context.Background(), "prod/app/db?sslmode=verify-full&pool_max_conns=10", nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
}

// A pool of a configuration that the program has already.
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

// One connection outside a pool.
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
