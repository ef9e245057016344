// Command lambda is an AWS Lambda function. It opens its database by the name of a secret, which
// it has from the Parameters and Secrets Lambda Extension. Passwords may rotate meanwhile.
//
// DATABASE is the data source name:
//
//	prod/app/db?source=extension,aws&tls=true
//
// The extension, a layer, keeps secrets for up to 300 s and cannot be asked past its cache. With
// source=extension,aws the API is asked when the database has rejected what the extension said, and
// only then. docs/agent.md tells what happens with source=extension alone.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/sqlsecrets/sqlsecrets/engines/mysql"
)

func main() {
	db, err := open(os.Getenv("DATABASE"), os.Getenv("CONNECTION_LIFETIME"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "lambda:", err)
		os.Exit(1)
	}
	lambda.Start((&handler{db}).handle)
}

// open does not connect: the extension has no secrets before the first invocation.
func open(dsn, lifetime string) (*sql.DB, error) {
	max, err := time.ParseDuration(cmp.Or(lifetime, "15m"))
	if err != nil {
		return nil, fmt.Errorf("CONNECTION_LIFETIME: %w", err)
	}
	db, err := sql.Open(mysql.DriverName, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // an instance has one invocation at a time
	db.SetConnMaxLifetime(max)
	return db, nil
}

type handler struct{ db *sql.DB }

type order struct{ Item string }

type answer struct{ Orders int }

// handle stores an order and returns how many there are of its item.
func (h *handler) handle(ctx context.Context, o order) (a answer, err error) {
	if _, err := h.db.ExecContext(ctx, "INSERT INTO orders (item) VALUES (?)", o.Item); err != nil {
		return a, err
	}
	err = h.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM orders WHERE item = ?", o.Item).Scan(&a.Orders)
	return a, err
}
