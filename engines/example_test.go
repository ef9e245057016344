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

// A database that is reached by an alias or a tunnel needs a token for the name that RDS gave it.
func ExampleOptions_iamToken() {
	opts := engines.Options(nil)
	sign := opts.IAMToken
	opts.IAMToken = func(ctx context.Context, r driver.TokenRequest) (driver.Token, error) {
		r.Host, r.Port = "db.c1a2b3d4.us-west-2.rds.amazonaws.com", 5432
		return sign(ctx, r)
	}
	// Give opts to NewConnector of the package of the database.
}

// A service fetches the secrets it will need before it takes requests.
func ExampleCache() {
	cache, err := engines.Cache(driver.Location{})
	if err != nil {
		log.Fatal(err)
	}
	if err := cache.Prefetch(context.Background(), "prod/app/db", "prod/app/reports"); err != nil {
		log.Print(err) // the first connect tries again
	}
}

// A program that only calls sql.Open gets the log records of all its connectors, and secrets that
// are fetched again after 10 minutes.
func ExampleSetDefaults() {
	err := engines.SetDefaults(engines.Defaults{
		Logger: slog.Default(),
		Cache:  secretcache.Options{TTL: 10 * time.Minute},
	})
	if err != nil {
		log.Fatal(err) // something has connected already
	}
	db, err := sql.Open("secretsmanager-postgres", "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// Where a secret comes from, if the data source name does not say it.
func ExampleSourceOf() {
	fmt.Println(engines.SourceOf(driver.Location{Source: "agent,aws"}))
	fmt.Println(engines.SourceOf(driver.Location{}))
	// Output:
	// agent,aws
	// aws
}

// As whom a program asks for a secret: the first thing to see when access is denied.
func ExampleIdentity() {
	identity, err := engines.Identity(context.Background(), driver.Location{Region: "us-west-2"}, "prod/app/db")
	if err != nil {
		log.Print(err) // identity has what is known without AWS STS
	}
	log.Printf("%s in %s, by the credentials of %s", identity.ARN, identity.Region, identity.Credentials)
}
