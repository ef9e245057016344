package mysql_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	sqldriver "database/sql/driver"
	"log"
	"log/slog"
	"os"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql"
)

// Importing the package is all that sql.Open needs.
func Example() {
	db, err := sql.Open(mysql.DriverName, "prod/app/db?tls=true")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// The certificate authorities of Amazon RDS, and a log of rejected logins.
func ExampleNewConnector() {
	pem, err := os.ReadFile("global-bundle.pem")
	if err != nil {
		log.Fatal(err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate in global-bundle.pem")
	}
	connector, err := mysql.NewConnector("prod/app/db", &driver.Options{
		TLS:    &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
		Logger: slog.Default(),
	})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}

// Tools that take the name of a driver get one with options of its own.
func ExampleRegister() {
	mysql.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?tls=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// Session set-up on each new connection.
func ExampleNewConnector_afterConnect() {
	connector, err := mysql.NewConnector("prod/app/db?tls=true", &driver.Options{
		AfterConnect: func(ctx context.Context, conn sqldriver.Conn) error {
			_, err := conn.(sqldriver.ExecerContext).ExecContext(ctx, "SET innodb_lock_wait_timeout = 5", nil)
			return err
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
}
