// Command pgxpool opens a pgxpool by the name of a secret. It also opens a connection outside the
// pool for LISTEN. The password may rotate while the program runs. docs/pgxpool.md explains the
// program.
//
//	go run ./pgxpool 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pgxpool:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: pgxpool secretID[?parameters]")
	}
	dsn := args[0]
	listener, err := listen(ctx, dsn, "orders")
	if err != nil {
		return err
	}
	defer listener.Close(ctx)
	if err := createType(ctx, listener); err != nil {
		return err
	}
	pool, err := postgres.NewPool(ctx, dsn, nil, configure)
	if err != nil {
		return err
	}
	defer pool.Close()

	var placed order
	if err := pool.QueryRow(ctx, "SELECT $1::orders_order", order{ID: 7, Item: "tea"}).Scan(&placed); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, "SELECT pg_notify('orders', $1)", placed.Item); err != nil {
		return err
	}
	notification, err := listener.WaitForNotification(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "order %d: %s\n", placed.ID, notification.Payload)
	return nil
}

// configure sets what the program decides. Host, port, database, user, password and TLS come from the
// secret and the data source name.
func configure(c *pgxpool.Config) error {
	c.MaxConns = 10
	c.MaxConnLifetime = 30 * time.Minute
	c.ConnConfig.RuntimeParams["application_name"] = "orders"
	c.AfterConnect = registerTypes
	return nil
}

// An order is a composite type of the database.
type order struct {
	ID   int32
	Item string
}

// registerTypes makes the program's types known to a new connection.
func registerTypes(ctx context.Context, conn *pgx.Conn) error {
	typ, err := conn.LoadType(ctx, "orders_order")
	if err != nil {
		return err
	}
	conn.TypeMap().RegisterType(typ)
	return nil
}

// listen returns a connection outside the pool that listens to a channel.
func listen(ctx context.Context, dsn, channel string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("")
	if err != nil {
		return nil, err
	}
	if err := postgres.ConfigureConn(config, dsn, nil); err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

// createType creates the type. In a service, a migration does that.
func createType(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, `DO $$ BEGIN
		CREATE TYPE orders_order AS (id int, item text);
	EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
	return err
}
