package engines_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// If a database is reached through an alias or a tunnel, the token must be for the name that RDS gave
// the database.
func ExampleOptions_iamToken() {
	opts := engines.Options(nil)
	sign := opts.IAMToken
	opts.IAMToken = func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
		r.Host, r.Port = "db.c1a2b3d4.us-west-2.rds.amazonaws.com", 5432
		return sign(ctx, r)
	}
	// Give opts to NewConnector of the engine's package, such as engines/postgres.
}

// A service reads its secrets before it accepts requests.
func ExampleCache() {
	cache, err := engines.Cache(driver.Location{})
	if err != nil {
		log.Fatal(err)
	}
	if err := cache.Prefetch(context.Background(), "prod/app/db", "prod/app/reports"); err != nil {
		log.Print(err) // the first connection attempt tries again
	}
}

// A program that only calls sql.Open gets the log records of all its connectors. Its secrets are fetched
// again after 10 minutes.
func ExampleSetDefaults() {
	err := engines.SetDefaults(engines.Defaults{
		Logger: slog.Default(),
		Cache:  secretcache.Options{TTL: 10 * time.Minute},
	})
	if err != nil {
		log.Fatal(err) // a connection was opened before
	}
	db, err := sql.Open("secretsmanager-postgres", "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// Where secrets come from, with and without a source in the location.
func ExampleSourceOf() {
	fmt.Println(engines.SourceOf(driver.Location{Source: "agent,aws"}))
	fmt.Println(engines.SourceOf(driver.Location{}))
	// Output:
	// agent,aws
	// aws
}

// The AWS identity of a program. Look at it first when access to a secret is denied.
func ExampleIdentity() {
	identity, err := engines.Identity(context.Background(), driver.Location{Region: "us-west-2"}, "prod/app/db")
	if err != nil {
		log.Print(err) // identity has what is known without AWS STS
	}
	log.Printf("%s in %s, by the credentials of %s", identity.ARN, identity.Region, identity.Credentials)
}
