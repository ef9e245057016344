package sqlserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"log"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/sqlserver"
)

// Importing the package is all that sql.Open needs.
func Example() {
	db, err := sql.Open(sqlserver.DriverName, "prod/app/db?encrypt=true")
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
	connector, err := sqlserver.NewConnector("prod/app/db", &driver.Options{
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
	sqlserver.Register("app-db", &driver.Options{FallbackStages: []string{"AWSPENDING", "AWSPREVIOUS"}})
	db, err := sql.Open("app-db", "prod/app/db?encrypt=true")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
}

func TestDataSourceNamesAreCheckedByOpen(t *testing.T) {
	for _, tt := range []struct {
		dsn  string
		want error
	}{
		{"prod/app/db?encrypt=true", nil},
		{"", nil}, // waits for the first connect
		{"prod/app/db?no_such_parameter=1", driver.ErrBadDSN},
		{"prod/app/db?encrypted=true", driver.ErrBadDSN},
		{"prod/app/db?failover partner=other", driver.ErrBadDSN},
		{"jdbc-secretsmanager:sqlserver://example.com:1433;databaseName=app;user=prod/app/db", nil},
		{`jdbc-secretsmanager:sqlserver://example.com\INST;user=prod/app/db;encrypt=strict`, nil},
		{"jdbc-secretsmanager:sqlserver://example.com;user=prod/app/db;encrypted=true", driver.ErrBadDSN},
		{"jdbc-secretsmanager:sqlserver://example.com;user=prod/app/db;password=hunter2", driver.ErrBadDSN},
		{"scheme://user:hunter2@host/db", driver.ErrBadDSN},
		{"jdbc-secretsmanager:oracle:thin:@//db.example.com:1521/ORCL", driver.ErrEngineMismatch},
	} {
		db, err := sql.Open(sqlserver.DriverName, tt.dsn)
		if !errors.Is(err, tt.want) {
			t.Errorf("Open(%q) = %v, want %v", tt.dsn, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the data source name: %v", err)
		}
		if db != nil {
			_ = db.Close()
		}
	}
}
