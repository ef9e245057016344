package sqlserver_test

import (
	"database/sql"
	"log"
	"log/slog"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
)

// Importing the package is all that sql.Open needs.
func Example() {
	db, err := sql.Open(sqlserver.DriverName, "prod/app/db?encrypt=true")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// A log of rejected logins and of versions that were found.
func ExampleNewConnector() {
	connector, err := sqlserver.NewConnector("prod/app/db?encrypt=true", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// Tools that take the name of a driver get one with options of its own.
func ExampleRegister() {
	sqlserver.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?encrypt=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
