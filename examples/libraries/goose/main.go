// Command goose migrates a database with github.com/pressly/goose. It opens the database by the name
// of a secret. That works at any moment of a rotation.
//
//	go run ./goose up 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
package main

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

//go:embed migrations
var files embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "goose:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) != 2 || args[0] != "up" && args[0] != "down" {
		return errors.New("usage: goose up|down secretID[?parameters]")
	}
	db, err := sql.Open(postgres.DriverName, args[1])
	if err != nil {
		return err
	}
	defer db.Close()
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		return err
	}
	// With this lock, replicas that start at the same time migrate one after the other.
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations, goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	migrate := provider.Up
	if args[0] == "down" {
		migrate = func(ctx context.Context) ([]*goose.MigrationResult, error) { return provider.DownTo(ctx, 0) }
	}
	if _, err := migrate(ctx); err != nil {
		return err
	}
	version, err := provider.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "version", version)
	return nil
}
