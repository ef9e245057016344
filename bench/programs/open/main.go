// Command open opens a database and prints the first row of a query. Build tags choose the
// driver that it links: a vendor's or the library's.
//
//	go build -tags pgx ./programs/open
//	open pgx "postgres://app:password@localhost/app" "SELECT 1"
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"
)

func main() {
	db, err := sql.Open(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var n int
	if err := db.QueryRow(os.Args[3]).Scan(&n); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n)
}
