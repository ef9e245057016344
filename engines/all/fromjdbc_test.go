package all_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	gomysql "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	mssql "github.com/microsoft/go-mssqldb"
	"github.com/sijms/go-ora/v2/network"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/all"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm"
)

// jdbcPage returns the rows of the tables in docs/from-jdbc.md whose first heading is head, and the line
// number of each row.
func jdbcPage(t *testing.T, head string) (rows [][]string, lines []int) {
	t.Helper()
	page, err := os.ReadFile("../../docs/from-jdbc.md")
	if err != nil {
		t.Fatal(err)
	}
	in := false
	for i, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		for j, cell := range cells {
			cells[j] = strings.TrimSpace(cell)
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			in = false
		case cells[0] == head:
			in = true
		case in && !strings.HasPrefix(line, "|---"):
			rows, lines = append(rows, cells), append(lines, i+1)
		}
	}
	if len(rows) < 5 {
		t.Fatalf("docs/from-jdbc.md has %d rows in the table of %q", len(rows), head)
	}
	return rows, lines
}

var inCode = regexp.MustCompile("`([^`]+)`")

// codes returns the texts in backticks.
func codes(cell string) (list []string) {
	for _, m := range inCode.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// sql.Open accepts every URL of docs/from-jdbc.md, with the driver of its engine and with the driver of all
// engines. Each URL means the same as its short form.
func TestFromJDBCURLs(t *testing.T) {
	names := map[string]string{"postgresql": "postgres"}
	seen := map[string]bool{}
	rows, lines := jdbcPage(t, "engine")
	for i, row := range rows {
		url, short := codes(row[1])[0], codes(row[2])[0]
		scheme := strings.Split(url, ":")[1]
		engine := scheme
		if name, ok := names[scheme]; ok {
			engine = name
		}
		seen[engine] = true
		for _, name := range []string{"secretsmanager-" + engine, all.DriverName} {
			for _, dsn := range []string{url, short} {
				db, err := sql.Open(name, dsn)
				if err != nil {
					t.Errorf("docs/from-jdbc.md:%d: sql.Open(%q, %q): %v", lines[i], name, dsn, err)
					continue
				}
				_ = db.Close()
			}
		}
		want, got := explain(t, url, engine), explain(t, short, engine)
		if want != got {
			t.Errorf("docs/from-jdbc.md:%d: the URL means\n%s\nand the short form\n%s", lines[i], want, got)
		}
	}
	if len(seen) != len(drivers) {
		t.Errorf("the page has URLs of %v, want all of %d engines", slices.Sorted(maps.Keys(seen)), len(drivers))
	}
}

// explain returns what a data source name means with a secret that has all fields.
func explain(t *testing.T, dsn, engine string) string {
	t.Helper()
	c, err := all.NewConnector(dsn, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	e, err := c.Explain(secretcache.NewSecret(secretcache.Value{
		String: fmt.Sprintf(`{"engine":%q,"host":"secret.example.com","port":1,"dbname":"secret","username":"u","password":"p"}`, engine),
	}))
	if err != nil {
		t.Errorf("%s: %v", dsn, err)
	}
	return fmt.Sprintf("%+v", e)
}

// Each import in the page is a package, and each name for sql.Open is registered.
func TestFromJDBCDrivers(t *testing.T) {
	rows, lines := jdbcPage(t, "Java class, in `com.amazonaws.secretsmanager.sql`")
	for i, row := range rows {
		folder := strings.TrimPrefix(codes(row[1])[0], "github.com/sqlsecrets/sqlsecrets/")
		if _, err := os.Stat("../../" + folder); err != nil {
			t.Errorf("docs/from-jdbc.md:%d: %v", lines[i], err)
		}
		if !slices.Contains(sql.Drivers(), codes(row[2])[0]) {
			t.Errorf("docs/from-jdbc.md:%d: no driver is registered as %s", lines[i], row[2])
		}
	}
	if len(rows) != len(drivers) {
		t.Errorf("the page has %d drivers, want %d", len(rows), len(drivers))
	}
}

// javaSettings are what aws-secretsmanager-jdbc 2.1.3, its cache and the AWS SDK for Java read.
var javaSettings = strings.Fields(`
	drivers.region drivers.vpcEndpointUrl drivers.vpcEndpointRegion drivers.postQuantumTlsEnabled
	drivers.postgresql.realDriverClass drivers.mysql.realDriverClass drivers.mariadb.realDriverClass
	drivers.oracle.realDriverClass drivers.sqlserver.realDriverClass drivers.db2.realDriverClass
	drivers.redshift.realDriverClass
	AWS_SECRET_JDBC_REGION
	AWS_REGION AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ROLE_ARN
	AWS_WEB_IDENTITY_TOKEN_FILE
	aws.region aws.accessKeyId aws.secretAccessKey aws.profile
	SecretCacheConfiguration.cacheItemTTL SecretCacheConfiguration.maxCacheSize
	SecretCacheConfiguration.versionStage SecretCacheConfiguration.cacheHook
	SecretCacheConfiguration.client SecretCache`)

// isSetting reports whether something is a key of a data source name, an environment variable or a
// field of options.
func isSetting(name string) bool {
	if slices.Contains([]string{engines.EnvTTL, engines.EnvSource, engines.EnvLog, awssm.RegionEnv, "AWS_ENDPOINT_URL_SECRETS_MANAGER"}, name) {
		return true
	}
	for prefix, options := range map[string]any{
		"driver.Options.": driver.Options{}, "secretcache.Options.": secretcache.Options{}, "awssm.Options.": awssm.Options{},
	} {
		if field, ok := strings.CutPrefix(name, prefix); ok {
			_, is := reflect.TypeOf(options).FieldByName(field)
			return is
		}
	}
	// A key of a data source name in upper case is an error, which names the right spelling.
	_, err := all.NewConnector("prod/app?"+strings.ToUpper(name)+"=x", nil)
	return err != nil && strings.Contains(err.Error(), fmt.Sprintf("did you mean %q", name))
}

// The page has every setting of the Java library, with its counterpart or the reason why there is none. Every
// setting in the page exists.
func TestFromJDBCSettings(t *testing.T) {
	rows, lines := jdbcPage(t, "in Java")
	var shown []string
	for i, row := range rows {
		shown = append(shown, codes(row[0])...)
		for _, name := range codes(row[0]) {
			if !slices.Contains(javaSettings, name) {
				t.Errorf("docs/from-jdbc.md:%d: Java has no setting %q", lines[i], name)
			}
		}
		here := codes(row[1])
		for _, name := range here {
			if !isSetting(name) {
				t.Errorf("docs/from-jdbc.md:%d: there is no setting %q here", lines[i], name)
			}
		}
		if len(here) == 0 && !strings.HasPrefix(row[1], "no counterpart, because ") && !strings.HasPrefix(row[1], "the same: ") {
			t.Errorf("docs/from-jdbc.md:%d: neither a counterpart nor the reason why there is none: %s", lines[i], row[1])
		}
	}
	for _, name := range javaSettings {
		if !slices.Contains(shown, name) {
			t.Errorf("the page does not have %q", name)
		}
	}
}

// Every error that the page names exists.
func TestFromJDBCErrors(t *testing.T) {
	known := map[string]error{
		"driver.ErrAuthFailed": driver.ErrAuthFailed, "driver.ErrMalformedSecret": driver.ErrMalformedSecret,
		"driver.ErrBadDSN": driver.ErrBadDSN, "driver.ErrEngineMismatch": driver.ErrEngineMismatch,
		"secretcache.ErrNotFound": secretcache.ErrNotFound, "secretcache.ErrNoVersion": secretcache.ErrNoVersion,
		"secretcache.ErrAccessDenied": secretcache.ErrAccessDenied, "secretcache.ErrThrottled": secretcache.ErrThrottled,
		"context.Canceled": context.Canceled, "context.DeadlineExceeded": context.DeadlineExceeded,
	}
	for _, err := range []error{&pgconn.PgError{}, &gomysql.MySQLError{}, mssql.Error{}, &network.OracleError{}, &driver.Error{}} {
		known[fmt.Sprintf("%T", err)] = err
	}
	rows, lines := jdbcPage(t, "exception in Java")
	for i, row := range rows {
		for _, name := range codes(row[1]) {
			if regexp.MustCompile(`^\*?\w+\.\w+$`).MatchString(name) && name != "errors.As" && known[name] == nil {
				t.Errorf("docs/from-jdbc.md:%d: there is no %s", lines[i], name)
			}
		}
	}
	// An import that was forgotten.
	_, err := sql.Open("secretsmanager-forgotten", "app")
	if err == nil || !strings.Contains(fmt.Sprint(rows), strings.Replace(err.Error(), "forgotten\"", "postgres\"", 1)) {
		t.Errorf("the page does not have %v", err)
	}
	// What can go wrong.
	wrong := []string{
		"jdbc-secretsmanager:postgresql://db.example.com/app", "jdbc:postgresql://db.example.com/app?user=prod/app/db",
		"jdbc-secretsmanager:postgresql://db.example.com/app?user=prod/app/db&password=x",
		"jdbc-secretsmanager:mysql://db.example.com/app?user=prod/app/db&trustStore=x",
		"jdbc-secretsmanager:mysql://a,b/app?user=prod/app/db", "jdbc-secretsmanager:oracle:thin:@MYDB?user=prod/app/db",
		"jdbc-secretsmanager:postgresql://db.example.com/app?user=prod/app/db",
	}
	rows, lines = jdbcPage(t, "error")
	for i, row := range rows {
		text := strings.TrimSuffix(codes(row[0])[0], "…")
		said := slices.ContainsFunc(wrong, func(dsn string) bool {
			for _, name := range []string{all.DriverName, "secretsmanager-mysql"} {
				if db, err := sql.Open(name, dsn); err != nil && strings.Contains(err.Error(), text) {
					return errors.Is(err, driver.ErrBadDSN) || errors.Is(err, driver.ErrEngineMismatch)
				} else if err == nil {
					_ = db.Close()
				}
			}
			return false
		})
		if !said {
			t.Errorf("docs/from-jdbc.md:%d: no URL of the test gives this error: %s", lines[i], text)
		}
	}
}
