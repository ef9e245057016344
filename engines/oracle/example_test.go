package oracle_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"log"
	"log/slog"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/oracle"
)

// sql.Open needs only the import of the package.
func Example() {
	db, err := sql.Open(oracle.DriverName, "prod/app/db?SSL=true&port=2484")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// With a logger that shows rejected logins, refreshes and the versions in use.
func ExampleNewConnector() {
	connector, err := oracle.NewConnector("prod/app/db?SSL=true&port=2484", &driver.Options{Logger: slog.Default()})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// For tools that take only the name of a driver: a name with options of its own.
func ExampleRegister() {
	oracle.Register("app-db", &driver.Options{MaxLogins: 1})
	db, err := sql.Open("app-db", "prod/app/db?dbname=:ORCL&SSL=true&port=2484")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// Settings for each new connection.
func ExampleNewConnector_afterConnect() {
	connector, err := oracle.NewConnector("prod/app/db?SSL=true&port=2484", &driver.Options{
		AfterConnect: func(ctx context.Context, conn sqldriver.Conn) error {
			_, err := conn.(sqldriver.ExecerContext).ExecContext(ctx, "ALTER SESSION SET NLS_SORT = BINARY_CI", nil)
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}
