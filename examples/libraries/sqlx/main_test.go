package main

import (
	"database/sql"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/sqlsecrets/sqlsecrets/engines/postgres"
)

// Without sqlx.BindDriver, sqlx would not change ? to $1.
func TestPlaceholdersAreThoseOfPostgreSQL(t *testing.T) {
	opened, err := sql.Open(postgres.DriverName, "prod/app/db")
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	db := sqlx.NewDb(opened, postgres.DriverName)
	const want = "SELECT id FROM orders WHERE item = $1"
	if got := db.Rebind("SELECT id FROM orders WHERE item = ?"); got != want {
		t.Errorf("Rebind = %q, want %q", got, want)
	}
	got, _, err := db.BindNamed("SELECT id FROM orders WHERE item = :item", order{Item: "tea"})
	if err != nil || got != want {
		t.Errorf("BindNamed = %q, %v, want %q", got, err, want)
	}
}
