package rotation

import (
	"context"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

var postgres = engine{
	port:      5432,
	database:  "postgres",
	query:     "SELECT 1",
	alternate: withSuffix("_clone"),
	connector: postgresConnector,
	setOwn:    setOwnPostgres,
	setOther:  setOtherPostgres,
	code: func(err error) string {
		var e *pgconn.PgError
		if !errors.As(err, &e) {
			return ""
		}
		return "SQLSTATE " + e.Code
	},
}

func postgresConnector(v *value, tlsConfig *tls.Config) (sqldriver.Connector, error) {
	// Every value is given, so neither PG* variables nor a password file apply.
	cfg, err := pgx.ParseConfig("host=h port=1 user=u password=p dbname=d sslmode=disable")
	if err != nil {
		return nil, err
	}
	cfg.Host, cfg.Port, cfg.Database = v.host, uint16(v.port), v.database
	cfg.User, cfg.Password = v.username, v.password()
	cfg.TLSConfig = tlsConfig
	return stdlib.GetConnector(*cfg), nil
}

func setOwnPostgres(ctx context.Context, c *sql.Conn, user, password string) error {
	return execPostgres(ctx, c, "ALTER ROLE %I PASSWORD %L", user, password)
}

func setOtherPostgres(ctx context.Context, c *sql.Conn, user, password, like string) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	var exists bool
	err = tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)", user).Scan(&exists)
	if err != nil {
		return err
	}
	if exists {
		err = execPostgres(ctx, tx, "ALTER ROLE %I PASSWORD %L", user, password)
	} else if err = execPostgres(ctx, tx, "CREATE ROLE %I LOGIN PASSWORD %L", user, password); err == nil {
		err = execPostgres(ctx, tx, "GRANT %I TO %I", like, user)
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}

// execer is implemented by *sql.Conn and *sql.Tx.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

var (
	_ execer = (*sql.Conn)(nil)
	_ execer = (*sql.Tx)(nil)
)

// execPostgres runs a statement whose names (%I) and strings (%L) the server quotes.
func execPostgres(ctx context.Context, c execer, format string, args ...string) error {
	query, params := "SELECT pg_catalog.format($1", []any{format}
	for _, arg := range args {
		params = append(params, arg)
		query += ", $" + strconv.Itoa(len(params)) + "::text"
	}
	var statement string
	if err := c.QueryRowContext(ctx, query+")", params...).Scan(&statement); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, statement)
	return err
}
