package all_test

import (
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/all"
)

// Package driver tests how AnyDriver chooses an engine. The tests here are about the engines of
// this module.

func TestDriver(t *testing.T) {
	c, err := all.NewConnector("app", nil)
	if err != nil {
		t.Fatal(err)
	}
	d := c.Driver()
	if got := fmt.Sprintf("%s %+v", d, d); got != "secretsmanager secretsmanager" {
		t.Errorf("the driver prints %q", got)
	}
	other, err := d.(sqldriver.DriverContext).OpenConnector("other?engine=mysql")
	if err != nil || fmt.Sprint(other) != "secretsmanager other" {
		t.Errorf("OpenConnector = %v, %v", other, err)
	}
	if conn, err := d.(sqldriver.DriverContext).OpenConnector("x y"); conn != nil || !errors.Is(err, driver.ErrBadDSN) {
		t.Errorf("OpenConnector = %v, %v, want nil and ErrBadDSN", conn, err)
	}
	if _, err := all.NewConnector("app", &driver.Options{}); err != nil {
		t.Errorf("without Secrets, the process's caches: %v", err)
	}
	if conn, err := d.Open("x y"); conn != nil || !errors.Is(err, driver.ErrBadDSN) {
		t.Errorf("Open = %v, %v, want nil and ErrBadDSN", conn, err)
	}
}

// Every engine is known by each of its names, which are those of the Engines table in
// docs/design.md.
func TestEveryEngine(t *testing.T) {
	names := map[string][]string{
		"postgres":  {"postgres", "postgresql", "aurora-postgresql"},
		"redshift":  {"redshift"},
		"mysql":     {"mysql", "aurora", "aurora-mysql"},
		"mariadb":   {"mariadb"},
		"oracle":    {"oracle", "oracle-ee", "custom-oracle-ee"},
		"sqlserver": {"sqlserver", "sqlserver-ex", "custom-sqlserver-ee"},
		"db2":       {"db2", "db2-se"},
	}
	drivers := strings.Join(sql.Drivers(), " ")
	for name, engines := range names {
		if !strings.Contains(drivers+" ", "secretsmanager-"+name+" ") {
			t.Errorf("secretsmanager-%s is not registered: %s", name, drivers)
		}
		for _, engine := range engines {
			if _, err := all.NewConnector("app?engine="+engine, nil); err != nil {
				t.Errorf("engine=%s: %v", engine, err)
			}
		}
	}
	for _, url := range []string{ // of the design's section on data source names
		"postgresql://example.com:5432/database?user=prod/app/db",
		"mysql://example.com:3306?user=prod/app/db",
		"mariadb://example.com:3306?user=prod/app/db",
		"oracle:thin:@example.com:1521/ORCL?user=prod/app/db",
		"sqlserver://example.com:1433;databaseName=app;user=prod/app/db",
		"db2://example.com:50000/SAMPLE:user=prod/app/db;",
		"redshift://example.com:5439/dev?user=prod/app/db",
	} {
		db, err := sql.Open(all.DriverName, "jdbc-secretsmanager:"+url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}
