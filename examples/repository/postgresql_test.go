package repository_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx", for the administrator

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

// The same test with your own PostgreSQL. TEST_DATABASE_URL is the URL of an administrator, such as
// postgres://postgres:postgres@localhost:5432/postgres. docs/testing.md explains the test.
func TestPostgreSQLThroughARotation(t *testing.T) {
	ctx, url := t.Context(), os.Getenv("TEST_DATABASE_URL")
	if url == "" {
		t.Skip("TEST_DATABASE_URL is not set")
	}
	server, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	exec := func(ctx context.Context, statement string) error {
		_, err := admin.ExecContext(ctx, statement)
		return err
	}
	if err := exec(ctx, "DROP ROLE IF EXISTS tester; CREATE ROLE tester LOGIN PASSWORD 'first'"); err != nil {
		t.Fatal(err)
	}
	value := func(password string) string {
		return fmt.Sprintf(`{"engine":"postgres","host":%q,"port":%d,"dbname":"postgres","username":"tester","password":%q}`,
			server.Host, server.Port, password)
	}
	secrets := awssmtest.NewServer(t)
	secrets.Put("prod/app/db", value("first"))
	secrets.SetRotation(func(ctx context.Context, e awssmtest.RotationEvent) error {
		switch e.Step {
		case awssmtest.CreateSecret:
			secrets.PutVersion(e.SecretID, e.ClientRequestToken, value(e.ClientRequestToken), "AWSPENDING")
		case awssmtest.SetSecret:
			return exec(ctx, "ALTER ROLE tester PASSWORD '"+e.ClientRequestToken+"'")
		case awssmtest.FinishSecret:
			secrets.MoveStage(e.SecretID, "AWSCURRENT", e.ClientRequestToken)
		}
		return nil
	})

	cache := secretcache.New(secrets.Source(), nil)
	defer cache.Close()
	connector, err := postgres.NewConnector("prod/app/db", &driver.Options{Secrets: cache})
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxIdleConns(0) // each query opens a connection

	if err := db.PingContext(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Rotate(ctx, "prod/app/db"); err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(ctx); err != nil {
		t.Errorf("after a rotation: %v", err)
	}

	// Somebody changes the password by hand: no version of the secret has it.
	if err := exec(ctx, "ALTER ROLE tester PASSWORD 'of nobody'"); err != nil {
		t.Fatal(err)
	}
	if err := db.PingContext(ctx); !errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("with a wrong password: %v, want ErrAuthFailed", err)
	}
}
