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

// sql.Open needs only the import of the package.
func Example() {
	db, err := sql.Open(mysql.DriverName, "prod/app/db?tls=true")
	if err != nil {
		log.Fatal(err) // the data source name is wrong; nothing is dialled yet
	}
	defer db.Close()
}

// With the certificate authorities of Amazon RDS, and a logger that shows rejected logins.
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

// For tools that take only the name of a driver: a name with options of its own.
func ExampleRegister() {
	mysql.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?tls=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

// Settings for each new connection.
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
