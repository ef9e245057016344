// Command otelsql reads orders, one per line, and stores them. github.com/XSAM/otelsql makes a span
// for each query and for each new connection. A Trace of sqlsecrets adds the logins to the span of
// the connection. The program opens the database by the name of a secret, and the password may
// rotate while it runs. The spans go to the standard error stream.
//
//	echo tea | go run ./otelsql 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "otelsql:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out, spans io.Writer) error {
	flags := flag.NewFlagSet("otelsql", flag.ContinueOnError)
	lifetime := flags.Duration("lifetime", 15*time.Minute, "how long a connection is used")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: otelsql [flags] secretID[?parameters]")
	}
	exporter, err := stdouttrace.New(stdouttrace.WithWriter(spans)) // a service uses otlptracegrpc instead
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	defer provider.Shutdown(ctx)

	connector, err := postgres.NewConnector(flags.Arg(0), &driver.Options{Trace: events})
	if err != nil {
		return err
	}
	db := otelsql.OpenDB(connector, otelsql.WithTracerProvider(provider),
		otelsql.WithAttributes(attribute.String("db.system.name", "postgresql")))
	defer db.Close()
	db.SetConnMaxLifetime(*lifetime)
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS otelsql_orders (id bigserial PRIMARY KEY, item text NOT NULL)"); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		n, err := store(ctx, db, lines.Text())
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d\n", lines.Text(), n)
	}
	return lines.Err()
}

// events adds logins and refreshes to the span that otelsql started for the Connect call. The
// events have ids of versions, but no value of the secret.
var events = &driver.Trace{
	LoginDone: func(ctx context.Context, i driver.LoginInfo) {
		trace.SpanFromContext(ctx).AddEvent("login", trace.WithAttributes(
			attribute.String("secret.version", i.Version),
			attribute.String("secret.stage", i.Stage),
			attribute.Bool("rejected", i.Rejected)))
	},
	RefreshDone: func(ctx context.Context, i driver.RefreshInfo) {
		trace.SpanFromContext(ctx).AddEvent("refresh", trace.WithAttributes(
			attribute.String("secret.version", i.Version),
			attribute.String("secret.stage", i.Stage)))
	},
}

// store stores an order and returns how many orders there are of its item.
func store(ctx context.Context, db *sql.DB, item string) (n int, err error) {
	if _, err := db.ExecContext(ctx, "INSERT INTO otelsql_orders (item) VALUES ($1)", item); err != nil {
		return 0, err
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM otelsql_orders WHERE item = $1", item).Scan(&n)
	return n, err
}
