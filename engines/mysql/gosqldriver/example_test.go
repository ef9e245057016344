package gosqldriver_test

import (
	"database/sql"
	"fmt"
	"log"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
)

// With connection attributes, which performance_schema shows, and a session variable.
func ExampleEngine() {
	engine := gosqldriver.Engine{Configure: func(c *gomysql.Config) error {
		c.ConnectionAttributes = "program_name:billing"
		if c.Params == nil {
			c.Params = map[string]string{}
		}
		c.Params["max_execution_time"] = "5000"
		return nil
	}}
	connector, err := driver.NewConnector(engine, "prod/app?tls=true&parseTime=true", engines.Options(nil))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector)
	// Output: secretsmanager-mysql prod/app
}
