package mariadb_test

import (
	"database/sql"
	"log"
	"log/slog"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mariadb"
)

// Importing the package is all that sql.Open needs.
func Example() {
	db, err := sql.Open(mariadb.DriverName, "prod/app/db?tls=true")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// A log of rejected logins and of versions that were found.
func ExampleNewConnector() {
	connector, err := mariadb.NewConnector("prod/app/db?tls=true", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// Tools that take the name of a driver get one with options of its own.
func ExampleRegister() {
	mariadb.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?tls=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
