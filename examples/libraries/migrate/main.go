// Command migrate migrates a database with github.com/golang-migrate/migrate. It opens the database
// by the name of a secret. That works at any moment of a rotation.
//
//	go run ./migrate up 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
package main

import (
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

//go:embed migrations
var files embed.FS

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "migrate:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 2 || args[0] != "up" && args[0] != "down" {
		return errors.New("usage: migrate up|down secretID[?parameters]")
	}
	db, err := sql.Open(postgres.DriverName, args[1])
	if err != nil {
		return err
	}
	defer db.Close()
	migrations, err := iofs.New(files, "migrations")
	if err != nil {
		return err
	}
	// In spite of its name, the package pgx accepts a *sql.DB of any driver.
	database, err := pgx.WithInstance(db, &pgx.Config{})
	if err != nil {
		return err
	}
	m, err := migrate.NewWithInstance("iofs", migrations, "postgres", database)
	if err != nil {
		return err
	}
	step := m.Up
	if args[0] == "down" {
		step = m.Down
	}
	if err := step(); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return err
	}
	version, _, err := m.Version()
	if err != nil && !errors.Is(err, migrate.ErrNilVersion) {
		return err
	}
	fmt.Fprintln(out, "version", version)
	return errors.Join(m.Close())
}
