package mssqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver/mssqldb"
)

// With a dialer, a name of the application, and a statement for each session.
func ExampleEngine() {
	engine := mssqldb.Engine{
		Configure: func(c *msdsn.Config) error {
			c.AppName = "billing"
			return nil
		},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
		},
		SessionInitSQL: "SET LOCK_TIMEOUT 10000",
	}
	connector, err := driver.NewConnector(engine, "prod/app?encrypt=true", engines.Options(nil))
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	fmt.Println(connector)
	// Output: secretsmanager-sqlserver prod/app
}
