// Package snippets_test has Go code that pages in docs and the README show parts of. So the compiler
// checks it. TestGuides compares it with the pages. No example here runs, because none has an output.
package snippets_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/sqlsecrets/sqlsecrets/engines"
	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

import _ "github.com/sqlsecrets/sqlsecrets/engines/postgres"

// README.md

func Example_readme() {
	db, err := sql.Open("secretsmanager-postgres",
		"prod/app/db?sslmode=verify-full&sslrootcert=global-bundle.pem")
	rows, err := db.Query("SELECT name FROM items")
	use(rows, err)
}

// docs/observability.md

func Example_logger() {
	engines.SetDefaults(engines.Defaults{Logger: slog.Default()})
}

func Example_status() {
	connector, err := postgres.NewConnector("prod/app/db?sslmode=verify-full", nil)
	db := sql.OpenDB(connector)
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		s := connector.Status()
		fmt.Fprintf(w, "version %s (%s) at %s, accepted at %v\n", s.Version, s.From, s.Address, s.Accepted)
	})
	use(db, err)
}

// use keeps the compiler from complaining that its arguments are not used.
func use(...any) {}
