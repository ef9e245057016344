package repository_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/examples/internal/mysqlserver"
	"github.com/sqlsecrets/sqlsecrets/examples/repository"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/awssm/awssmtest"
)

const secretID = "prod/app/db"

func TestOrdersArePlacedThroughARotation(t *testing.T) {
	database, secrets := setUp(t)
	orders := open(t, secrets)
	if err := orders.Place(t.Context(), "tea"); err != nil {
		t.Fatal(err)
	}
	if _, err := secrets.Rotate(t.Context(), secretID); err != nil { // the rotation
		t.Fatal(err)
	}
	if err := orders.Place(t.Context(), "tea"); err != nil {
		t.Errorf("after a rotation: %v", err)
	}
	if n, err := orders.Count(t.Context(), "tea"); err != nil || n != 2 {
		t.Errorf("%d orders, %v, want 2", n, err)
	}

	// Now the database has another password than the secret, and no rotation is under way.
	if err := database.SetPassword(t.Context(), "app", "unknown"); err != nil {
		t.Fatal(err)
	}
	if err := orders.Place(t.Context(), "tea"); !errors.Is(err, driver.ErrAuthFailed) {
		t.Errorf("with a wrong password: %v, want ErrAuthFailed", err)
	}
}

func TestOrdersNeedTheSecretOnce(t *testing.T) {
	_, secrets := setUp(t)
	orders := open(t, secrets)
	for range 10 {
		if err := orders.Place(t.Context(), "tea"); err != nil {
			t.Fatal(err)
		}
	}
	secrets.Fail(awssmtest.Denied) // the cached secret is used
	if err := orders.Place(t.Context(), "tea"); err != nil {
		t.Errorf("without Secrets Manager: %v", err)
	}
	if n := secrets.Calls("GetSecretValue"); n != 1 {
		t.Errorf("%d calls of GetSecretValue, want 1", n)
	}
}

// open opens the repository with the test's Secrets Manager. Each query uses a new connection.
func open(t *testing.T, secrets *awssmtest.Server) *repository.Orders {
	t.Helper()
	cache := secretcache.New(secrets.Source(), nil)
	orders, err := repository.Open(secretID, &repository.Options{
		Driver:      &driver.Options{Secrets: cache},
		MaxLifetime: time.Nanosecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(orders.Close(), cache.Close()); err != nil {
			t.Error(err)
		}
	})
	return orders
}

// setUp starts a database and a Secrets Manager. The Secrets Manager has the database's secret and a
// rotation function. In your test, use your own test database.
func setUp(t *testing.T) (*mysqlserver.Server, *awssmtest.Server) {
	t.Helper()
	database, err := mysqlserver.Start(t.Context(), "app")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = database.Close() })
	if err := errors.Join(
		database.CreateUser(t.Context(), "app", "first"),
		database.Exec(t.Context(), "CREATE TABLE orders (item VARCHAR(20))"),
	); err != nil {
		t.Fatal(err)
	}
	value := func(password string) string {
		return fmt.Sprintf(`{"engine":"mysql","host":%q,"port":%d,"dbname":"app","username":"app","password":%q}`, database.Host, database.Port, password)
	}
	secrets := awssmtest.NewServer(t)
	secrets.Put(secretID, value("first"))
	secrets.SetRotation(func(ctx context.Context, e awssmtest.RotationEvent) error {
		password := "password " + e.ClientRequestToken
		switch e.Step {
		case awssmtest.CreateSecret:
			secrets.PutVersion(e.SecretID, e.ClientRequestToken, value(password), "AWSPENDING")
		case awssmtest.SetSecret:
			return database.SetPassword(ctx, "app", password)
		case awssmtest.FinishSecret:
			secrets.MoveStage(e.SecretID, "AWSCURRENT", e.ClientRequestToken)
		}
		return nil
	})
	return database, secrets
}
