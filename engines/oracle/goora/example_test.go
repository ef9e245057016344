package goora_test

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/sijms/go-ora/v2/configurations"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle/goora"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
)

// With a name that V$SESSION shows.
func ExampleEngine() {
	engine := goora.Engine{Configure: func(c *configurations.ConnectionConfig) error {
		c.ProgramName = "billing"
		return nil
	}}
	cache := secretcache.New(secretcache.SourceFunc(fetch), nil)
	connector, err := driver.NewConnector(engine, "prod/app?SSL=true&port=2484", &driver.Options{Secrets: cache})
	if err != nil {
		fmt.Println(err)
		return
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector)
	// Output: secretsmanager-oracle prod/app
}

func fetch(context.Context, string, string) (*secretcache.Secret, error) {
	return nil, secretcache.ErrNotFound
}
