package integration_test

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/integration/testdb"
)

// If AfterConnect fails, no session stays open. The credentials are not in doubt: nothing is
// fetched again, whatever the error is.
func TestAfterConnectThatFailsLeavesNoSession(t *testing.T) {
	forEach(t, func(t *testing.T, e *engine) {
		v := newEnv(t, e, testdb.Options{})
		vendor, err := e.vendorAs(v, v.user, "wrong")
		if err != nil {
			t.Fatal(err)
		}
		wrong := connect(t.Context(), vendor)
		if !e.adapter.Rejected(wrong) {
			t.Fatalf("a login with a wrong password: %v", wrong)
		}
		mine := errors.New("mine")
		for _, hook := range []func() error{func() error { return wrong }, func() error { panic(mine) }} {
			calls := 0
			db := v.open(t, e.noTLS, &driver.Options{AfterConnect: func(context.Context, sqldriver.Conn) error {
				calls++
				return hook()
			}})
			before, fetches := v.Logins(v.user), v.fetches()
			for range 3 {
				if err := db.PingContext(t.Context()); err == nil || errors.Is(err, driver.ErrAuthFailed) {
					t.Errorf("Ping = %v", err)
				}
			}
			if n := v.Logins(v.user) - before; n != 3 || calls != 3 {
				t.Errorf("3 pings: %d logins, %d calls of AfterConnect, want 3 of both", n, calls)
			}
			if n := v.fetches() - fetches; n != 1 {
				t.Errorf("the secret was fetched %d times, want 1", n)
			}
			v.WaitSessions(v.user, 0)
		}
	})
}

// A composite type that AfterConnect registers works through database/sql.
func TestAfterConnectRegistersTypes(t *testing.T) {
	v := newEnv(t, engineNamed("postgres"), testdb.Options{})
	exec(t, v, "DROP TYPE IF EXISTS hook_point; CREATE TYPE hook_point AS (x int, y int)")
	type point struct{ X, Y int32 }
	db := v.open(t, "", &driver.Options{AfterConnect: func(ctx context.Context, conn sqldriver.Conn) error {
		c := conn.(*stdlib.Conn).Conn()
		typ, err := c.LoadType(ctx, "hook_point")
		if err == nil {
			c.TypeMap().RegisterType(typ)
		}
		return err
	}})
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var y int
	if err := conn.QueryRowContext(t.Context(), "SELECT ($1::hook_point).y", point{1, 2}).Scan(&y); err != nil || y != 2 {
		t.Errorf("as an argument: %d, %v", y, err)
	}
	var got sql.NullString
	if err := conn.QueryRowContext(t.Context(), "SELECT $1::hook_point", point{3, 4}).Scan(&got); err != nil || got.String != "(3,4)" {
		t.Errorf("as a result: %q, %v", got.String, err)
	}
	err = conn.Raw(func(c any) error {
		var p point
		err := c.(*stdlib.Conn).Conn().QueryRow(t.Context(), "SELECT ROW(5, 6)::hook_point").Scan(&p)
		if err == nil && p != (point{5, 6}) {
			t.Errorf("by pgx's own: %v", p)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
