// Command sqlx reads orders, one per line, and stores them with github.com/jmoiron/sqlx. It opens the
// database by the name of a secret, and the password may rotate while the program runs.
//
//	echo tea | go run ./sqlx 'prod/app/db?sslmode=verify-full&sslrootcert=rds.pem'
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

// sqlx chooses the form of placeholders by the driver's name, and it does not know this name.
// Without this line it sends ?, which PostgreSQL does not accept.
func init() { sqlx.BindDriver(postgres.DriverName, sqlx.DOLLAR) }

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sqlx:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("sqlx", flag.ContinueOnError)
	lifetime := flags.Duration("lifetime", 15*time.Minute, "how long a connection is used")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: sqlx [flags] secretID[?parameters]")
	}
	db, err := sqlx.ConnectContext(ctx, postgres.DriverName, flags.Arg(0))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetConnMaxLifetime(*lifetime)
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS sqlx_orders (id bigserial PRIMARY KEY, item text NOT NULL)"); err != nil {
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
	ID   int64
	Item string
}

// store stores an order and returns how many orders there are of its item.
func store(ctx context.Context, db *sqlx.DB, o order) (int, error) {
	if _, err := db.NamedExecContext(ctx, "INSERT INTO sqlx_orders (item) VALUES (:item)", o); err != nil {
		return 0, err
	}
	var orders []order
	err := db.SelectContext(ctx, &orders, db.Rebind("SELECT id, item FROM sqlx_orders WHERE item = ?"), o.Item)
	return len(orders), err
}
