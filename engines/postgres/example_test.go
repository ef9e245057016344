package postgres_test

import (
	"database/sql"
	"log"
	"log/slog"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

// Importing the package is all that sql.Open needs.
func Example() {
	db, err := sql.Open(postgres.DriverName, "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// A log of rejected logins and of versions that were found.
func ExampleNewConnector() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// Connections that were opened before a rotation end, as an auditor may ask: those in
// use when the pool next hands them out, idle ones by the pool's own clock.
func ExampleNewConnector_closeSuperseded() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", &driver.Options{CloseSuperseded: true})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetConnMaxIdleTime(5 * time.Minute)

	// On an event that says that the secret has another version; without one, the
	// cache's TTL or a rejected login tells.
	cache, err := engines.Cache(driver.Location{})
	if err != nil {
		log.Fatal(err)
	}
	cache.Invalidate("prod/app/db")
}

// Tools that take the name of a driver get one with options of its own.
func ExampleRegister() {
	postgres.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
