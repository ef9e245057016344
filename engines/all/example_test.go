package all_test

import (
	"crypto/tls"
	"database/sql"
	"fmt"
	"log"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/all"
)

// The secret says which engine its database has. Options.TLS asks for verified TLS for every engine
// except Db2.
func ExampleRegister() {
	all.Register("verified", &driver.Options{TLS: &tls.Config{MinVersion: tls.VersionTLS12}})
	db, err := sql.Open("verified", "prod/app/db")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is fetched yet
	}
	defer db.Close()
}

// A URL of AWS's JDBC library, from a program that was written in Java.
func Example_jdbc() {
	db, err := sql.Open(all.DriverName, "jdbc-secretsmanager:postgresql://example.com:5432/database?user=prod/app/db&sslmode=verify-full")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A secret that Amazon RDS manages has no engine, host and database.
func Example_managedPassword() {
	db, err := sql.Open(all.DriverName, "rds!db-1234?engine=mysql&host=db.example.com&dbname=app&tls=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// A program that shows the version in use keeps the connector.
func ExampleNewConnector() {
	connector, err := all.NewConnector("prod/app/db", nil)
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector, connector.Status().Stage)
	// Output: secretsmanager prod/app/db AWSCURRENT
}
