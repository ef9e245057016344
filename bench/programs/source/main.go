// Command source is command open with secrets from the Secrets Manager Agent or from files. It
// links no AWS SDK. Build tags choose the engine and the source. The address of the source is the
// URL of the agent or the directory of the files.
//
//	go build -tags pgxv5,agent ./programs/source
//	source http://localhost:2773 prod/app "SELECT 1"
//	go build -tags pgxv5,agent ./programs/source
//	source http://localhost:2773 prod/app "SELECT 1"
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// Set by the files that the build tags choose.
var (
	engine    driver.Engine
	newSource func(address string) secretcache.Source
)

func main() {
	cache := secretcache.New(newSource(os.Args[1]), nil)
	connector, err := driver.NewConnector(engine, os.Args[2], &driver.Options{Secrets: cache})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	var n int
	if err := db.QueryRow(os.Args[3]).Scan(&n); err != nil {
		log.Fatal(err)
	}
	fmt.Println(n)
}
