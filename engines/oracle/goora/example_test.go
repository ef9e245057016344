package goora_test

import (
	"database/sql"
	"fmt"
	"log"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
)

// With the name of the program that V$SESSION shows.
func ExampleEngine() {
	engine := goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
		c.ProgramName = "billing"
		return nil
	}}
	connector, err := driver.NewConnector(engine, "prod/app?SSL=true&port=2484", engines.Options(nil))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector)
	// Output: secretsmanager-oracle prod/app
}
