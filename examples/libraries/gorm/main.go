// Command gorm reads orders, one per line, and stores them with gorm.io/gorm. It opens the
// database by the name of a secret, and the password may rotate while the program runs.
//
//	echo tea | go run ./gorm 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
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

	gormpostgres "gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gorm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("gorm", flag.ContinueOnError)
	lifetime := flags.Duration("lifetime", 15*time.Minute, "how long a connection is used")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: gorm [flags] secretID[?parameters]")
	}
	sqlDB, err := sql.Open(postgres.DriverName, flags.Arg(0))
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	sqlDB.SetConnMaxLifetime(*lifetime)

	// With Conn, GORM uses this *sql.DB. It opens no connections itself and needs no DSN.
	db, err := gorm.Open(gormpostgres.New(gormpostgres.Config{Conn: sqlDB}), nil)
	if err != nil {
		return err
	}
	db = db.WithContext(ctx)
	if err := db.AutoMigrate(&Order{}); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		n, err := store(db, Order{Item: lines.Text()})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d\n", lines.Text(), n)
	}
	return lines.Err()
}

// An Order is a row of gorm_orders.
type Order struct {
	ID   int64
	Item string
}

func (Order) TableName() string { return "gorm_orders" }

// store stores an order and returns how many orders there are of its item.
func store(db *gorm.DB, o Order) (n int64, err error) {
	err = db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&o).Error; err != nil {
			return err
		}
		return tx.Model(&Order{}).Where("item = ?", o.Item).Count(&n).Error
	})
	return n, err
}
