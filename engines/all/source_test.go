package all_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/internal/standin/tdsserver"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent/agenttest"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// TestSourceOfADataSourceName logs in with secrets of every source. Only the data source name or
// the environment says the source.
func TestSourceOfADataSourceName(t *testing.T) {
	const id, user, password = "prod/app", "app", "Password-1"
	db, err := tdsserver.Start(tdsserver.Options{Databases: []string{"app"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetPassword(user, password)
	b, err := json.Marshal(map[string]any{"engine": "sqlserver", "host": db.Host, "port": db.Port, "dbname": "app", "username": user, "password": password})
	if err != nil {
		t.Fatal(err)
	}
	value := string(b)

	sm := awssmtest.NewServer(t)
	sm.Put(id, value)
	source := func(o *agenttest.Options) { o.Token = "token" }
	agent, extension := agenttest.NewServer(t, sm.Source(), source), agenttest.NewExtension(t, sm.Source(), source)
	t.Setenv("AWS_TOKEN", "token")
	t.Setenv("AWS_SESSION_TOKEN", "token")
	dir := t.TempDir()
	for name, content := range map[string]string{
		"one.json": value, "secrets/prod_app": value,
		"keys/host": db.Host + "\n", "keys/port": strconv.Itoa(db.Port) + "\n", "keys/username": user + "\n", "keys/password": password + "\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("ALL_TEST_SECRET", value)
	t.Setenv("ALL_TEST_FILE", filepath.Join(dir, "one.json"))

	url := "sqlserver://" + db.Host + ":" + strconv.Itoa(db.Port) + ";databaseName=app;encrypt=disable;user=" + id
	for _, tt := range []struct {
		dsn string
		env string // SQLSECRETS_SOURCE
	}{
		{dsn: "source=agent&endpoint=" + agent.URL()},
		{dsn: "source=extension&endpoint=" + extension.URL()},
		{dsn: "source=file:" + dir + "/one.json"},
		{dsn: "source=file:" + dir + "/secrets"},
		{dsn: "source=keys:" + dir + "/keys"},
		{dsn: "source=env:ALL_TEST_SECRET"},
		{dsn: "source=envfile:ALL_TEST_FILE"},
		{dsn: "source=file%3A" + dir + "/one.json"},
		{dsn: "", env: "file:" + dir + "/secrets"},
		{dsn: "", env: "env:ALL_TEST_SECRET,aws"},
		{dsn: "source=env:ALL_TEST_SECRET", env: "carrier-pigeon"},
	} {
		for name, dsn := range map[string]string{
			"secretsmanager-sqlserver": strings.TrimSuffix(id+"?"+tt.dsn, "?"),
			"secretsmanager":           strings.TrimSuffix(id+"?engine=sqlserver&"+tt.dsn, "&"),
			"JDBC":                     "jdbc-secretsmanager:" + url + ";" + strings.ReplaceAll(strings.ReplaceAll(tt.dsn, "&", ";"), "%3A", ":"),
		} {
			t.Run(name+" "+tt.dsn+" "+tt.env, func(t *testing.T) {
				t.Setenv("SQLSECRETS_SOURCE", tt.env)
				driverName := name
				if name == "JDBC" {
					driverName = "secretsmanager"
				}
				pool, err := sql.Open(driverName, dsn)
				if err != nil {
					t.Fatal(err)
				}
				defer pool.Close()
				var got string
				if err := pool.QueryRowContext(t.Context(), "SELECT SUSER_SNAME()").Scan(&got); err != nil || got != user {
					t.Errorf("logged in as %q, %v, want %q", got, err, user)
				}
			})
		}
	}
}

// A wrong source in a data source name is an error of sql.Open.
func TestWrongSourceIsAnErrorOfOpen(t *testing.T) {
	for _, name := range []string{
		"secretsmanager", "secretsmanager-postgres", "secretsmanager-redshift", "secretsmanager-mysql", "secretsmanager-mariadb",
		"secretsmanager-sqlserver", "secretsmanager-oracle", "secretsmanager-db2",
	} {
		for params, want := range map[string]string{
			"source=agnet":                                     `"agnet"`,
			"source=file":                                      "file:PATH",
			"source=agent&region=us-west-2":                    `"region"`,
			"source=env:A&endpoint=http://127.0.0.1:1":         `"endpoint"`,
			"source=agent,aws&endpoint=http://127.0.0.1:1":     `"endpoint"`,
			"source=postgres://user:hunter2-marked@db.example": `"postgres"`,
		} {
			db, err := sql.Open(name, "prod/app?"+params)
			if err == nil {
				_ = db.Close()
			}
			if !errors.Is(err, driver.ErrBadDSN) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("sql.Open(%q, %q) = %v, want ErrBadDSN with %s", name, params, err, want)
			}
		}
	}
	// The source of the environment is checked only when it is needed.
	t.Setenv("SQLSECRETS_SOURCE", "carrier-pigeon")
	db, err := sql.Open("secretsmanager-mysql", "prod/app")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := db.PingContext(ctx); err == nil || !strings.Contains(err.Error(), "SQLSECRETS_SOURCE") || !strings.Contains(err.Error(), "carrier-pigeon") {
		t.Errorf("Ping = %v, want an error that names SQLSECRETS_SOURCE", err)
	}
}
