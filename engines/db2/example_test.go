package db2_test

import (
	"database/sql"
	"log"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/db2"
)

// The program imports go_ibm_db besides.
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
