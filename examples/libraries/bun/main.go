// Command bun reads orders, one per line, and stores them with github.com/uptrace/bun. It opens the
// database by the name of a secret, and the password may rotate while the program runs.
//
//	echo tea | go run ./bun 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
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

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bun:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("bun", flag.ContinueOnError)
	lifetime := flags.Duration("lifetime", 15*time.Minute, "how long a connection is used")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: bun [flags] secretID[?parameters]")
	}
	sqlDB, err := sql.Open(postgres.DriverName, flags.Arg(0))
	if err != nil {
		return err
	}
	sqlDB.SetConnMaxLifetime(*lifetime)
	db := bun.NewDB(sqlDB, pgdialect.New())
	defer db.Close() // closes sqlDB

	if _, err := db.NewCreateTable().Model((*order)(nil)).IfNotExists().Exec(ctx); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		n, err := store(ctx, db, order{Item: lines.Text()})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %d\n", lines.Text(), n)
	}
	return lines.Err()
}

type order struct {
	bun.BaseModel `bun:"table:bun_orders"`

	ID   int64  `bun:",pk,autoincrement"`
	Item string `bun:",notnull"`
}

// store stores an order and returns how many orders there are of its item.
func store(ctx context.Context, db *bun.DB, o order) (int, error) {
	if _, err := db.NewInsert().Model(&o).Exec(ctx); err != nil {
		return 0, err
	}
	return db.NewSelect().Model((*order)(nil)).Where("item = ?", o.Item).Count(ctx)
}
