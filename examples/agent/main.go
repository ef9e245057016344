// Command agent opens a PostgreSQL database by the name of a secret. It gets the secret from the
// Secrets Manager Agent, or from the Parameters and Secrets Lambda Extension, so the program does
// not contain the AWS SDK. If an agent runs on the same machine:
//
//	go run ./agent 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
//
// The agent requires a token. The program finds it where the agent does: in the environment
// (AWS_TOKEN, …) or in /var/run/awssmatoken. docs/agent.md explains both sources.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres/pgxv5"
	"github.com/sqlsecrets/sqlsecrets/secretcache"
	"github.com/sqlsecrets/sqlsecrets/secretcache/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, slog.Default()); err != nil {
		fmt.Fprintln(os.Stderr, "agent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer, logger *slog.Logger) error {
	flags := flag.NewFlagSet("agent", flag.ContinueOnError)
	extension := flags.Bool("extension", false, "get the secret from the Lambda extension instead of the agent")
	endpoint := flags.String("endpoint", "", "`URL` of the agent or the extension; by default http://127.0.0.1:2773")
	every := flags.Duration("every", 0, "time between queries; 0 means one query")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: agent [flags] secretID[?parameters]")
	}

	newSource := agent.New
	if *extension {
		newSource = agent.NewExtension
	}
	cache := secretcache.New(newSource(func(o *agent.Options) { o.Endpoint = *endpoint }), nil)
	defer cache.Close()
	connector, err := driver.NewConnector(pgxv5.Engine{}, flags.Arg(0), &driver.Options{Secrets: cache, Logger: logger})
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	defer db.Close()

	for {
		start := time.Now()
		var user, database string
		if err := db.QueryRowContext(ctx, "SELECT current_user, current_database()").Scan(&user, &database); err != nil {
			return err
		}
		stats := cache.Stats()
		fmt.Fprintf(out, "logged in as %s to database %s after %v; fetches of secrets so far: %d\n", user, database, time.Since(start).Round(time.Millisecond), stats.Fetches)
		if *every <= 0 {
			return nil
		}
		select {
		case <-time.After(*every):
		case <-ctx.Done():
			return nil
		}
	}
}
