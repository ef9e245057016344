package oracle_test

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
	"github.com/sqlsecrets/sqlsecrets/engines/oracle"
)

// Importing the package is all that sql.Open needs.
func Example() {
	db, err := sql.Open(oracle.DriverName, "prod/app/db?SSL=true&port=2484")
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
	connector, err := oracle.NewConnector("prod/app/db?port=2484", &driver.Options{
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
	oracle.Register("app-db", &driver.Options{MaxLogins: 1})
	db, err := sql.Open("app-db", "prod/app/db?dbname=:ORCL&SSL=true&port=2484")
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
		{"prod/app/db?SSL=true", nil},
		{"", nil}, // waits for the first connect
		{"prod/app/db?ssl verify=true", driver.ErrBadDSN},
		{"prod/app/db?no_such_parameter=1", driver.ErrBadDSN},
		{"prod/app/db?sid=ORCL", driver.ErrBadDSN},
		{"prod/app/db?service_name=ORCL", driver.ErrBadDSN},
		{"prod/app/db?connStr=(DESCRIPTION)", driver.ErrBadDSN},
		{"prod/app/db?server=h", driver.ErrBadDSN},
		{"oracle://user:hunter2@host/db", driver.ErrBadDSN},
		{"jdbc-secretsmanager:oracle:thin:@example.com:1521/ORCL?user=prod/app/db", nil},
		{"jdbc-secretsmanager:oracle:thin:@//example.com:1521/ORCL?user=prod/app/db&stage=AWSPREVIOUS", nil},
		{"jdbc-secretsmanager:oracle:thin:@example.com:1521:ORCL?user=prod/app/db", nil},
		{"jdbc-secretsmanager:oracle:thin:@tcps://example.com:2484/ORCL?user=prod/app/db", nil},
		{"jdbc-secretsmanager:oracle:thin:@(DESCRIPTION=(ADDRESS=(PROTOCOL=tcp)(HOST=h)(PORT=1521))(CONNECT_DATA=(SERVICE_NAME=ORCL)))?user=prod/app/db", nil},
		{"jdbc-secretsmanager:oracle:thin:@//h/ORCL?user=prod/app/db&service_name=hunter2", driver.ErrBadDSN},
		{"jdbc-secretsmanager:oracle:thin:scott/hunter2@//h/ORCL?user=prod/app/db", driver.ErrBadDSN},
		{"jdbc-secretsmanager:oracle:oci:@hunter2?user=prod/app/db", driver.ErrBadDSN},
		{"jdbc-secretsmanager:postgresql://db.example.com:5432/app?user=prod/app/db", driver.ErrEngineMismatch},
		{"prod/app/db?engine=mysql", driver.ErrEngineMismatch},
	} {
		db, err := sql.Open(oracle.DriverName, tt.dsn)
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

// go-ora's connections cannot be told that they are superseded.
func TestCloseSupersededIsRefused(t *testing.T) {
	db, err := sql.Open(oracle.DriverName, "prod/app/db?SSL=true&closeSuperseded=true")
	if err == nil || !strings.Contains(err.Error(), "SetConnMaxLifetime") {
		t.Errorf("Open = %v, %v, want an error that says what to do", db, err)
	}
}
