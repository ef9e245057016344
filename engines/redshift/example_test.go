package redshift_test

import (
	"database/sql"
	"log"

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
