// Package repository is a part of a service: it stores orders in a database. The example is its test,
// repository_test.go, which rotates the password while the package is in use. The database and a
// Secrets Manager run in the test's process.
package repository

import (
	"context"
	"database/sql"
	"time"

	"github.com/sqlsecrets/sqlsecrets/driver"
	"github.com/sqlsecrets/sqlsecrets/engines/mysql"
)

// Orders are the orders in a database.
type Orders struct{ db *sql.DB }

// Options are for Open. Nil means the defaults.
type Options struct {
	Driver      *driver.Options // a test sets its own Secrets Manager here; nil means the defaults
	MaxLifetime time.Duration   // how long a connection is used; 0 means 15 min
}

// Open opens the database by the name of its secret.
func Open(dsn string, o *Options) (*Orders, error) {
	if o == nil {
		o = &Options{}
	}
	connector, err := mysql.NewConnector(dsn, o.Driver)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetConnMaxLifetime(15 * time.Minute)
	if o.MaxLifetime > 0 {
		db.SetConnMaxLifetime(o.MaxLifetime)
	}
	return &Orders{db}, nil
}

// Close closes the database.
func (o *Orders) Close() error { return o.db.Close() }

// Place stores an order.
func (o *Orders) Place(ctx context.Context, item string) error {
	_, err := o.db.ExecContext(ctx, "INSERT INTO orders (item) VALUES (?)", item)
	return err
}

// Count returns the number of orders of an item.
func (o *Orders) Count(ctx context.Context, item string) (n int, err error) {
	err = o.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM orders WHERE item = ?", item).Scan(&n)
	return n, err
}
