// Command lambda is an AWS Lambda function. It opens its database by the name of a secret, and the
// password may rotate while the function runs. The secret comes from the Parameters and Secrets
// Lambda Extension.
//
// The environment variable DATABASE is the data source name:
//
//	prod/app/db?source=extension,aws&tls=true
//
// The extension, a Lambda layer, caches secrets for up to 300 s. Nobody can make it read a newer
// value before that. With source=extension,aws, the library calls the API of Secrets Manager, but
// only when the database has rejected the extension's value. docs/agent.md explains what happens
// with source=extension alone.
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

// open does not connect, because the extension has no secrets before the first invocation.
func open(dsn, lifetime string) (*sql.DB, error) {
	max, err := time.ParseDuration(cmp.Or(lifetime, "15m"))
	if err != nil {
		return nil, fmt.Errorf("CONNECTION_LIFETIME: %w", err)
	}
	db, err := sql.Open(mysql.DriverName, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // an instance runs one invocation at a time
	db.SetConnMaxLifetime(max)
	return db, nil
}

type handler struct{ db *sql.DB }

type order struct{ Item string }

type answer struct{ Orders int }

// handle stores an order and returns how many orders there are of its item.
func (h *handler) handle(ctx context.Context, o order) (a answer, err error) {
	if _, err := h.db.ExecContext(ctx, "INSERT INTO orders (item) VALUES (?)", o.Item); err != nil {
		return a, err
	}
	err = h.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM orders WHERE item = ?", o.Item).Scan(&a.Orders)
	return a, err
}
