package testdb_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// throughBouncer logs in once through PgBouncer and runs a query.
func throughBouncer(t *testing.T, b *testdb.Bouncer, database, user, password string) error {
	t.Helper()
	conn, err := pgconn.Connect(t.Context(), fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s sslmode=disable",
		b.Host, b.Port, user, password, database))
	if err != nil {
		return err
	}
	_, err = conn.Exec(t.Context(), "SELECT 1").ReadAll()
	return errors.Join(err, conn.Close(t.Context()))
}

func TestPgBouncerAuthFile(t *testing.T) {
	s := testdb.Postgres(t, testdb.Options{})
	s.CreateUser("listed", "first")
	s.CreateUser("unlisted", "first")
	b := testdb.PgBouncer(t, s, testdb.PgBouncerOptions{
		Users:    map[string]string{"listed": "first"},
		Settings: map[string]string{"server_login_retry": "1"},
	})
	if err := throughBouncer(t, b, s.Database, "listed", "first"); err != nil {
		t.Error(err)
	}
	if err := throughBouncer(t, b, s.Database, "unlisted", "first"); err == nil {
		t.Error("a user that is not in auth_file was accepted")
	}
	if b.AuthUser != "" {
		t.Errorf("there is an auth_user, %q", b.AuthUser)
	}

	// These lists have the same size, so PgBouncer would not read them again by itself.
	for _, password := range []string{"third", "other"} {
		if err := s.SetPassword(t.Context(), "listed", password); err != nil {
			t.Fatal(err)
		}
		b.SetUsers(map[string]string{"listed": password})
		if err := throughBouncer(t, b, s.Database, "listed", password); err != nil {
			t.Errorf("after SetUsers: %v", err)
		}
		if err := throughBouncer(t, b, s.Database, "listed", "first"); err == nil {
			t.Error("after SetUsers the former password was accepted")
		}
	}
}

func TestPgBouncerAuthQuery(t *testing.T) {
	s := testdb.Postgres(t, testdb.Options{})
	s.CreateUser("asked_for", "secret")
	b := testdb.PgBouncer(t, s, testdb.PgBouncerOptions{AuthQuery: true})
	for range 3 {
		if err := throughBouncer(t, b, s.Database, "asked_for", "secret"); err != nil {
			t.Error(err)
		}
	}
	if err := throughBouncer(t, b, s.Database, "asked_for", "wrong"); err == nil {
		t.Error("a wrong password was accepted")
	}
	if got := s.Logins(b.AuthUser); got == 0 {
		t.Errorf("auth_user %q has not logged in to the server", b.AuthUser)
	}
	if got := strings.Count(b.Log(), "login attempt: db="+s.Database+" user=asked_for "); got != 4 {
		t.Errorf("the log has %d logins, want 4", got)
	}
}

func TestPgBouncerEndsWithItsTest(t *testing.T) {
	s := testdb.Postgres(t, testdb.Options{})
	var addr string
	t.Run("in use", func(t *testing.T) {
		b := testdb.PgBouncer(t, s, testdb.PgBouncerOptions{})
		addr = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
	})
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		conn.Close()
		t.Error("PgBouncer still runs after its test")
	}
}
