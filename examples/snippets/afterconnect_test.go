package snippets_test

import (
	"context"
	"database/sql/driver"

	"github.com/jackc/pgx/v5/stdlib"

	sqlsecrets "github.com/sqlsecrets/sqlsecrets/driver"
)

// What Options.AfterConnect gets is of database/sql/driver, which the pages call driver.
var afterConnect sqlsecrets.Options

// docs/mysql.md

func Example_afterConnectOfMySQL() {
	opts := &afterConnect
	opts.AfterConnect = func(ctx context.Context, conn driver.Conn) error {
		_, err := conn.(driver.ExecerContext).ExecContext(ctx, "SET innodb_lock_wait_timeout = 5", nil)
		return err
	}
}

// docs/oracle.md

func Example_afterConnectOfOracle() {
	opts := &afterConnect
	opts.AfterConnect = func(ctx context.Context, conn driver.Conn) error {
		_, err := conn.(driver.ExecerContext).ExecContext(ctx, "ALTER SESSION SET NLS_SORT = BINARY_CI", nil)
		return err
	}
}

// docs/postgres.md

func Example_afterConnectOfPostgreSQL() {
	opts := &afterConnect
	opts.AfterConnect = func(ctx context.Context, conn driver.Conn) error {
		c := conn.(*stdlib.Conn).Conn() // pgx's *pgx.Conn
		typ, err := c.LoadType(ctx, "mood")
		if err != nil {
			return err
		}
		c.TypeMap().RegisterType(typ)
		_, err = c.Exec(ctx, "SET lock_timeout = '5s'")
		return err
	}
}
