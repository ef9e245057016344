// Command sqlc reads orders, one per line, and stores them with code that sqlc generated from
// orders/queries.sql. It opens the database by the name of a secret, and the password may rotate
// while the program runs.
//
//	echo tea | go run ./sqlc 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
package main

//go:generate sqlc generate

import (
	"bufio"
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
	"github.com/sqlsecrets/sqlsecrets/examples/libraries/sqlc/orders"
)

//go:embed orders/schema.sql
var schema string

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sqlc:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("sqlc", flag.ContinueOnError)
	lifetime := flags.Duration("lifetime", 15*time.Minute, "how long a connection is used")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: sqlc [flags] secretID[?parameters]")
	}
	db, err := sql.Open(postgres.DriverName, flags.Arg(0))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetConnMaxLifetime(*lifetime)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	queries := orders.New(db)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		order, err := queries.CreateOrder(ctx, lines.Text())
		if err != nil {
			return err
		}
		n, err := queries.CountOrders(ctx, order.Item)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d\n", order.Item, n)
	}
	return lines.Err()
}
