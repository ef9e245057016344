package db2_test

import (
	"database/sql"
	"log"
	"log/slog"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
)

// The program also imports go_ibm_db.
func Example() {
	db, err := sql.Open(db2.DriverName, "prod/app/db?Security=SSL&SSLServerCertificate=/etc/rds-bundle.pem")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// A Db2 driver that is registered under another name.
func ExampleEngine() {
	connector, err := driver.NewConnector(db2.Engine{Driver: "my_db2"},
		"prod/app/db?Security=SSL&SSLServerCertificate=/etc/rds-bundle.pem", engines.Options(nil))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// With a logger that shows rejected logins, refreshes and the versions in use.
func ExampleNewConnector() {
	connector, err := db2.NewConnector("prod/app/db?Security=SSL&SSLServerCertificate=/etc/rds-bundle.pem",
		&driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// For tools that take only the name of a driver: a name with options of its own.
func ExampleRegister() {
	db2.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?Security=SSL&SSLServerCertificate=/etc/rds-bundle.pem")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}
