package sqlserver_test

import (
	"database/sql"
	"log"
	"log/slog"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
)

// sql.Open needs only the import of the package.
func Example() {
	db, err := sql.Open(sqlserver.DriverName, "prod/app/db?encrypt=true")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// With a logger that shows rejected logins, refreshes and the versions in use.
func ExampleNewConnector() {
	connector, err := sqlserver.NewConnector("prod/app/db?encrypt=true", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// For tools that take only the name of a driver: a name with options of its own.
func ExampleRegister() {
	sqlserver.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?encrypt=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
