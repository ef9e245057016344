package gosqldriver_test

import (
	"context"
	"database/sql"
	"fmt"

	gomysql "github.com/go-sql-driver/mysql"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql/gosqldriver"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// With attributes that performance_schema shows, and a variable for each session.
func ExampleEngine() {
	engine := gosqldriver.Engine{Configure: func(c *gomysql.Config) error {
		c.ConnectionAttributes = "program_name:billing"
		if c.Params == nil {
			c.Params = map[string]string{}
		}
		c.Params["max_execution_time"] = "5000"
		return nil
	}}
	cache := secretcache.New(secretcache.SourceFunc(fetch), nil)
	connector, err := driver.NewConnector(engine, "prod/app?tls=true&parseTime=true", &driver.Options{Secrets: cache})
	if err != nil {
		fmt.Println(err)
		return
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector)
	// Output: secretsmanager-mysql prod/app
}

func fetch(context.Context, string, string) (*secretcache.Secret, error) {
	return nil, secretcache.ErrNotFound
}
